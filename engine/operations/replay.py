"""One customer's journal, told again from its first entry: what each entry claims, against what the others say.

Folds the entries in the order of their seq and keeps what they add up to. What always holds: nothing is taken from the
account row, so what is found here can be compared with it; and every decision is made again by the rules it names, of
what was on record when it was made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, assert_never

from engine.core.account import LINGER_US, Account, Contact, Kind, Lease, State
from engine.core.customer import UNKNOWN, Customer, Membership
from engine.core.decision import decide
from engine.core.policy import OnExpiry
from engine.core.rules import Rules
from engine.core.suppression import find_suppression, is_withdrawn
from engine.core.treatments import rules_for, treat
from engine.core.verdict import Ask, Code, Decision, Verdict
from engine.operations import retold
from engine.operations.batch import Refusals
from engine.operations.holdings import Holdings
from engine.operations.resolve import OLDEST_RECORD_US
from engine.store.customers import (
    addresses_of,
    outcomes_of,
    preferences_of,
    suppressions_of,
    variants_of,
)
from engine.store.exposures import Exposure
from engine.store.journal import MEMORY_US, Change, Changed, Message, Refusal, Resolution, Resolved
from engine.store.journal_reading import Read, Unreadable

REVOKED_REASONS = ((Code.REVOKED, "message_id"),)
_STATES_BEFORE: Mapping[Resolution, tuple[State, ...]] = {
    Resolution.CONFIRMED: (State.RESERVED,),
    Resolution.RELEASED: (State.RESERVED,),
    Resolution.REVOKED: (State.RESERVED,),
    Resolution.LATE: (State.EXPIRED, State.RELEASED, State.REVOKED),
    Resolution.MARKED: (State.PRESUMED_SENT,),
}


class Finding(NamedTuple):
    """What is not as it should be, at an entry, or (seq None) with the customer as a whole."""

    customer_id: str
    seq: int | None
    sentence: str

    def __str__(self) -> str:
        entry = "" if self.seq is None else f", entry {self.seq}"
        return f"customer {self.customer_id}{entry}: {self.sentence}"


class Ruleset(NamedTuple):
    """The rules of a number. `is_comparable`: this process reads time zones of the version that they were used with."""

    rules: Rules
    is_comparable: bool


class Replay:
    """A customer as the journal's entries so far make one. `rulesets` holds every ruleset that the entries name.

    `exempt_topics` are those that any version of the policy exempts: which version bound an entry that names no ruleset
    is not on record, so of such topics only what holds under all versions is asked. Entries of before `whole_since_us`
    were let go of: until then numbers may be missing. The `opening` is what contacts that went add up to.
    """

    def __init__(
        self,
        customer_id: str,
        rulesets: Mapping[int, Ruleset],
        exempt_topics: frozenset[str],
        whole_since_us: int = 0,
        opening: Account | None = None,
    ) -> None:
        self.customer_id = customer_id
        self.findings: list[Finding] = []
        self.decisions = 0
        self.skipped = 0
        self.seq = 0
        self.latest_us = 0
        self.customer: Customer = UNKNOWN
        self.exposures: dict[int, Exposure] = {}  # what readouts are to find, by experiment
        self._messages: dict[int, Message] = {}
        self._seqs: dict[str, list[int]] = {}  # the attempts under a message id, the newest last
        self.opening = Account() if opening is None else opening
        longest_us = max((each.rules.longest_us for each in rulesets.values()), default=0)
        self._holdings = Holdings(longest_us, self.opening.totals)
        self._rulesets = rulesets
        self._exempt_topics = exempt_topics
        self.whole_since_us = whole_since_us
        self._entered: tuple[Changed, Mapping[int, Membership]] | None = None  # the memberships before this entry
        self._united_at = 0  # the last entry that brought another's contacts, where some contacts went
        self._carried_to = 0  # up to this entry they carry the contacts of somebody who was merged into this customer
        self._due: tuple[Changed, list[Contact]] | None = None  # open leases that a suppression must revoke

    def tell(self, entries: Sequence[Read]) -> None:
        """Fold all entries of the customer, in the order of their seq."""
        self._united_at = retold.united_at(entries) if self.opening.seq else 0
        for entry in entries:
            self._number(entry)
            try:
                self._fold(entry)
            except Exception as error:  # what cannot be told again must not end the telling
                self._find(entry.seq, f"it cannot be replayed: {error!r}")
        self._expect_revoked()
        self.seq = max(self.seq, self.opening.seq)
        self.latest_us = max(self.latest_us, self.opening.latest_us)

    def contacts(self) -> Iterator[Contact]:
        """Every contact of the journal, as it now stands; neither released nor revoked ones."""
        for message in self._messages.values():
            contact = message.contact()
            if contact is not None:
                yield contact

    def message(self, seq: int) -> Message | None:
        return self._messages.get(seq)

    def _find(self, seq: int | None, sentence: str) -> None:
        self.findings.append(Finding(self.customer_id, seq, sentence))

    def _number(self, entry: Read) -> None:
        """Entries are numbered without a gap, and time does not run backwards from one to the next."""
        expected = self.seq + 1
        if self.opening.seq and expected <= self._carried_to:  # old contacts in new entries: some may be gone
            expected = min(entry.seq, self._carried_to + 1)
        if entry.seq > expected and self.latest_us >= self.whole_since_us:
            which = (
                f"entry {expected} is" if entry.seq == expected + 1 else f"entries {expected} to {entry.seq - 1} are"
            )
            self._find(entry.seq, f"{which} missing before it")
        if entry.seq < expected:
            self._find(entry.seq, "another entry bears the same number")
        if entry.at_us < self.latest_us and entry.seq > self._carried_to:
            self._find(entry.seq, f"it is stamped {self.latest_us - entry.at_us} us before the entry ahead of it")
        self.seq = max(self.seq, entry.seq)
        self.latest_us = max(self.latest_us, entry.at_us)

    def _fold(self, entry: Read) -> None:
        if not isinstance(entry, Resolved):
            self._expect_revoked()
        match entry:
            case Message() if entry.seq <= self._carried_to:
                self._hold(entry)  # asked and answered of somebody else: their own journal tells how
            case Message(kind=Kind.RECORDED | Kind.UNASKED):
                self._recorded(entry)
            case Message():
                self._allowed(entry)
            case Refusal():
                self._refused(entry)
            case Resolved():
                self._resolved(entry)
            case Changed():
                self._changed(entry)
            case Unreadable():
                self._find(entry.seq, f"it cannot be read: {entry.why}")
            case _:
                assert_never(entry)

    def _recorded(self, message: Message) -> None:
        if self._earlier(message)[1]:
            self._find(message.seq, f"it is recorded as new, but message {message.message_id!r} was on record already")
        if not message.at_us - OLDEST_RECORD_US <= message.start_us == message.end_us <= message.at_us:
            self._find(message.seq, "a recorded contact happened at one instant of the last 400 days")
        ruleset = self._rulesets.get(message.ruleset)
        if ruleset is None:
            self._find(message.seq, f"it names ruleset {message.ruleset}, which does not exist")
        else:
            topic = ruleset.rules.topic(message.topic)
            found = message.attempt, message.lease, message.counts, message.under_ceiling
            expected = 1, Lease.SETTLED, topic is None or topic.counts, topic is not None and topic.ceiling is not None
            if found != expected:
                self._find(message.seq, "its attempt, lease or flags are not those of a contact recorded of this topic")
        self._hold(message)

    def _allowed(self, message: Message) -> None:
        attempt, states = self._earlier(message)
        for state in states:
            if state.is_live or state is State.REVOKED:
                self._find(message.seq, f"message {message.message_id!r} was allowed while it was {state.value}")
        if message.attempt != attempt and retold.remembers(self.opening, message):
            self._find(message.seq, f"it is attempt {message.attempt}, and should be {attempt}")
        self._expect_unsuppressed(message)
        decision = self._decide(message, reserves=True, revoked=False)
        if decision is not None:
            claims = (
                ("the start", message.start_us, decision.start_us),
                ("the lease's end", message.end_us, decision.lease_end_us),
                ("the lease", message.lease, decision.lease),
                ("whether it counts", message.counts, decision.counts),
                ("whether it is under a ceiling", message.under_ceiling, decision.under_ceiling),
                ("what did not charge it", message.uncharged, decision.uncharged),
                ("the observed verdict", message.observed, decision.observed),
                ("the reasons", message.reasons, retold.reasons(decision)),
            )
            self._compare(message.seq, Verdict.ALLOW, decision, claims)
        self._hold(message)

    def _refused(self, refusal: Refusal) -> None:
        attempt, revoked = 1, False
        if not refusal.checked:
            attempt, states = self._earlier(refusal)
            revoked = State.REVOKED in states
            attempt -= revoked  # a revoked message is refused as the attempt that was revoked
            for state in states:
                if state.is_live:
                    self._find(refusal.seq, f"message {refusal.message_id!r} was refused while it was {state.value}")
        is_known = retold.remembers(self.opening, refusal)
        if refusal.attempt != attempt and is_known:
            self._find(refusal.seq, f"it is attempt {refusal.attempt}, and should be {attempt}")
        if revoked != (refusal.reasons == REVOKED_REASONS) and is_known:
            was = "was" if revoked else "was not"
            self._find(refusal.seq, f"message {refusal.message_id!r} {was} revoked, but the reasons say otherwise")
        decision = self._decide(refusal, reserves=not refusal.checked, revoked=refusal.reasons == REVOKED_REASONS)
        if decision is None:
            return
        reasons = retold.reasons(decision)
        if refusal.reasons == REVOKED_REASONS:
            reasons = REVOKED_REASONS
            decision = decision._replace(verdict=Verdict.DENY, retry_at_us=None, retry_certain=True)
        elif refusal.verdict is Verdict.ALLOW and not refusal.checked and refusal.message_id is not None:
            self._find(refusal.seq, "it was allowed, but made no contact")
        claims = (
            ("the start", refusal.start_us, decision.start_us),
            ("the lease's end", refusal.end_us, decision.lease_end_us),
            ("the lease", refusal.lease, decision.lease),
            ("retry_at", refusal.retry_at_us, decision.retry_at_us),
            ("retry_certain", refusal.retry_certain, decision.retry_certain),
            ("the observed verdict", refusal.observed, decision.observed),
            ("the reasons", refusal.reasons, reasons),
        )
        self._compare(refusal.seq, refusal.verdict, decision, claims)

    def _expect_unsuppressed(self, message: Message) -> None:
        """Nothing is allowed in a scope after its suppression, even where the decision cannot be made again."""
        ruleset = self._rulesets.get(message.ruleset)
        topic = ruleset.rules.of(self.customer_id, message.at_us).topic(message.topic) if ruleset else None
        exempt = topic is not None and topic.exempt
        found = find_suppression(self.customer.in_force, message.channel, message.topic, exempt=exempt)
        if found is not None:
            self._find(message.seq, f"it was allowed in the scope {found.scope}, which was suppressed before")

    def _decide(self, entry: Message | Refusal, *, reserves: bool, revoked: bool) -> Decision | None:
        """What the rules that an entry names say of its ask, of what was on record before it."""
        ruleset = self._rulesets.get(entry.ruleset)
        if ruleset is None:
            self._find(entry.seq, f"it names ruleset {entry.ruleset}, which does not exist")
            return None
        if not ruleset.is_comparable or not self._is_told(entry, ruleset.rules.longest_us):
            self.skipped += 1
            return None
        self.decisions += 1
        ask = Ask(
            entry.channel,
            entry.topic,
            entry.campaign,
            entry.team,
            entry.priority,
            entry.weight,
            entry.start_us if entry.send_at_given else None,
            entry.end_us - entry.start_us,
            OnExpiry.PRESUME_SENT if entry.lease is Lease.PRESUMED else OnExpiry.RELEASE,
            reserves,
        )
        account, rules = self._holdings.account(entry.at_us), ruleset.rules
        if revoked:
            rules = rules_for(rules, self.customer_id, self.customer, entry.at_us)
        if revoked or not (rules.experiments or rules.holdouts):
            return decide(rules, self.customer, account, ask, entry.at_us)
        treated = treat(rules, self.customer_id, self._before(entry), account, ask, entry.at_us)
        for number in rules.patches:
            found, told = self.customer.variants.get(number), treated.memberships.get(number)
            if found != told:
                one, other = retold.membership(found), retold.membership(told)
                self._find(entry.seq, f"experiment {number}: {one} on record, but the replay says {other}")
        return treated.decision

    def _is_told(self, entry: Message | Refusal, longest_us: int) -> bool:
        """Whether the journal and the opening still tell all that a decision saw."""
        reached_us = entry.at_us - longest_us - LINGER_US
        return reached_us >= self.opening.complete_since_us and entry.seq > self._united_at

    def _before(self, entry: Message | Refusal) -> Customer:
        """The customer as an ask met them: what it made of memberships stands right before its own entry."""
        if self._entered is not None:
            changed, variants = self._entered
            if (changed.seq, changed.at_us) == (entry.seq - 1, entry.at_us):
                return replace(self.customer, variants=variants)
        return self.customer

    def _compare(
        self, seq: int, verdict: Verdict, decision: Decision, claims: Sequence[tuple[str, object, object]]
    ) -> None:
        if verdict is not decision.verdict:
            why = ", ".join(f"{each.code} {each.rule}" for each in decision.reasons) or "nothing"
            self._find(seq, f"its verdict is {verdict}, but the replay says {decision.verdict} ({why} refuses)")
            return
        for what, stored, replayed in claims:
            if stored != replayed:
                self._find(seq, f"{what} is {stored!r}, but the replay says {replayed!r}")

    def _earlier(self, entry: Message | Refusal) -> tuple[int, list[State]]:
        """The number of the next attempt under the entry's message id, and the states of those remembered at it."""
        found = [self._messages[seq] for seq in self._seqs.get(entry.message_id or "", ())]
        found = [each for each in found if entry.at_us - each.at_us <= MEMORY_US]
        return found[-1].attempt + 1 if found else 1, [each.state(entry.at_us) for each in found]

    def _hold(self, message: Message) -> None:
        self._messages[message.seq] = message
        self._seqs.setdefault(message.message_id, []).append(message.seq)
        contact = message.contact()
        if contact is not None:
            self._holdings.put(contact)

    def _resolved(self, entry: Resolved) -> None:
        message = self._messages.get(entry.contact_seq)
        if entry.resolution is not Resolution.REVOKED:
            self._expect_revoked()
        if message is None and entry.contact_seq <= self.opening.seq:
            return  # a contact that went before its resolution
        if message is None:
            self._find(entry.seq, f"it resolves contact {entry.contact_seq}, which is not in the journal")
            return
        state = message.state(entry.at_us)
        what = entry.resolution.name.lower()
        if entry.seq <= self._carried_to:
            self._resolve(entry, message)
            return
        if state not in _STATES_BEFORE[entry.resolution] or message.resolution is Resolution.MARKED:
            self._find(entry.seq, f"contact {message.seq} was {state.value} already when it was {what}")
        end_us = retold.end_us(entry, message)
        if entry.end_us != end_us:
            self._find(entry.seq, f"contact {message.seq} was {what} to end at {entry.end_us}, and should at {end_us}")
        if entry.resolution is Resolution.REVOKED:
            self._expect_suppressed(entry, message)
        self._resolve(entry, message)

    def _resolve(self, entry: Resolved, message: Message) -> None:
        resolved = message._replace(resolution=entry.resolution, resolved_us=entry.end_us)
        self._messages[message.seq] = resolved
        if entry.resolution is not Resolution.MARKED:  # the contact it marks stays what it was, wherever it is kept
            self._holdings.resolve(message.seq, resolved.contact())

    def _expect_suppressed(self, entry: Resolved, message: Message) -> None:
        channel, topic = message.channel, message.topic
        covering = any(each.scope.covers(channel, topic) for each in self.customer.in_force)
        if not covering and not is_withdrawn(self.customer.consents, channel, topic):
            self._find(entry.seq, f"contact {message.seq} was revoked, but no suppression covers it")
        if self._due is not None:
            self._due = self._due[0], [each for each in self._due[1] if each.seq != message.seq]

    def _expect_revoked(self) -> None:
        """The open leases in the scope of a new suppression or withdrawal are revoked right behind it."""
        if self._due is None:
            return
        entry, contacts = self._due
        self._due = None
        for each in contacts:
            self._find(entry.seq, f"it forbids {each.channel}/{each.topic}, but contact {each.seq} was not revoked")

    def _changed(self, entry: Changed) -> None:
        before = self.customer
        match entry.change:
            case Change.PROFILE:
                self.customer = retold.with_profile(self.customer, entry.data)
            case Change.SUPPRESSIONS:
                self.customer = replace(self.customer, suppressions=suppressions_of(entry.data))
            case Change.PREFERENCES:
                self.customer = replace(self.customer, preferences=preferences_of(entry.data))
            case Change.OUTCOMES:
                self.customer = replace(self.customer, outcomes=outcomes_of(entry.data))
            case Change.ADDRESSES:
                self.customer = replace(self.customer, addresses=addresses_of(entry.data))
            case Change.VARIANTS:
                self._entered = entry, self.customer.variants
                self.customer = replace(self.customer, variants=variants_of(entry.data))
                self.exposures = retold.exposures(self.exposures, self.customer_id, self.customer.variants, entry.at_us)
            case Change.MERGED:
                self._merged(entry)
        news = Refusals.between(before, self.customer)
        if news is not None:
            self._due = entry, self._bound(news, entry.at_us)

    def _merged(self, entry: Changed) -> None:
        if "into" in entry.data:
            self.customer, self.exposures = Customer(merged_into=entry.data["into"]), {}
            return
        self._carried_to = entry.seq + entry.data["entries"]
        self.customer = replace(self.customer, variants=variants_of(entry.data["variants"]))
        self.exposures = {each[0]: Exposure(self.customer_id, *each) for each in entry.data["exposures"]}

    def _bound(self, news: Refusals, now_us: int) -> list[Contact]:
        """The open leases that what is newly forbidden ends, under whichever policy."""
        open_ = self._holdings.open(now_us)
        return [each for each in open_ if news.binds(each, exempt=each.topic in self._exempt_topics)]
