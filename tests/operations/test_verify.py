"""Verification: a true history, however busy, shows no finding; one that was tampered with names customer and entry."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from psycopg.types.json import Jsonb

from engine.core.account import Account
from engine.core.account_row import Lexicon, decode, encode
from engine.core.customer import Preference
from engine.core.policy import DAY_US, HOUR_US, OnExpiry
from engine.core.suppression import Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask, Verdict
from engine.operations import policies
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.file import Filed, PutCustomer, PutPreferences, Suppress
from engine.operations.replay import Finding
from engine.operations.resolve import ConfirmCommand, RecordCommand, ReleaseCommand
from engine.operations.verify import Report, verify
from engine.store import journal_reading
from tests.conftest import set_clock
from tests.operations.histories import STRICT, History

pytestmark = pytest.mark.anyio

PLAIN = """\
schema: 1
unknown_timezone: Europe/Berlin
budgets:
  - {name: push, channels: [push], limit: 1, window: {rolling: 7d}}
  - {name: ever, channels: [phone], limit: 5, window: lifetime}
"""


def shown(report: Report) -> str:
    return "\n".join(str(each) for each in report.findings)


# --- What is true ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
async def test_a_busy_history_shows_no_finding(decider: Decider, database_url: str, seed: int) -> None:
    history = History(decider, database_url, seed)
    await policies.activate(decider.database, STRICT, author="test")
    await history.busy(steps=40, at_once=30)
    report = await verify(decider.database)
    assert report.is_clean, shown(report)
    assert report.customers == 5
    assert report.decisions > 200
    assert report.skipped == 0


async def test_more_contacts_than_an_account_holds_show_no_finding(
    decider: Decider, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalls = 0
    recall = Account.recall

    def counted(account: Account, *arguments: object) -> None:
        nonlocal recalls
        recalls += 1
        recall(account, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Account, "recall", counted)
    history = History(decider, database_url, 10, customers=3)
    await history.heavy(history.customers[0], 110)
    await history.busy(steps=20, at_once=30)
    assert recalls > 10
    report = await verify(decider.database)
    assert report.is_clean, shown(report)


async def test_verifying_beside_a_service_that_writes_shows_no_finding(decider: Decider, database_url: str) -> None:
    history = History(decider, database_url, 20)
    await policies.activate(decider.database, STRICT, author="test")
    writing = asyncio.create_task(history.busy(steps=25, at_once=30))
    rounds = 0
    while not writing.done() or not rounds:
        report = await verify(decider.database)
        assert report.is_clean, shown(report)
        rounds += 1
    await writing


async def test_pages_cut_nobody_off(decider: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    await policies.activate(decider.database, PLAIN, author="test")
    names = [f"{letter}{number}" for letter in "aÄz😀" for number in range(6)]
    for name in names:
        await asyncio.gather(
            *(decider.ask(AskCommand(name, f"m{n}", Ask("email", "news")), Mode.RESERVE) for n in range(5))
        )
    monkeypatch.setattr(journal_reading, "PAGE_ENTRIES", 11)
    told: list[Report] = []
    report = await verify(decider.database, progress=told.append)
    assert (report.customers, report.entries, report.decisions) == (24, 120, 120), shown(report)
    assert [each.customers for each in told] == list(range(2, 25, 2))
    some = await verify(decider.database, customers=["a3", "nobody", "😀5"])
    assert (some.customers, some.entries) == (2, 10)


async def test_decisions_of_other_time_zones_are_skipped_and_counted(decider: Decider, database_url: str) -> None:
    await decider.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE)
    change(database_url, "UPDATE rulesets SET tzdata_version = '1999a'")
    report = await verify(decider.database)
    assert (report.decisions, report.skipped, report.entries, report.faults) == (0, 1, 1, 0)


async def test_a_choice_of_before_it_was_a_number_of_contacts_is_told_as_it_was(
    decider: Decider, database_url: str
) -> None:
    held = PLAIN.replace("limit: 1,", "limit: 3, hold_back: {keep: 1, for_priority: 70},")
    await policies.activate(decider.database, held, author="test")
    answers: list[Verdict] = []
    for number, by_weight in enumerate((True, False)):
        choice = Preference("push", None, 1, by_weight=by_weight)
        filed = await decider.settle(PutPreferences("ada", (choice,)))
        assert isinstance(filed, Filed)
        assert filed.changed, "said again, it is what it says"
        answers.append((await decider.ask(AskCommand("ada", f"m{number}", Ask("push", "news")), Mode.RESERVE)).verdict)
    assert answers == [Verdict.DENY, Verdict.ALLOW]
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT data FROM changes ORDER BY seq").fetchall()
    before = {"channel": "push", "topic": None, "limit": 1}
    assert [each for (each,) in found] == [[before], [{**before, "counts": "contacts"}]]
    report = await verify(decider.database)
    assert (report.decisions, report.skipped, report.faults) == (2, 0, 0), shown(report)


async def test_customers_whom_a_clock_ran_ahead_of_are_named(decider: Decider, database_url: str) -> None:
    set_clock(database_url, 3 * DAY_US)
    await decider.ask(AskCommand("ada", "m1", Ask("email", "newsletter")), Mode.RESERVE)
    set_clock(database_url, 0)
    await decider.ask(AskCommand("bob", "m1", Ask("email", "newsletter")), Mode.RESERVE)
    report = await verify(decider.database)
    assert report.is_clean, shown(report)
    assert [each.customer_id for each in report.ahead] == ["ada"]
    assert "ran ahead" in report.ahead[0].sentence


# --- What was tampered with ------------------------------------------------------------------------------------------


@pytest.fixture
async def told(decider: Decider, database_url: str) -> Decider:
    """Ada's history of twelve entries, each of another sort, and a bystander's. All of it is true."""
    await policies.activate(decider.database, PLAIN, author="test")

    async def ask(message_id: str, channel: str, **more: object) -> Verdict:
        command = AskCommand("ada", message_id, Ask(channel, "news", **more))  # type: ignore[arg-type]
        return (await decider.ask(command, Mode.RESERVE)).verdict

    await decider.ask(AskCommand("bob", "m1", Ask("push", "news")), Mode.RESERVE)
    await ask("m1", "push")  # 1
    await decider.settle(ConfirmCommand("ada", "m1"))  # 2
    assert await ask("m2", "push") is Verdict.DEFER  # 3
    await ask("m3", "email", on_expiry=OnExpiry.PRESUME_SENT)  # 4
    await decider.settle(ReleaseCommand("ada", "m3"))  # 5
    await ask("m3", "email")  # 6
    await decider.settle(PutCustomer("ada", time_zone="Asia/Tokyo", attributes={"tier": "gold"}))  # 7
    now_us = await decider.database.clock_us()
    await decider.settle(RecordCommand("ada", "m4", "letter", "news", now_us - HOUR_US))  # 8
    set_clock(database_url, HOUR_US)
    await decider.settle(ConfirmCommand("ada", "m3", 2))  # 9: late
    await ask("m5", "sms", lease_us=20 * HOUR_US)  # 10
    suppression = Suppression(Scope("sms", None), SuppressionReason.UNSUBSCRIBE, now_us, "test", binds_exempt=False)
    await decider.settle(Suppress("ada", suppression))  # 11, and 12: m5 is revoked
    report = await verify(decider.database)
    assert report.is_clean, shown(report)
    assert report.entries == 13
    return decider


def change(url: str, statement: str, *parameters: object) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(statement.encode(), parameters).rowcount > 0, "nothing was tampered with"


def change_account(url: str, edit: Callable[[Account], object]) -> None:
    """Rewrite Ada's account as a program would that holds a lock and is wrong."""
    with psycopg.connect(url, autocommit=True) as connection:
        names: dict[int, str | None] = dict(connection.execute("SELECT number, name FROM labels").fetchall())
        names[0] = None
        row = connection.execute("SELECT contacts FROM accounts WHERE customer_id = 'ada'").fetchone()
        assert row is not None
        numbers = {name: number for number, name in names.items()}
        words = Lexicon(numbers.__getitem__, names.__getitem__)  # type: ignore[arg-type]
        contacts, totals = decode(row[0], words)
        account = Account(contacts=contacts, totals=totals)
        edit(account)
        connection.execute("UPDATE accounts SET contacts = %s WHERE customer_id = 'ada'", (encode(account, words),))


