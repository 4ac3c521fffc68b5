"""The judge: what the promises are, said once more, and held against logs and tables. Imports nothing of the engine.

What contacts may be is in `story`; here is what was acknowledged, sent, and answered while nobody could know. An answer
is later than an acknowledgement if its request went out after that had come in; whatever lies closer may have been
decided in either order, and is let through.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from tests.chaos import evidence as given
from tests.chaos.evidence import CONFIRMED, LATE, MARKED, RELEASED, REVOKED, Asked
from tests.chaos.policy import BUDGETS, MOST, TESTED, Budget
from tests.chaos.story import Story, covered

KINDS = {"confirmed": CONFIRMED, "released": RELEASED, "revoked": REVOKED, "late": LATE}


class Violation(NamedTuple):
    check: str  # begins with the number of the invariant
    text: str
    customer: str
    at: int


def judge(found: given.Evidence) -> list[Violation]:
    """Everything that contradicts a promise."""
    stories: dict[str, Story] = defaultdict(Story)
    violations: list[Violation] = []
    for customer, entries in found.entries.items():
        seqs, all_ = [each.seq for each in entries], range(1, found.last_seq.get(customer, 0) + 1)
        if seqs != list(all_):
            odd = sorted({seq for seq in seqs if seqs.count(seq) > 1} | (set(seqs) ^ set(all_)))
            violations.append(Violation("2 numbering", f"doubled or missing: {odd[:5]}", customer, entries[-1].at))
        for entry in entries:
            violations += [Violation(*each, customer, entry.at) for each in stories[customer].tell(entry)]
    return [*violations, *_acknowledged(found, stories), *_sent(found, stories), *_outages(found)]


def _acknowledged(found: given.Evidence, stories: Mapping[str, Story]) -> Iterator[Violation]:
    yield from (Violation("11 answer", *each) for each in found.unanswered)
    yield from _kept(found, stories)
    choices = _choices(found)
    numbers, afresh = sorted(found.activated), Counter(each[:4] for each in found.asks if each.is_fresh)
    for ask in found.asks:
        story, name = stories[ask.customer], f"{ask.message}, attempt {ask.attempt},"
        row, newest = story.attempts.get((ask.message, ask.attempt)), bisect_left(numbers, (ask.asked, 0)) - 1
        wrong: list[tuple[str, str]] = []
        if ask.allowed and (row is None or row.at != ask.decided or ask.expires not in (0, row.end)):
            wrong.append(("2 lost", "is not on record as it was answered"))
        if not ask.allowed and (ask.message, ask.decided) not in story.there:
            wrong.append(("2 lost", "was refused, which is not on record"))
        if afresh[ask[:4]] > 1:
            wrong.append(("3 twice", "was allowed afresh twice"))
        if ask.expires and covered(ask, _closed(choices[ask.customer, ask.topic], ask)):
            wrong.append(("6 allowed", "was asked after the acknowledged unsubscribe"))
        if newest >= 0 and not ask.replayed and ask.ruleset < numbers[newest].ruleset:
            wrong.append(("15 ruleset", f"was decided under {ask.ruleset}"))
        wrong += () if ask.replayed else _treated(found, ask)
        yield from (Violation(check, f"{name} {text}", ask.customer, ask.decided) for check, text in wrong)


def _kept(found: given.Evidence, stories: Mapping[str, Story]) -> Iterator[Violation]:
    """Whether it is in the database, once, and did what it is for."""
    lost = [(f"ruleset {each.ruleset}", "") for each in found.activated if each.ruleset not in found.rulesets]
    for key, choices in _choices(found).items():
        last = {each.channel: each for each in choices}
        is_there = {channel: (key[0], channel, key[1]) in found.suppressed for channel in last}
        lost += [(f"{last[channel]}", key[0]) for channel in last if last[channel].closes != is_there[channel]]
    yield from (Violation("2 lost", *each, 0) for each in lost)
    for each in found.told:
        times, story = found.events[each.customer, each.id], stories[each.customer]
        if times != 1:
            yield Violation("2 events", f"event {each.id} is there {times} times", each.customer, 0)
        row = story.newest.get(each.message or "")
        fates = story.fates[row.seq] if row else []
        if each.message and (row is None or (row.asked and not {CONFIRMED, LATE, MARKED} & set(fates))):
            yield Violation("2 events", f"{each.message} was told to be sent, after {fates}", each.customer, 0)
    for each in found.resolved:
        story, kind = stories[each.customer], KINDS.get(each.state, MARKED if each.applied else 0)
        row = story.attempts.get((each.message, each.attempt))
        seq = row.seq if row else 0
        if (kind and kind not in story.fates[seq]) or (each.applied and ((seq, kind), each.at) not in story.there):
            yield Violation("2 lost", f"{each.message} is not on record as {each.state}", each.customer, each.at)


def _choices(found: given.Evidence) -> Mapping[tuple[str, str], list[given.Chose]]:
    """By customer and topic, in order: nobody chooses again before the choice before was acknowledged."""
    choices: dict[tuple[str, str], list[given.Chose]] = defaultdict(list)
    for each in sorted(found.chosen, key=lambda each: each.got):
        choices[each.customer, each.topic].append(each)
    return choices


def _closed(choices: Collection[given.Chose], ask: Asked) -> set[given.Scope]:
    """What was closed before the ask went out, and not about to be opened when it was answered."""
    latest = {each.channel: each for each in choices if each.since < ask.got}
    return {(each.channel, each.topic) for each in latest.values() if each.closes and each.got < ask.asked}


def _treated(found: given.Evidence, ask: Asked) -> Iterator[tuple[str, str]]:
    """Who asks while an experiment runs is in it, in the variant on record; nobody is before or after."""
    for key, ran in found.ran.items():
        variant = ask.variants.get(key)
        runs, is_over = ran.began < ask.asked and ask.got < ran.ending, ask.got < ran.since or ran.ended < ask.asked
        if ask.allowed and ask.channel == TESTED and runs and variant is None:
            yield "15 ruleset", f"was decided without {key}"
        if variant is not None and is_over:
            yield "15 ruleset", f"was decided under {key}, which did not run"
        if variant is not None and variant != found.entered.get((ask.customer, key)):
            yield "2 lost", f"was in {variant} of {key}, which is not on record"


def _outages(found: given.Evidence) -> Iterator[Violation]:
    """While nobody could know, nobody allowed; whatever was not answered says 503, and when to come again."""
    for each in found.tries:
        if each.status >= 500 and (each.status != 503 or not each.retry_after):
            yield Violation("11 status", f"{each.op} was answered {each.status}", each.customer, each.got)
        for down in found.downs:
            is_within = down.since <= each.asked and each.got <= down.until
            if each.allowed and is_within and down.customer in (None, each.customer):
                yield Violation("11 allowed", f"allowed while it was {down.why}", each.customer, each.got)


def _sent(found: given.Evidence, stories: dict[str, Story]) -> Iterator[Violation]:
    """By the provider's log: no window holds more than its limit. Late and revoked contacts stand apart."""
    twice = Counter((each.customer, each.message) for each in found.sends)
    groups: dict[tuple[str, Budget, str], list[int]] = defaultdict(list)
    for send in found.sends:
        story = stories[send.customer]
        row = story.attempts.get((send.message, send.attempt))
        if row is None or not row.start <= send.at < row.end or twice[send.customer, send.message] > 1:
            yield Violation("1 lease", f"{send.message} was sent twice, or outside its lease", send.customer, send.at)
        elif not {LATE, REVOKED} & set(story.fates[row.seq]):
            for budget in (each for each in BUDGETS if each.selects(send.channel)):
                groups[send.customer, budget, send.campaign if budget.per_campaign else ""].append(send.at)
    for (customer, budget, _), times in groups.items():
        times.sort()
        limit = MOST if budget.name == TESTED else budget.limit
        for first, last in zip(times, times[limit:], strict=False):
            if last - first < budget.window_us:
                yield Violation("1 sent", f"{limit + 1} in {last - first} us: {budget.name}", customer, last)
