"""Small companies for readouts: rows written straight into the tables, and the same told again for files.

The second telling shares no code with the service: contacts, refusals and derived events are followed customer by
customer in plain Python, from what the world itself remembers.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from engine.core.account import Kind, Lease
from engine.core.events import Flag, event_key
from engine.store.journal import Resolution, message_key
from tests.conftest import set_clock

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_US = (datetime(2026, 10, 5, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
CHANNELS = {"email": 1, "push": 2, "sms": 3, "in_app": 4, "phone": 5, "letter": 6}
SUSPECTED = Flag.SUSPECT_SAID | Flag.SUSPECT_SOON
_ALLOWED, _DEFERRED = 1, 2  # as the journal's flags have verdicts, from bit 9 on


@dataclass
class Customer:
    """What became of one: instants in microseconds. `sent` holds (at, channel), `refused` (at, message)."""

    variant: int
    eligible_us: int | None
    diverged_us: int | None
    flags: int = 0
    segments: dict[str, Any] | None = None
    phase: int = 0
    time_zone: str | None = None
    sent: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    refused: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class World:
    """A database with one experiment and its customers."""

    def __init__(self, url: str, plan: dict[str, Any], now_us: int) -> None:
        self.url, self.plan, self.now_us = url, plan, now_us
        self.customers: dict[str, Customer] = {}
        self._labels: dict[str, int] = {}
        self._seqs: dict[str, int] = defaultdict(int)
        set_clock(url, now_us - (datetime.now(UTC) - EPOCH) // timedelta(microseconds=1))
        self.connection = psycopg.connect(url)  # one transaction: many rows, and nobody waits for each
        self.number = self.add_experiment(plan)

    def settle(self) -> None:
        """Let others see it."""
        self.connection.commit()

    def close(self) -> None:
        self.connection.close()

    def add_experiment(self, plan: dict[str, Any], ended_us: int | None = None) -> int:
        """One that is running, or was stopped."""
        found = self.connection.execute(
            "INSERT INTO experiments (key, state, on_harm, created_us, started_us, ended_us, source, plan)"
            " VALUES (%s, %s, 'alert', %s, %s, %s, '', %s) RETURNING number",
            (plan["key"], "stopped" if ended_us else "running", START_US, START_US, ended_us, json.dumps(plan)),
        ).fetchone()
        assert found
        return found[0]

    def enter(
        self, customer_id: str, variant: int, eligible_us: int | None, diverged_us: int | None = None, **more: Any
    ) -> Customer:
        customer = Customer(variant, eligible_us, diverged_us, **more)
        self.customers[customer_id] = customer
        self.expose(customer_id, self.number, customer)
        if customer.time_zone is not None:
            self.connection.execute(
                "INSERT INTO customers (customer_id, time_zone) VALUES (%s, %s)", (customer_id, customer.time_zone)
            )
        return customer

    def expose(self, customer_id: str, experiment: int, customer: Customer) -> None:
        self.connection.execute(
            "INSERT INTO exposures (assigned_us, eligible_us, diverged_us, experiment, variant, phase, flags,"
            " customer_id, segments) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                START_US,
                customer.eligible_us,
                customer.diverged_us,
                experiment,
                customer.variant,
                customer.phase,
                customer.flags,
                customer_id,
                None if customer.segments is None else json.dumps(customer.segments),
            ),
        )

    def tell(self, customer_id: str, kind: str, at_us: int, **more: Any) -> None:
        """An event: channel, value, margin, flags, properties."""
        seq = self._next(customer_id)
        self.customers[customer_id].events.append({"type": kind, "at_us": at_us, **more})
        properties = more.get("properties")
        self.connection.execute(
            "INSERT INTO events (at_us, received_us, event_key, message_key, value, margin, kind, source, topic,"
            " campaign, channel, flags, customer_id, event_id, properties)"
            " VALUES (%s, %s, %s, 0, %s, %s, %s, %s, 0, 0, %s, %s, %s, %s, %s)",
            (
                at_us,
                at_us,
                event_key("test", f"e{seq}"),
                more.get("value"),
                more.get("margin"),
                self.label(kind),
                self.label("test"),
                CHANNELS.get(more.get("channel", ""), 0),
                int(more.get("flags", 0)),
                customer_id,
                f"e{seq}",
                None if properties is None else json.dumps(properties),
            ),
        )

    def contact(
        self,
        customer_id: str,
        channel: str,
        start_us: int,
        end_us: int,
        lease: Lease = Lease.SETTLED,
        kind: Kind = Kind.RECORDED,
        became: Sequence[tuple[Resolution, int]] = (),
        sent_us: int | None = None,
        topic: str = "promotions",
    ) -> None:
        """A contact of the journal; `sent_us` is when it went out, as whoever made it knows: None, if it never did."""
        seq, message_id = self._next(customer_id), f"m{self._seqs[customer_id]}"
        if sent_us is not None:
            self.customers[customer_id].sent.append((sent_us, channel))
        self.connection.execute(
            "INSERT INTO journal (at_us, start_us, end_us, message_key, seq, ruleset, topic, campaign, team, sender,"
            " channel, weight, priority, attempt, flags, customer_id, message_id)"
            " VALUES (%s, %s, %s, %s, %s, 1, %s, 0, 0, 0, %s, 1, 50, 1, %s, %s, %s)",
            (
                start_us,
                start_us,
                end_us,
                message_key(customer_id, message_id),
                seq,
                self.label(topic),
                CHANNELS[channel],
                int(lease) | int(kind) << 2,
                customer_id,
                message_id,
            ),
        )
        for resolution, at_us in became:
            self.connection.execute(
                "INSERT INTO resolutions (at_us, end_us, seq, contact_seq, kind, customer_id)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (at_us, at_us, self._next(customer_id), seq, resolution, customer_id),
            )

    def refuse(self, customer_id: str, message_id: str, at_us: int, verdict: int = _DEFERRED) -> None:
        if verdict != _ALLOWED:
            self.customers[customer_id].refused.append((at_us, message_id))
        self.connection.execute(
            "INSERT INTO refusals (at_us, start_us, end_us, retry_at_us, seq, ruleset, topic, campaign, team, sender,"
            " channel, weight, priority, attempt, flags, customer_id, message_id)"
            " VALUES (%s, %s, %s, 0, %s, 1, %s, 0, 0, 0, 1, 1, 50, 1, %s, %s, %s)",
            (
                at_us,
                at_us,
                at_us,
                self._next(customer_id),
                self.label("promotions"),
                verdict << 9,
                customer_id,
                message_id,
            ),
        )

    def label(self, name: str) -> int:
        if name not in self._labels:
            self.connection.execute("INSERT INTO labels (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
            found = self.connection.execute("SELECT number FROM labels WHERE name = %s", (name,)).fetchone()
            assert found
            self._labels[name] = found[0]
        return self._labels[name]

    def _next(self, customer_id: str) -> int:
        self._seqs[customer_id] += 1
        return self._seqs[customer_id]


# The second telling.


def exposures(world: World, *, by_divergence: bool = False) -> list[dict[str, Any]]:
    names = [each["name"] for each in world.plan["variants"]]
    return [
        {
            "customer_id": customer_id,
            "variant": names[each.variant],
            "entered_at": moment(entered_us),
            "phase": each.phase,
            "time_zone": each.time_zone,
            **{name: each.segments.get(name) if each.segments else None for name in world.plan.get("segments", [])},
        }
        for customer_id, each in world.customers.items()
        if (entered_us := each.diverged_us if by_divergence else each.eligible_us) is not None and not each.flags
    ]


def events(world: World, *, by_divergence: bool = False) -> list[dict[str, Any]]:
    """All that happened to whom is analysed, derived events too."""
    found: list[dict[str, Any]] = []
    for customer_id, each in world.customers.items():
        entered_us = each.diverged_us if by_divergence else each.eligible_us
        if entered_us is None or each.flags:
            continue
        rows = [
            {
                "type": event["type"],
                "at_us": event["at_us"],
                "channel": event.get("channel"),
                "suspect": bool(event.get("flags", 0) & SUSPECTED),
                "hard": bool(event.get("flags", 0) & Flag.HARD),
                "value": event.get("value"),
                "margin": event.get("margin"),
                "pages": (event.get("properties") or {}).get("pages"),
            }
            for event in each.events
            if event["type"] != "sent"
        ]
        plain = [*(("sent", at_us, channel) for at_us, channel in each.sent), *_derived(each, entered_us, world.now_us)]
        rows += [
            {"type": kind, "at_us": at_us, "channel": channel, "suspect": False, "hard": False}
            for kind, at_us, channel in plain
        ]
        found += [{"customer_id": customer_id, "at": moment(row.pop("at_us")), **row} for row in rows]
    return found


def moment(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


def _derived(customer: Customer, entered_us: int, now_us: int) -> Iterable[tuple[str, int, None]]:
    def trusted(kind: str) -> list[int]:
        return sorted(
            each["at_us"]
            for each in customer.events
            if each["type"] == kind and not each.get("flags", 0) & SUSPECTED and each["at_us"] < now_us
        )

    sessions = trusted("session")
    for place, at_us in enumerate(sessions):
        if place and at_us - sessions[place - 1] >= 28 * DAY_US:
            yield "takt:returned", at_us, None
    weeks: set[int] = set()
    for at_us in sessions:
        if at_us >= entered_us and (week := (at_us - entered_us) // (7 * DAY_US)) not in weeks:
            weeks.add(week)
            yield "takt:active_week", at_us, None
    first: dict[str, int] = {}
    for at_us, message_id in sorted(customer.refused):
        if entered_us <= at_us < now_us:
            first.setdefault(message_id, at_us)
    yield from (("takt:refused", at_us, None) for at_us in first.values())
    recurring = {
        "takt:refused_again": sorted(first.values()),
        "takt:complained_again": [each for each in trusted("complained") if each >= entered_us],
        "takt:bounced_again": [each for each in trusted("bounced") if each >= entered_us],
    }
    for name, times in recurring.items():
        yield from ((name, at_us, None) for at_us in times[1:])
    sent = sorted(at_us for at_us, _ in customer.sent if entered_us <= at_us < now_us)
    for early, _, late in zip(sent, sent[1:], sent[2:], strict=False):
        if late - early < DAY_US:
            yield "takt:three_in_24h", late, None