async def found(decider: Decider) -> list[Finding]:
    report = await verify(decider.database)
    assert report.faults == len(report.findings) > 0, "nothing was found"
    assert {each.customer_id for each in report.findings} == {"ada"}
    return list(report.findings)


ADA = "WHERE customer_id = 'ada' AND seq ="
SUPPRESSED = '[{"channel":"push","topic":null,"reason":"complaint","at_us":1,"source":"x","binds_exempt":false}]'
TAMPERED = [  # what was done, the entry that is named, and what is said of it
    (f"DELETE FROM journal {ADA} 1", 2, "which is not in the journal"),
    (f"DELETE FROM journal {ADA} 6", 7, "entry 6 is missing"),
    (f"DELETE FROM resolutions {ADA} 2", 3, "entry 2 is missing"),
    (f"DELETE FROM resolutions {ADA} 2", 1, "the account says lease"),
    (f"DELETE FROM resolutions {ADA} 12", None, "the newest in the journal is 11"),
    (f"DELETE FROM resolutions {ADA} 12", 11, "contact 10 was not revoked"),
    (f"DELETE FROM refusals {ADA} 3", 4, "entry 3 is missing"),
    (f"DELETE FROM changes {ADA} 7", None, 'on file is attributes {"tier":"gold"}, but the journal says None'),
    (f"UPDATE refusals SET flags = (flags & ~1536) | 512 {ADA} 3", 3, "the replay says defer"),
    (f"UPDATE refusals SET flags = flags | 1536 {ADA} 3", 3, "its verdict is deny, but the replay says defer"),
    (f"UPDATE refusals SET flags = flags # 4096 {ADA} 3", 3, "retry_certain"),
    (f"UPDATE refusals SET retry_at_us = retry_at_us - 1 {ADA} 3", 3, "retry_at"),
    (f"UPDATE refusals SET reasons = NULL {ADA} 3", 3, "the reasons"),
    (f"UPDATE refusals SET reasons = '\\x99' {ADA} 3", 3, "cannot be read"),
    (f"UPDATE refusals SET channel = 1 {ADA} 3", 3, "its verdict is defer, but the replay says allow"),
    (f"UPDATE refusals SET attempt = 2 {ADA} 3", 3, "attempt"),
    (f"UPDATE refusals SET ruleset = 99 {ADA} 3", 3, "ruleset 99"),
    (f"UPDATE refusals SET topic = 9999 {ADA} 3", 3, "there is no label 9999"),
    (f"UPDATE refusals SET end_us = start_us + 90000000000 {ADA} 3", 3, "the lease's end"),
    (f"UPDATE journal SET flags = flags | 15 {ADA} 1", 1, "cannot be read"),
    (f"UPDATE journal SET flags = flags # 16 {ADA} 1", 1, "whether it counts"),
    (f"UPDATE journal SET attempt = 1 {ADA} 6", 6, "attempt 1, and should be 2"),
    (f"UPDATE journal SET message_id = 'm9' {ADA} 1", 1, "message key"),
    (f"UPDATE journal SET weight = 3 {ADA} 1", 1, "weight 1 of this contact"),
    (f"UPDATE journal SET campaign = 1 {ADA} 6", 6, "the account says campaign None"),
    (f"UPDATE journal SET at_us = at_us + 3600000000 {ADA} 1", 2, "before the entry ahead of it"),
    (f"UPDATE journal SET start_us = start_us - 1 {ADA} 1", 1, "the start"),
    (f"UPDATE journal SET end_us = end_us + 1 {ADA} 8", 8, "at one instant"),
    (f"UPDATE resolutions SET kind = 2 {ADA} 2", 1, "which is released"),
    (f"UPDATE resolutions SET kind = 1 {ADA} 9", 9, "contact 6 was expired already when it was confirmed"),
    (f"UPDATE resolutions SET kind = 4 {ADA} 2", 2, "contact 1 was reserved already when it was late"),
    (f"UPDATE resolutions SET kind = 7 {ADA} 2", 2, "cannot be read"),
    (f"UPDATE resolutions SET end_us = end_us - 1 {ADA} 2", 2, "was confirmed to end at"),
    (f"UPDATE resolutions SET contact_seq = 6 {ADA} 12", 12, "contact 6 was late already when it was revoked"),
    (f"UPDATE changes SET data = '[]' {ADA} 11", 12, "no suppression covers it"),
    (f"UPDATE changes SET data = '{SUPPRESSED}' {ADA} 11", None, "on file is suppressions"),
    (f"UPDATE changes SET data = '3' {ADA} 7", 7, "cannot be replayed"),
    (
        f"UPDATE changes SET seq = 0, kind = 2, data = '{SUPPRESSED}' {ADA} 7",
        1,
        "the scope push/*, which was suppressed",
    ),
    (f"INSERT INTO resolutions SELECT at_us, end_us, 2, 1, 1, 'ada' FROM resolutions {ADA} 9", 2, "the same number"),
    ("UPDATE accounts SET seq = seq + 1 WHERE customer_id = 'ada'", None, "counts 13 entries"),
    ("UPDATE accounts SET latest_us = latest_us - 1 WHERE customer_id = 'ada'", None, "was stamped"),
    ("UPDATE accounts SET contacts = '' WHERE customer_id = 'ada'", 1, "the account lacks this contact"),
    ("UPDATE accounts SET contacts = '\\x07' WHERE customer_id = 'ada'", None, "cannot be read"),
    ("DELETE FROM accounts WHERE customer_id = 'ada'", None, "there is no account"),
    ("UPDATE customers SET suppressions = NULL WHERE customer_id = 'ada'", None, "on file is suppressions None"),
    (
        "UPDATE customers SET time_zone = 'Asia/Seoul' WHERE customer_id = 'ada'",
        None,
        "on file is time_zone Asia/Seoul",
    ),
    ("UPDATE customers SET attributes = '[[1]]' WHERE customer_id = 'ada'", None, "cannot be read"),
    ("DELETE FROM customers WHERE customer_id = 'ada'", None, "on file is time_zone None"),
]


