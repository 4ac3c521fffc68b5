"""Whether the journal, the accounts and the decisions agree: every customer's story told again and compared.

Reads only, a page of customers at a time, and never holds a lock: it runs beside the service. Entries decided under
another version of the time zones than this process reads are folded, but their decisions are not made again; nor are
those that saw contacts which the journal has let go of since. What an erasure left under a random id is nobody's story,
and is passed over.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from engine.core.policy import Policy
from engine.core.policy_reader import read_policy
from engine.core.windows import tzdata_version
from engine.operations.reconcile import reconcile
from engine.operations.replay import Finding, Replay, Ruleset
from engine.operations.rulebook import pause_of
from engine.operations.running import rules_of
from engine.store import journal_reading, policies, pruning
from engine.store.database import Connection, Database
from engine.store.erasing import AFTER_ANONYMOUS
from engine.store.journal import Message, Refusal
from engine.store.journal_reading import Dossier, Page
from engine.store.labels import Labels

FINDINGS_KEPT = 1_000
_RULESETS_KEPT = 500
_CHOSEN_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at and what was found; reports of pages add up.

    `decisions` were made again and compared, `skipped` could not be. `findings` are faults, the first 1,000 of
    `faults`. `ahead` names customers whom a clock once ran ahead of: no fault, but their time stands still until the
    database's clock has caught up; the first 1,000 of `ahead_count`.
    """

    customers: int = 0
    entries: int = 0
    decisions: int = 0
    skipped: int = 0
    faults: int = 0
    findings: tuple[Finding, ...] = ()
    ahead_count: int = 0
    ahead: tuple[Finding, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not self.faults

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.customers + other.customers,
            self.entries + other.entries,
            self.decisions + other.decisions,
            self.skipped + other.skipped,
            self.faults + other.faults,
            (*self.findings, *other.findings)[:FINDINGS_KEPT],
            self.ahead_count + other.ahead_count,
            (*self.ahead, *other.ahead)[:FINDINGS_KEPT],
        )


Progress: TypeAlias = Callable[[Report], None]


async def verify(
    database: Database, *, customers: Sequence[str] | None = None, progress: Progress | None = None
) -> Report:
    """Verify these customers, or all of them. `progress` is told, after each page, what was found so far."""
    labels = Labels(database)
    rulesets = _Rulesets()
    report = Report()
    chosen = sorted(set(customers)) if customers is not None else None
    after: str | None = AFTER_ANONYMOUS
    while after is not None:
        async with database.transaction() as connection:
            page, after = await _read(connection, labels, chosen, after)
            await rulesets.load(connection, page)
        for dossier in page.dossiers:
            report += _verified(dossier, rulesets, page.clock_us)
            await asyncio.sleep(0)  # a long replay must not hold up who shares the loop
        if progress is not None:
            progress(report)
    return report


async def _read(
    connection: Connection, labels: Labels, chosen: Sequence[str] | None, after: str
) -> tuple[Page, str | None]:
    """The next page, and the id after which to go on."""
    if chosen is None:
        page = await journal_reading.next_page(connection, labels, after)
        return page, page.last
    ids = [each for each in chosen if each > after][:_CHOSEN_AT_ONCE]
    return await journal_reading.page_of(connection, labels, ids), ids[-1] if len(ids) == _CHOSEN_AT_ONCE else None


def _verified(dossier: Dossier, rulesets: "_Rulesets", clock_us: int) -> Report:
    entries = dossier.entries
    named = rulesets.named_by(dossier)
    replay = Replay(dossier.customer_id, named, rulesets.exempt_topics, rulesets.whole_since_us, dossier.opening)
    replay.tell(entries)
    findings = (*replay.findings, *reconcile(replay, dossier))
    latest_us = dossier.account.latest_us if dossier.account else 0
    ahead: tuple[Finding, ...] = ()
    if latest_us > clock_us:
        sentence = f"a clock once ran ahead: the account is stamped {(latest_us - clock_us) / 1e6:.6f} s from now"
        ahead = (Finding(dossier.customer_id, None, sentence),)
    return Report(1, len(entries), replay.decisions, replay.skipped, len(findings), findings, len(ahead), ahead)


class _Rulesets:
    """The rulesets that entries name. Those of one policy version share what was read of it."""

    def __init__(self) -> None:
        self.exempt_topics: frozenset[str] = frozenset()
        self.whole_since_us = 0
        self._known: dict[int, policies.Ruleset] = {}
        self._policies: dict[int, Policy] = {}
        self._made: dict[int, Ruleset] = {}

    async def load(self, connection: Connection, page: Page) -> None:
        """Read what the page's entries name."""
        self.exempt_topics = await policies.exempt_topics(connection)
        self.whole_since_us = await pruning.whole_since_us(connection)
        if len(self._made) > _RULESETS_KEPT:
            self._made.clear()
        wanted = {number for dossier in page.dossiers for number in _numbers(dossier)} - self._made.keys()
        if wanted - self._known.keys():
            self._known = {each.number: each for each in await policies.rulesets(connection)}
        for number in wanted & self._known.keys():
            row = self._known[number]
            for version in {row.policy_version, *(each["policy_version"] for each in row.holdouts)}:
                if version not in self._policies:
                    kept = await policies.policy_version(connection, version)
                    self._policies[version] = read_policy(kept.data)
            pauses = tuple(pause_of(each) for each in row.pauses)
            policy = self._policies[row.policy_version]
            rules = rules_of(number, policy, pauses, row.experiments, row.holdouts, self._policies)
            self._made[number] = Ruleset(rules, row.tzdata_version == tzdata_version())

    def named_by(self, dossier: Dossier) -> dict[int, Ruleset]:
        return {number: self._made[number] for number in _numbers(dossier) if number in self._made}


def _numbers(dossier: Dossier) -> Iterable[int]:
    return {each.ruleset for each in dossier.entries if isinstance(each, Message | Refusal)}
