"""The page of budgets: what was asked and refused, by which rule, and whose messages fill what customers can take."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from engine.core.levels import FORGOTTEN_DAYS
from engine.core.policy import Channel
from engine.core.verdict import Code
from engine.render.frame import Frame, name, page
from engine.render.page import chart_of
from engine.render.stacks import Day, Filled, by_day, by_level
from engine.render.style import NARROW, WIDE, Spec
from engine.store.hourly_reading import Crowding
from engine.store.levels import Levels
from engine.store.volumes import Named, Ruled, Tally, Volumes
from experiments.reporting import numbers

PERIODS: Final = {7: "7 days", 28: "4 weeks", 84: "12 weeks"}
_SHOWN: Final = 15
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Final = {
    Code.LIMIT: "budget",
    Code.HOLD_BACK: "budget, kept for higher priority",
    Code.MIN_GAP: "min gap",
    Code.SUPPRESSED: "suppression",
    Code.NO_CONSENT: "no consent",
    Code.UNKNOWN_TOPIC: "topic that the policy does not declare",
    Code.UNKNOWN_TIMEZONE: "time zone unknown",
    Code.CEILING: "ceiling of an exempt topic",
    Code.PAUSED: "pause",
    Code.BREAKER: "complaint breaker",
    Code.CASE_OPEN: "open case",
    Code.QUIET_HOURS: "quiet hours",
    Code.REVOKED: "revoked before",
}


class Line(NamedTuple):
    """A channel, a topic or a day with its messages."""

    name: Markup
    tally: Tally


class Crowd(NamedTuple):
    """Refusals by budgets: about how many others caused, of how many, told by so many that were looked at; and who was
    refused because of whom."""

    pairs: list[Crowding]
    others: float
    all: float
    looked_at: int


def specs(shown: Volumes) -> list[Spec]:
    """The charts of the page, to be drawn before it is made."""
    return [each for pair in _charts(shown).values() for each in pair]


def budgets_page(frame: Frame, shown: Volumes, address: str, undrawn: Collection[str] = ()) -> str:
    """The page. `address`: of what it shows as a file, without the name of its form. `undrawn`: the texts of specs that
    nobody could draw."""
    charts = {key: chart_of(key, *pair, undrawn) for key, pair in _charts(shown).items()}
    return page(
        "budgets.html",
        frame,
        shown=shown,
        over_time=charts.get("days"),
        fullness=charts.get("levels"),
        address=address,
        periods=PERIODS,
        channels=[each.value for each in Channel],
        headline=headline(shown),
        selection=_selection(shown),
        rules=shown.rules[:_SHOWN],
        more_rules=shown.rules[_SHOWN:],
        day_lines=[Line(escape(_day(day)), tally) for day, tally in reversed(shown.days) if _is_any(tally)],
        channel_lines=_lines(shown.channels),
        topic_lines=_lines(shown.topics),
        levels=[(each, _shares(each)) for each in shown.levels if each.sampled],
        forgotten_days=FORGOTTEN_DAYS,
        crowd=crowd(shown.crowding),
        rule_name=rule_name,
        kind=kind,
        party=party,
        whole=round,
    )


def headline(shown: Volumes) -> Markup:
    """What happened, in one sentence."""
    total = shown.total
    if not total.asked:
        return Markup("Nothing was asked in these {}.").format(PERIODS[shown.days_shown])
    said = Markup("{} asked for in these {}: {} allowed, {} refused ({}).").format(
        _were(total.asked), PERIODS[shown.days_shown], numbers.plain(total.allowed), numbers.plain(total.refused),
        numbers.percent(total.refused / total.asked),
    )  # fmt: skip
    if shown.rules and shown.rules[0].messages:
        first = shown.rules[0]
        said += Markup(" {} refused the most: {} ({}).").format(
            rule_name(first), numbers.plain(first.messages), kind(first)
        )
    return said


def rule_name(rule: Ruled) -> Markup:
    """A rule as people call it; of suppressions and consents what they are about."""
    if rule.rule is None:
        return Markup("a rule not known any more")
    if rule.code not in (Code.SUPPRESSED, Code.NO_CONSENT):
        return name(rule.rule)
    channel, _, topic = rule.rule.partition("/")
    return Markup("{}, {}").format(*("every " + what if each == "*" else name(each) for each, what in (
        (channel, "channel"), (topic, "topic"))))  # fmt: skip


def kind(rule: Ruled) -> str:
    """What sort of rule it is."""
    return "" if rule.code is None else _KINDS[rule.code]


def crowd(found: Sequence[Crowding]) -> Crowd:
    """The refusals that were looked at, and those of them that others caused."""
    pairs = [each for each in found if each.is_others]
    others, every = sum(each.messages for each in pairs), sum(each.messages for each in found)
    return Crowd(pairs[:_SHOWN], others, every, sum(each.looked_at for each in found))


def party(text: str | None) -> Markup:
    """Who asked or sent: a team, or a sender who names none."""
    return Markup("nobody by name") if text is None else name(text)


def _were(messages: int) -> str:
    return f"{numbers.count(messages, 'message')} {'was' if messages == 1 else 'were'}"


def _selection(shown: Volumes) -> Markup:
    """What is looked at, where that is not everything."""
    parts = [Markup("channel {}").format(shown.stretch.channel)] if shown.stretch.channel else []
    parts += [Markup("topic {}").format(name(shown.stretch.topic))] if shown.stretch.topic else []
    parts += [Markup("team {}").format(name(shown.stretch.team))] if shown.stretch.team else []
    return Markup(", ").join(parts)


def _charts(shown: Volumes) -> dict[str, tuple[Spec, Spec]]:
    found: dict[str, tuple[Spec, Spec]] = {}
    if shown.total.asked:
        days = [Day(day, each.allowed, each.deferred, each.denied) for day, each in shown.days]
        found["days"] = by_day(days, WIDE), by_day(days, NARROW)
    filled = [Filled(each.budget, _shares(each)) for each in shown.levels if each.sampled]
    if filled:
        found["levels"] = by_level(filled, WIDE), by_level(filled, NARROW)
    return found


def _shares(each: Levels) -> tuple[float, ...]:
    """In the order of `stacks.LEVELS`."""
    return tuple(number / each.sampled for number in (each.saturated, each.close, each.comfortable, each.forgotten))


def _lines(counts: Iterable[Named]) -> list[Line]:
    return [Line(Markup("erased since") if each is None else name(each), tally) for each, tally in counts]


def _is_any(tally: Tally) -> bool:
    return bool(tally.asked or tally.past)


def _day(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%a %d %b %Y}".replace(" 0", " ")