def drop_checks(url: str) -> None:
    """Whoever tampers need not keep to the CHECKs of the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint"
            " WHERE contype = 'c' AND coninhcount = 0 AND conrelid = ANY(%s::regclass[])",
            (list(TABLES),),
        )
        for table, name in found.fetchall():
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())


async def test_each_way_to_tamper_is_found_and_named(told: Decider, database_url: str) -> None:
    drop_checks(database_url)
    for statement, seq, sentence in TAMPERED:
        with psycopg.connect(database_url) as connection:
            kept = {table: connection.execute(f"TABLE {table}".encode()).fetchall() for table in TABLES}
        change(database_url, statement)
        findings = (await verify(told.database)).findings
        named = [each for each in findings if each.seq == seq and sentence in each.sentence]
        assert named, f"{statement}\nis not among\n" + "\n".join(map(str, findings))
        restore(database_url, kept)
    assert (await verify(told.database)).is_clean


TABLES = ("accounts", "customers", "journal", "refusals", "resolutions", "changes")


def restore(url: str, kept: dict[str, list[tuple[object, ...]]]) -> None:
    with psycopg.connect(url) as connection:
        for table, rows in kept.items():
            connection.execute(f"DELETE FROM {table}".encode())
            for row in rows:
                values = [Jsonb(each) if isinstance(each, dict | list) else each for each in row]
                places = ", ".join(["%s"] * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({places})".encode(), values)


async def test_no_byte_of_an_account_can_be_changed_unseen(told: Decider, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("SELECT contacts FROM accounts WHERE customer_id = 'ada'").fetchone()
        assert row is not None
        update = "UPDATE accounts SET contacts = %s WHERE customer_id = 'ada'"
        for index in range(len(row[0])):
            changed = bytearray(row[0])
            changed[index] ^= 1
            connection.execute(update, (bytes(changed),))
            report = await verify(told.database, customers=["ada"])
            assert not report.is_clean, f"byte {index} of {len(row[0])}"


CHARGED: list[tuple[Callable[[Account], object], int | None, str]] = [
    (lambda account: account.contacts.append(account.contacts[0]), 1, "holds this contact twice"),
    (lambda account: account.contacts.append(account.contacts[0]._replace(seq=77)), 77, "not in the journal"),
    (lambda account: account.contacts.pop(0), 1, "the account lacks this contact"),
    (lambda account: account.totals.update({("phone", "news"): 1}), None, "the totals of phone/news are 1"),
]


async def test_a_contact_charged_twice_or_not_at_all_is_found(told: Decider, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        kept = connection.execute("SELECT contacts FROM accounts WHERE customer_id = 'ada'").fetchall()[0]
        for edit, seq, sentence in CHARGED:
            connection.execute("UPDATE accounts SET contacts = %s WHERE customer_id = 'ada'", kept)
            change_account(database_url, edit)
            findings = await found(told)
            assert [each for each in findings if each.seq == seq and sentence in each.sentence], findings


async def test_totals_that_miss_a_contact_which_left_are_found(told: Decider, database_url: str) -> None:
    set_clock(database_url, 30 * DAY_US)
    await told.ask(AskCommand("ada", "m7", Ask("email", "news")), Mode.RESERVE)
    report = await verify(told.database)
    assert report.is_clean, shown(report)
    change_account(database_url, lambda account: account.totals.pop(("push", "news")))
    findings = await found(told)
    assert ["the totals of push/news are 0" in each.sentence for each in findings] == [True]
