"""The page tells the verdict first, asks nobody for anything, and stays whole whatever a readout holds."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from engine.render.curves import at, lines_of, ticks
from engine.render.page import POLICY, page
from experiments.design import Inference, Role
from experiments.estimates import unknown
from experiments.readout import Arm, Caution, CautionCode, Check, CheckCode, Line, LineKind, Point, Readout
from experiments.reporting.numbers import p_value, percent, plain
from experiments.reporting.sentences import arm_text, effect_line, estimate_text, headline
from experiments.reporting.text import level
from tests.render.readouts import LEVEL, a_full_readout, a_metric, a_readout, an_estimate

FULL = a_full_readout()
PAGE_BYTES_MAX = 300_000
VOID = {"meta", "link", "wbr", "br", "input"}


class Parsed(HTMLParser):
    """The elements of a page, each with its attributes and all text in it; fails where they are not nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, []))

    def handle_endtag(self, tag: str) -> None:
        found, pieces = self._open.pop()
        assert found == tag
        self.said.setdefault(tag, []).append(" ".join("".join(pieces).split()))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        for _, pieces in self._open:
            pieces.append(data)

    @property
    def text(self) -> str:
        return self.said["html"][0]


def same(text: str) -> str:
    """As a page says it: blanks in one, and none that could break before a percent sign."""
    return " ".join(text.replace(" %", "\u00a0%").split())


def whole(readout: Readout) -> Parsed:
    """The page of a readout, with what every file must keep to."""
    return kept_to(page(readout))


def kept_to(html: str) -> Parsed:
    """A file that is whole by itself, looked at: it asks for nothing, runs nothing and leads nowhere."""
    parsed = Parsed(html)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "form", "base", "style/", "a", "image", "use"}
    for tag, attributes in parsed.tags:
        assert not [each for each in attributes if each.startswith("on")]
        addresses = [attributes[each] for each in ("src", "href", "xlink:href", "action") if each in attributes]
        assert addresses == (["data:,"] if tag == "link" else [])
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in parsed.tags
    styles = parsed.said["style"][0]
    assert not re.search(r"@import|url\(|@font-face", styles)
    assert set(re.findall(r"https?://[^\"' <]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    html.encode()
    return parsed


def test_the_verdict_comes_first_and_the_methods_last() -> None:
    parsed = whole(FULL)
    headings = ["What changed for customers", "One interval for each metric", "At each tested limit"]
    headings += ["Over the days since entry", "What could make this wrong", "Method"]
    assert parsed.said["h2"] == headings
    text = parsed.text
    for verdict in FULL.verdicts:
        assert text.index(same(headline(FULL, verdict))) < text.index(headings[0])
    assert "Read as of 2026-11-02, after 28 of 91 days. 63,951 customers in 3 variants." in text


def test_every_effect_and_every_arm_is_in_the_table_under_the_forest_plot() -> None:
    cells = whole(FULL).said["td"]
    for metric in FULL.metrics:
        for variant in FULL.treatments:
            assert any(each.startswith(f"{variant} {same(effect_line(metric, variant))}") for each in cells)
            assert same(arm_text(metric, metric.arm(variant))) in cells


def test_contacts_received_stand_beside_the_limits_and_outcomes_at_all_limits_below() -> None:
    parsed = whole(FULL)
    assert parsed.text.index("Contacts received a week") < parsed.text.index("One interval for each metric")
    for each in FULL.received:
        assert plain(each.per_week) in parsed.said["td"]
    metric = FULL.metric("net_value")
    (table,) = [each for each in parsed.said["details"] if each.startswith("These effects as a table")]
    for row in FULL.doses[0].table.rows:
        assert (same(estimate_text(metric, row.effect)) if row.effect else "the control") in table
        assert row.received is None or plain(row.received) in table
    assert "They tie at 4.2 EUR a lost customer." in parsed.text
    assert f"the loss at a tie; Fieller, {level(LEVEL)}" in parsed.said["dd"]
    priced = [
        replace(each, comparisons=tuple(replace(one, break_even=None) for one in each.comparisons))
        for each in FULL.metrics
    ]
    over = replace(FULL, as_of=FULL.end, metrics=tuple(priced))
    assert over.recommendation
    assert same(over.recommendation.sentence) in whole(over).text
    without = whole(replace(FULL, received=(), doses=()))
    assert "received" not in without.text


def test_every_chart_of_curves_has_a_table_of_its_numbers() -> None:
    parsed = whole(FULL)
    metric = FULL.metric("time_to_unsubscribe")
    for kind in LineKind:
        for line in lines_of(metric, kind):
            for day in ticks(90, 9):
                point = at(line, day)
                assert point
                interval = f"{percent(point.low)} to {percent(point.high)}"
                assert same(f"{percent(point.value)} {interval}") in parsed.said["td"]
                assert plain(point.at_risk) in parsed.said["td"]
        estimand = lines_of(metric, kind)[0].estimand
        assert any(each.startswith(estimand) for each in parsed.said["figcaption"])


def test_the_last_day_is_told_with_who_was_watched_until_then() -> None:
    points = [Point(day, 1 - 0.001 * day, 0.9, 1.0, 100 if day < 30 else 40) for day in range(31)]
    line = Line("three", LineKind.STAYING, "the share who stayed", "Kaplan-Meier", 0.05, tuple(points))
    metric = a_metric("stay", Role.PRIMARY, an_estimate(0.1, 0.05, 0.2), curves=(line,))
    parsed = whole(a_readout(metric))
    assert parsed.said["th"][-6:] == ["0", "7", "14", "21", "28", "30"]
    assert parsed.said["td"][-2:] == [same("97 % 90 % to 100 %"), "40"]


def test_p_values_stand_behind_details_alone() -> None:
    parsed = whole(FULL)
    found = p_value(0.0312)
    assert found in parsed.text
    behind = " ".join(parsed.said["details"])
    assert parsed.text.count(" p = ") == behind.count(" p = ")


def test_every_check_caution_and_exclusion_is_told() -> None:
    parsed = whole(FULL)
    wrong = parsed.said["ul"][0]
    for caution in FULL.cautions:
        assert caution.sentence in wrong
    for check in FULL.checks:
        assert any(each.startswith(check.sentence.removesuffix(".")) for each in parsed.said["li"])
    assert "12 units seen in two variants" in parsed.said["li"]
    assert "Nothing was found" not in parsed.text
    assert "Nothing was found that speaks against it" in whole(a_readout(FULL.metrics[0])).text


def test_what_makes_a_readout_invalid_is_said_where_it_could_be_wrong_too() -> None:
    alarm = Check(CheckCode.SRM, True, "three holds 60 % of the customers, 50 % were planned.", p_value=1e-9)
    for cautions in (FULL.cautions, (Caution(CautionCode.CHECK, alarm.sentence), *FULL.cautions)):
        parsed = whole(replace(FULL, checks=(alarm,), cautions=cautions))
        assert parsed.said["strong"] == ["invalid", "invalid"]
        assert parsed.said["ul"][0].startswith(same(alarm.sentence))
        assert parsed.said["ul"][0].count(same(alarm.sentence)) == 1


def test_what_could_make_it_wrong_is_counted_once_each() -> None:
    alarm = Check(CheckCode.SRM, True, "three holds 60 % of the customers, 50 % were planned.", p_value=1e-9)
    again = replace(FULL, checks=(alarm,), cautions=(Caution(CautionCode.CHECK, alarm.sentence), *FULL.cautions))
    assert len(FULL.cautions) == 3
    assert "; 3 things could make it wrong." in whole(FULL).text
    assert "; 4 things could make it wrong." in whole(again).text
    assert "; 1 thing could make it wrong." in whole(replace(FULL, checks=(), cautions=FULL.cautions[:1])).text
    assert "; nothing found speaks against it." in whole(replace(FULL, checks=(), cautions=())).text


def test_a_chart_is_there_for_screens_and_for_phones_and_described_for_those_who_cannot_see_it() -> None:
    charts = [attributes for tag, attributes in whole(FULL).tags if attributes.get("role") == "img"]
    assert len(charts) == 2 * 4
    assert all(each["aria-label"] for each in charts)
    assert [each["class"] for each in charts] == ["chart wide", "chart narrow"] * 4


def test_the_same_readout_gives_the_same_page_within_its_size() -> None:
    html = page(FULL)
    assert page(Readout.from_json(FULL.to_json())) == html
    assert len(html.encode()) < PAGE_BYTES_MAX


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "</style></title><img src=x onerror=alert(1)>",
        "a \"quoted\" & 'single' {{ name }} {% raw %}",
        "ünïcødé 👩‍👩‍👧 漢字 עברית",
        "right\u202eto left\u2066",
        "n" * 200,
        "\ud800 half a sign",
        " ",
    ],
)
def test_a_page_stays_whole_whatever_a_name_holds(name: str) -> None:
    readout = a_full_readout(("control " + name, name))
    metrics = tuple(
        replace(each, name=f"{each.role}{name}", unit=name and "EUR", note=name) for each in readout.metrics
    )
    doses = tuple(replace(each, metric=f"{readout.metric(each.metric).role}{name}") for each in readout.doses)
    parsed = whole(replace(readout, key=name, hypothesis=name, metrics=metrics, doses=doses))
    assert "\u202e" not in parsed.text
    shown = same(re.sub("[\u202e\u2066\ud800]", "\ufffd", name))
    assert shown in parsed.said["h1"][0] or not shown
    assert any(shown in each for each in parsed.said["bdi"])


