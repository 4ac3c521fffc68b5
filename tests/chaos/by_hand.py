"""Evidence made by hand, entry by entry: what the judge is judged with. Instants in seconds."""

from tests.chaos.evidence import (
    RELEASES,
    Asked,
    Change,
    Contact,
    Entry,
    Evidence,
    Refusal,
    Resolution,
    Send,
)
from tests.chaos.oracle import judge

ADA = "ada"


def us(seconds: float) -> int:
    return round(1_000_000 * (1_000 + seconds))


def contact(
    seq: int, at: float, message: str = "m1", *, lease_s: float = 2, lease: int = RELEASES, attempt: int = 1,
    channel: str = "push", start: float | None = None, topic: str = "news", campaign: str = "spring",
) -> Contact:  # fmt: skip
    begins = us(at if start is None else start)
    about = begins, begins + round(lease_s * 1_000_000), message, attempt, channel, topic, campaign
    return Contact(ADA, seq, us(at), *about, lease, 1)


def refusal(
    seq: int, at: float, rule: str, message: str = "m2", *, channel: str = "push", lease_s: float = 2
) -> Refusal:
    return Refusal(ADA, seq, us(at), us(at), us(at + lease_s), message, channel, "spring", (rule,))


def resolution(seq: int, at: float, contact_seq: int, kind: int) -> Resolution:
    return Resolution(ADA, seq, us(at), contact_seq, us(at), kind)


def change(seq: int, at: float, *topics: str) -> Change:
    return Change(ADA, seq, us(at), frozenset((None, each) for each in topics))


def evidence(*entries: Entry, **more: object) -> Evidence:
    found = Evidence(entries={ADA: list(entries)}, last_seq={ADA: len(entries)})
    for name, value in more.items():
        setattr(found, name, value)
    return found


def checks(found: Evidence) -> set[str]:
    return {each.check for each in judge(found)}


def asked(row: Contact, **more: object) -> Asked:
    """The answer that a row's sender should have been given."""
    about = (
        ADA,
        row.message,
        row.attempt,
        True,
        row.topic,
        "reserved",
        row.at,
        row.end,
        1,
        False,
        row.at - 9,
        row.at + 9,
        row.channel,
        {},
    )
    return Asked(*about)._replace(**more)


def sent(at: float, message: str, channel: str = "push", campaign: str = "spring") -> Send:
    return Send(ADA, message, 1, channel, campaign, us(at))
