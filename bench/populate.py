"""Customers with a history, made in SQL: accounts and journals that agree, as `takt verify` would find."""

import psycopg

POLICY = """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
budgets:
  - {name: email-weekly, channels: [email], topics: [promotions], limit: 20, window: {rolling: 7d}}
  - {name: any-daily, limit: 20, window: {calendar: day}}
  - {name: same-campaign, per: campaign, limit: 5, window: {rolling: 30d}}
  - {name: push-weekly, channels: [push], limit: 3, window: {rolling: 7d}}
"""
_DAY_US = 86_400_000_000
_STEP = 200_000

_ENTRY = (
    "int4send({seq}) || int8send({at}) || int8send({at}) || int2send(1::int2) || int4send({topic})"
    " || int4send({campaign}) || int4send(0) || int2send(1::int2) || '\\x3218'::bytea"
)


def populate(url: str, customers: int, contacts: int, recent: int | None = None) -> None:
    """Give customers c0, c1, ... a history of recorded e-mails, one a day, of which `recent` lie in the last days.

    The others (by default none) are older by 40 days and stand in the journal alone, as do all older than 30 days. The
    policy is in force already: its ruleset is number 1. The messages' keys are not Takt's own (it would hash each in
    Python): `takt verify` says so, and nobody asks for these messages.
    """
    recent = contacts if recent is None else recent
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO labels (name) VALUES ('promotions'), ('old-campaign') ON CONFLICT DO NOTHING")
        found = connection.execute("SELECT name, number FROM labels").fetchall()
        numbers = dict(found)
        topic, campaign = numbers["promotions"], numbers["old-campaign"]
        now_row = connection.execute("SELECT takt_clock()").fetchone()
        now_us = now_row[0] if now_row else 0
        for first in range(0, customers, _STEP):
            last = min(first + _STEP, customers) - 1
            _populate_some(connection, first, last, contacts, recent, topic, campaign, now_us)
        connection.execute("VACUUM (ANALYZE) accounts, journal")
        connection.execute("CHECKPOINT")


def _populate_some(
    connection: psycopg.Connection,
    first: int,
    last: int,
    contacts: int,
    recent: int,
    topic: int,
    campaign: int,
    now_us: int,
) -> None:
    # Contact k of n happened n - k + 1 days ago and a second a customer; all were recorded a day ago at the latest.
    ago_days = f"({contacts} - k + 1 + CASE WHEN k > {contacts - recent} THEN 0 ELSE 40 END)"
    happened = f"({now_us} - {ago_days}::bigint * {_DAY_US} - c % 1000 * 1000000::bigint)"
    connection.execute(
        "INSERT INTO journal (at_us, start_us, end_us, message_key, seq, ruleset, topic, campaign, team, sender,"
        " channel, weight, priority, attempt, flags, customer_id, message_id)"
        f" SELECT {happened}, {happened}, {happened}, hashtextextended('c' || c || ':h' || k, 0), k, 1, {topic},"
        f" {campaign}, 0, 0, 1, 1, 50, 1, 24, 'c' || c, 'h' || k"
        f" FROM generate_series({first}, {last}) c, generate_series(1, {contacts}) k".encode()
    )
    held = min(recent, 30)
    entry = _ENTRY.format(seq="k", at=happened, topic=topic, campaign=campaign)
    left = contacts - held
    total = f" || int2send(1::int2) || int4send({topic}) || int8send({left}::bigint)" if left else ""
    left_days = contacts - left + 1 + (0 if left > contacts - recent else 40)  # ago, of the newest that left
    oldest_left = f"{now_us} - {left_days}::bigint * {_DAY_US} - c % 1000 * 1000000::bigint + 1"
    connection.execute(
        "INSERT INTO accounts (customer_id, seq, latest_us, complete_since_us, contacts)"
        f" SELECT 'c' || c, {contacts}, max({happened}), {oldest_left if left else 0},"
        f" '\\x01'::bytea || int2send({held}::int2) || int2send(0::int2)"
        f" || string_agg({entry}, ''::bytea ORDER BY k)"
        f"{total} FROM generate_series({first}, {last}) c, generate_series({left + 1}, {contacts}) k"
        " GROUP BY c".encode()
    )