def test_a_readout_of_next_to_nothing_is_a_page_that_says_so() -> None:
    nobody = Arm("one", 0, 0, 0, None), Arm("three", 0, 0, 0, None)
    metric = replace(
        a_metric("spend", Role.PRIMARY, unknown("the mean", "Welch", LEVEL, "nobody is in three")), arms=nobody
    )
    readout = a_readout(metric, as_of=None)
    empty = replace(readout, hypothesis="", groups=tuple(replace(each, units=0, dose=None) for each in readout.groups))
    text = whole(empty).text
    assert "Read as complete. 0 customers in 2 variants." in text
    assert "not enough data: nobody is in three" in text
    assert "Who was compared" in text
    assert "Over the days since entry" not in text
    assert "no metric decides" in whole(a_readout(as_of=None)).text


def test_one_treatment_heads_its_own_column_and_several_stand_in_their_rows() -> None:
    alone = whole(a_readout(a_metric("reachable", Role.PRIMARY, an_estimate(0.01, 0.002, 0.02))))
    assert alone.said["th"][4:8] == ["Share planned", "one control", "three", "Metric"]
    assert "three" in alone.said["th"]
    assert "Control, one" in alone.said["th"]
    assert "Variant" in whole(FULL).said["th"]


@pytest.mark.parametrize("inference", list(Inference))
def test_the_plan_is_told_behind_the_last_details(inference: Inference) -> None:
    plan = whole(replace(FULL, inference=inference)).said["details"][-1]
    assert "2026-10-05, 2027-01-04" in plan
    assert ("at any time, at the earliest after 14 days" in plan) == (inference is Inference.ANYTIME)
    assert ("once, at the planned end" in plan) == (inference is Inference.FIXED)
