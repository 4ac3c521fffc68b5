"""What a policy may not say: one wrong document a row, with the one problem that it must give."""

import copy
from typing import Any

import pytest

from engine.core.errors import InvalidPolicy, Problem
from engine.core.policy_reader import read_policy

WEEK = {"rolling": "7d"}
PUSH = {"name": "push-weekly", "channels": ["push"], "limit": 2, "window": WEEK}
NIGHT = {"from": "21:00", "to": "08:00"}
PAUSE = {"from": "case_opened", "until": "case_closed", "at_most": "14d"}
ZONE = {"unknown_timezone": "Europe/Berlin"}


def document(**sections: Any) -> dict[str, Any]:
    return {"schema": 1, **copy.deepcopy(sections)}


def budget(**fields: Any) -> dict[str, Any]:
    return document(budgets=[{**PUSH, **fields}])


def without(field: str) -> dict[str, Any]:
    return document(budgets=[{name: value for name, value in PUSH.items() if name != field}])


def gap(**fields: Any) -> dict[str, Any]:
    return document(budgets=[{"name": "spacing", "min_gap": "16h", **fields}])


def quiet(*periods: dict[str, Any]) -> dict[str, Any]:
    return document(**ZONE, quiet_hours=list(periods))


def override(when: object) -> dict[str, Any]:
    return budget(overrides=[{"when": when, "limit": 1}])


def problems(data: object) -> tuple[Problem, ...]:
    with pytest.raises(InvalidPolicy) as refused:
        read_policy(data)
    return refused.value.problems


TOPICS = {
    "promotions": {},
    "alerts": {"exempt": True, "counts": False},
    "receipts": {"exempt": True},
    "hints": {"counts": False},
}

WRONG: list[tuple[object, str, str, str]] = [
    # the document
    ([], "", "an empty list", "a mapping"),
    (None, "", "null", "a mapping"),
    ({}, "schema", "nothing", "1, the number of this grammar"),
    ({"schema": 2}, "schema", "2", "1, the number"),
    ({"schema": True}, "schema", "true", "1, the number"),
    (document(budget=[]), "budget", "unknown field 'budget'", "did you mean budgets?"),
    (document(**{"quiet-hours": []}), "quiet-hours", "unknown field", "did you mean quiet_hours?"),
    (document(mode="enforced"), "mode", "'enforced'", "enforce or observe (did you mean enforce?)"),
    ({"schema": 1, 7: 1}, "7", "the key 7", "printable"),
    # limits
    (budget(limit=True), "budgets[0].limit", "true", "a whole number from 0 (none allowed)"),
    (budget(limit=-1), "budgets[0].limit", "-1", "a whole number from 0"),
    (budget(limit=1.0), "budgets[0].limit", "1.0", "a whole number from 0"),
    (budget(limit="1"), "budgets[0].limit", "'1'", "or null (no limit)"),
    (budget(limit=10**5000), "budgets[0].limit", "more than 64 bits", "to 1000000"),
    (without("limit"), "budgets[0].limit", "nothing", "a limit and a window, or a min_gap"),
    (without("window"), "budgets[0].window", "nothing", "a window"),
    (without("name"), "budgets[0].name", "nothing", "a name"),
    (budget(weights={"push": 3}), "budgets[0].limit", "2", "0, or at least the smallest weight of its channels, 3"),
    (
        budget(weights={"push": 2}, overrides=[{"when": {"a": 1}, "limit": 1}]),
        "budgets[0].overrides[0].limit",
        "1",
        "the smallest weight of its channels, 2",
    ),
    (budget(weights={"fax": 2}), "budgets[0].weights.fax", "'fax'", "email, push, sms"),
    (budget(weights={"push": 0}), "budgets[0].weights.push", "0", "1 to 1000"),
    (budget(weights={"push": 1.5}), "budgets[0].weights.push", "1.5", "a whole number"),
    (budget(hold_back={"keep": 2, "for_priority": 70}), "budgets[0].hold_back.keep", "2", "less than the limit of 2"),
    (budget(hold_back={"keep": 0, "for_priority": 70}), "budgets[0].hold_back.keep", "0", "from 1"),
    (budget(hold_back={"keep": 1}), "budgets[0].hold_back.for_priority", "nothing", "the least priority"),
    (budget(hold_back={"keep": 1, "for_priority": 101}), "budgets[0].hold_back.for_priority", "101", "1 to 100"),
    # windows
    (budget(window={"rolling": "7 days"}), "budgets[0].window.rolling", "'7 days'", "a duration such as 7d"),
    (budget(window={"rolling": 7}), "budgets[0].window.rolling", "7", "a duration such as 7d"),
    (budget(window={"rolling": "0d"}), "budgets[0].window.rolling", "'0d'", "more than 0"),
    (budget(window={"rolling": "401d"}), "budgets[0].window.rolling", "'401d'", "at most 400d"),
    (budget(window={"rolling": ""}), "budgets[0].window.rolling", "''", "a duration"),
    (budget(window={"rolling": "12h1d"}), "budgets[0].window.rolling", "'12h1d'", "a duration"),
    (budget(window={"rolling": "\u0661d"}), "budgets[0].window.rolling", "'\u0661d'", "a duration"),
    (budget(window={"rolling": "7d", "tolerance": "7d"}), "budgets[0].window.tolerance", "'7d'", "less than"),
    ({**budget(window={"calendar": "year"}), **ZONE}, "budgets[0].window.calendar", "'year'", "day, week or month"),
    (budget(window={}), "budgets[0].window.rolling", "nothing", "rolling or calendar"),
    (budget(window="for ever"), "budgets[0].window", "'for ever'", "or lifetime"),
    (
        document(**ZONE, budgets=[{**PUSH, "window": {"calendar": "day", "tolerance": "1h"}}]),
        "budgets[0].window.tolerance",
        "'1h'",
        "no tolerance beside calendar",
    ),
    (budget(window="lifetime", per="team"), "budgets[0].per", "'team'", "no per beside a lifetime window"),
    (budget(window="lifetime", teams=["a"]), "budgets[0].teams", "a list of 1", "no teams beside a lifetime window"),
    (budget(window="lifetime", campaigns=["a"]), "budgets[0].campaigns", "a list of 1", "no campaigns"),
    (
        budget(window="lifetime", hold_back={"keep": 1, "for_priority": 9}),
        "budgets[0].hold_back",
        "a mapping of 2",
        "no hold_back beside a lifetime window",
    ),
    (gap(limit=1), "budgets[0].limit", "1", "no limit beside min_gap"),
    (gap(window=WEEK), "budgets[0].window", "a mapping of 1", "no window beside min_gap"),
    (gap(weights={"email": 2}), "budgets[0].weights", "a mapping of 1", "no weights beside min_gap"),
    (gap(min_gap="401d"), "budgets[0].min_gap", "'401d'", "at most 400d"),
    # names, selectors and texts
    (budget(name="Push"), "budgets[0].name", "'Push'", "lowercase"),
    (budget(name="x" * 101), "budgets[0].name", "...", "1 to 100"),
    (budget(name="a\n"), "budgets[0].name", r"'a\n'", "lowercase"),
    (budget(channels="push"), "budgets[0].channels", "'push'", "a list"),
    (budget(channels=[]), "budgets[0].channels", "an empty list", "a list of 1 to"),
    (budget(channels=["Push"]), "budgets[0].channels[0]", "'Push'", "did you mean push?"),
    (budget(channels=["push", "push"]), "budgets[0].channels[1]", "'push' again", "each value once"),
    (budget(teams=[""]), "budgets[0].teams[0]", "''", "1 to 200 characters"),
    (budget(teams=["x" * 201]), "budgets[0].teams[0]", "of 201 characters", "1 to 200 characters"),
    (budget(teams=["a\x00"]), "budgets[0].teams[0]", r"'a\x00'", "printable"),
    (budget(campaigns=["a\ud800"]), "budgets[0].campaigns[0]", r"'a\ud800'", "printable"),
    (budget(campaigns=[str(i) for i in range(501)]), "budgets[0].campaigns", "a list of 501", "1 to 500"),
    (budget(chanels=["push"]), "budgets[0].chanels", "unknown field 'chanels'", "did you mean channels?"),
    (document(budgets={}), "budgets", "an empty mapping", "a list"),
    (document(budgets=[None] * 51), "budgets", "a list of 51", "at most 50"),
    (document(budgets=["push"]), "budgets[0]", "'push'", "a mapping"),
    (document(topics={str(i): {} for i in range(501)}), "topics", "a mapping of 501", "at most 500 entries"),
    (document(topics={"a b.c": {"purpose": "x"}}), 'topics["a b.c"].purpose', "'x'", "serve, sell or ask"),
    (document(topics={"a\x00": {}}), 'topics["a\\u0000"]', r"the key 'a\x00'", "printable"),
    (document(topics={"x" * 201: {}}), f'topics["{"x" * 60}..."]', "of 201 characters", "1 to 200"),
    (document(topics={"promotions": None}), "topics.promotions", "null", "a mapping"),
    (document(channels={"fax": {"consent": "opt_in"}}), "channels.fax", "'fax'", "email, push"),
    (document(channels={"sms": {}}), "channels.sms.consent", "nothing", "a consent rule"),
    (
        document(topics={"promotions": {}}, budgets=[{**PUSH, "topics": ["promotion"]}]),
        "budgets[0].topics[0]",
        "'promotion'",
        "a topic declared in topics (did you mean promotions?)",
    ),
    # overrides and conditions
    (budget(overrides=[{"limit": 1}]), "budgets[0].overrides[0].when", "nothing", "the attributes"),
    (override({}), "budgets[0].overrides[0].when", "an empty mapping", "at least one attribute"),
    (override({"a": None}), "budgets[0].overrides[0].when.a", "null", "text, a number"),
    (override({"a": {}}), "budgets[0].overrides[0].when.a", "an empty mapping", "at least one comparison"),
    (override({"a": []}), "budgets[0].overrides[0].when.a", "an empty list", "a list of 1"),
    (override({"a": float("nan")}), "budgets[0].overrides[0].when.a", "nan", "finite"),
    (override({"a": {"lt": float("inf")}}), "budgets[0].overrides[0].when.a.lt", "inf", "finite"),
    (override({"a": {"lt": True}}), "budgets[0].overrides[0].when.a.lt", "true", "number"),
    (override({"a": 2**60}), "budgets[0].overrides[0].when.a", str(2**60), "2^53"),
    (override({"a": {"like": "x"}}), "budgets[0].overrides[0].when.a.like", "unknown field 'like'", "gte"),
    (override({"a": [1, True]}), "budgets[0].overrides[0].when.a", "several types", "one type"),
    (override({"a": [1, 1.0]}), "budgets[0].overrides[0].when.a", "twice", "once"),
    (override({"a": {"gte": 10, "lt": 3}}), "budgets[0].overrides[0].when.a", "gte 10 and lt 3", "some value"),
    (override({"a": {"gt": 3, "lte": 3}}), "budgets[0].overrides[0].when.a", "gt 3 and lte 3", "some value"),
    (override({"a": {"gt": "b", "lte": 3}}), "budgets[0].overrides[0].when.a", "gt 'b' and lte 3", "some value"),
    (
        budget(overrides=[{"when": {"a": 1, "b": 2}, "limit": 1}, {"when": {"b": 2, "a": 1}, "limit": 5}]),
        "budgets[0].overrides[1]",
        "only those whom overrides[0] takes already",
        "customers whom no earlier override takes",
    ),
    (
        budget(overrides=[{"when": {"a": 1}, "limit": 1}, {"when": {"a": 1, "b": 2}, "limit": 5}]),
        "budgets[0].overrides[1]",
        "overrides[0]",
        "no earlier override",
    ),
    (
        budget(overrides=[{"when": {"a": i}, "limit": 1} for i in range(21)]),
        "budgets[0].overrides",
        "a list of 21",
        "at most 20",
    ),
    # rules that contradict each other, or never bind
    (document(budgets=[PUSH, {**PUSH, "limit": 9, "per": "team"}]), "budgets[1].name", "'push-weekly'", "budgets[0]"),
    (
        document(budgets=[PUSH, {**PUSH, "name": "other", "limit": 9, "weights": {"push": 1}}]),
        "budgets[1]",
        "the same budget as budgets[0]",
        "differs in more than its limit",
    ),
    (
        document(topics=TOPICS, budgets=[{**PUSH, "topics": ["alerts", "receipts"]}]),
        "budgets[0].topics",
        "exempt topics alone",
        "at least one topic that is not exempt",
    ),
    (
        document(topics=TOPICS, budgets=[{**PUSH, "topics": ["alerts", "hints"]}]),
        "budgets[0].topics",
        "topics that use no budget",
        "at least one topic that counts",
    ),
    (document(topics={"a": {"exempt": True}}, budgets=[PUSH]), "budgets[0]", "exempt topics alone", "not exempt"),
    (
        document(**ZONE, topics=TOPICS, quiet_hours=[{**NIGHT, "topics": ["alerts"]}]),
        "quiet_hours[0].topics",
        "exempt topics alone",
        "not exempt",
    ),
    (document(topics=TOPICS, pauses=[{**PAUSE, "topics": ["alerts"]}]), "pauses[0].topics", "exempt topics", "not"),
    (
        document(topics={"a": {"exempt": True, "ceiling": {"limit": 1, "window": "lifetime"}}}),
        "topics.a.ceiling.window",
        "'lifetime'",
        "a rolling or calendar window",
    ),
    (
        document(topics={"a": {"ceiling": {"limit": 1, "window": WEEK}}}),
        "topics.a.ceiling",
        "a mapping of 2",
        "no ceiling on a topic that is not exempt",
    ),
    (
        document(topics={"a": {"exempt": True, "consent": "opt_in"}}),
        "topics.a.consent",
        "'opt_in'",
        "no consent rule on an exempt topic",
    ),
    (document(topics={"a": {"exempt": "yes"}}), "topics.a.exempt", "'yes'", "true or false"),
    (
        document(topics={"a": {"exempt": True, "ceiling": {"limit": None, "window": WEEK}}}),
        "topics.a.ceiling.limit",
        "null",
        "a whole number",
    ),
    # quiet hours
    (quiet({**NIGHT, "from": 1260}), "quiet_hours[0].from", "1260", "a quoted time of day"),
    (quiet({**NIGHT, "from": "24:00"}), "quiet_hours[0].from", "'24:00'", 'to "23:59"'),
    (quiet({**NIGHT, "to": "24:01"}), "quiet_hours[0].to", "'24:01'", 'to "24:00"'),
    (quiet({**NIGHT, "to": "8:00"}), "quiet_hours[0].to", "'8:00'", '"00:00"'),
    (quiet({**NIGHT, "to": "21:00"}), "quiet_hours[0].to", "'21:00'", "another time than from"),
    (quiet({"from": "00:00", "to": "24:00"}), "quiet_hours[0].to", "'24:00'", "00:00 to 12:00 and 12:00 to 24:00"),
    (quiet({"from": "21:00"}), "quiet_hours[0].to", "nothing", "a time of day"),
    (quiet({**NIGHT, "days": ["monday"]}), "quiet_hours[0].days[0]", "'monday'", "did you mean mon?"),
    (quiet({**NIGHT, "days": []}), "quiet_hours[0].days", "an empty list", "a list of 1"),
    (
        quiet(NIGHT, {"from": "08:00", "to": "21:00"}),
        "quiet_hours[1]",
        "quiet hours all week",
        "an hour of the week in which email messages may be sent",
    ),
    (
        quiet({**NIGHT, "channels": ["sms"]}, {"topics": ["news"], "from": "08:00", "to": "21:00"}),
        "quiet_hours[1]",
        "quiet hours all week",
        "sms messages of news",
    ),
    # pauses, leases, zones, bounces
    (document(pauses=[{**PAUSE, "until": "case_opened"}]), "pauses[0].until", "'case_opened'", "another event"),
    (document(pauses=[{"from": "a", "until": "b"}]), "pauses[0].at_most", "nothing", "the longest"),
    (document(lease="2h", max_lease="1h"), "lease", "'2h'", "at most max_lease, 1h"),
    (document(lease="25h"), "lease", "'25h'", "at most max_lease, 1d"),
    (document(max_lease="1m"), "max_lease", "'1m'", "at least lease, 5m"),
    (document(max_lease="3d"), "max_lease", "'3d'", "at most 2d"),
    (document(unknown_timezone="+02:00"), "unknown_timezone", "'+02:00'", "not an offset"),
    (document(unknown_timezone="Etc/GMT-2"), "unknown_timezone", "'Etc/GMT-2'", "not an offset"),
    (document(unknown_timezone="Europe/Berlyn"), "unknown_timezone", "'Europe/Berlyn'", "or deny"),
    (document(unknown_timezone=None), "unknown_timezone", "null", "text"),
    (document(quiet_hours=[NIGHT]), "unknown_timezone", "nothing", "quiet_hours need it"),
    (budget(window={"calendar": "day"}), "unknown_timezone", "nothing", "budgets[0] needs it"),
    (
        document(topics={"a": {"exempt": True, "ceiling": {"limit": 1, "window": {"calendar": "day"}}}}),
        "unknown_timezone",
        "nothing",
        "topics.a needs it",
    ),
    (document(soft_bounces={"suppress_after": 0}), "soft_bounces.suppress_after", "0", "1 to 1000"),
    (document(on_expiry="sent"), "on_expiry", "'sent'", "release or presume_sent"),
]


@pytest.mark.parametrize(
    ("data", "path", "found", "expected"), WRONG, ids=[f"{i}-{row[1]}" for i, row in enumerate(WRONG)]
)
def test_what_is_wrong_is_refused_with_its_path_what_was_found_and_what_was_expected(
    data: object, path: str, found: str, expected: str
):
    (problem,) = problems(data)
    assert problem.path == path
    assert found in problem.found
    assert expected in problem.expected


def test_all_problems_are_reported_at_once_in_the_order_of_the_document():
    data = {
        "lease": "soon",
        "budgets": [{"window": WEEK, "limit": -1, "name": "A"}, {"name": "b", "limit": 1, "window": {"rolling": "7"}}],
        "mode": "on",
        "topics": {"x": {"purpose": "buy"}},
    }
    assert [problem.path for problem in problems(data)] == [
        "schema",
        "lease",
        "budgets[0].limit",
        "budgets[0].name",
        "budgets[1].window.rolling",
        "mode",
        "topics.x.purpose",
    ]


def test_one_mistake_in_a_topic_is_not_reported_again_for_each_rule_that_names_it():
    data = document(topics={"x": {"purpose": "buy"}}, budgets=[{**PUSH, "topics": ["x"]}])
    assert [problem.path for problem in problems(data)] == ["topics.x.purpose"]


def test_no_more_than_a_hundred_problems_are_reported():
    assert len(problems({f"field{i}": i for i in range(5_000)})) == 100


def test_the_message_names_the_first_problem_and_how_many_more():
    with pytest.raises(InvalidPolicy, match=r"^The policy is invalid: mode: found 7, expected .* \(and 1 more\)\.$"):
        read_policy(document(mode=7, lease=5))


@pytest.mark.parametrize("limit", [0, None])
def test_none_allowed_and_no_limit_can_always_be_met(limit: int | None):
    assert read_policy(budget(limit=limit, weights={"push": 9})).budgets[0].limit == limit


def test_a_budget_of_0_binds_topics_that_use_no_budget():
    read_policy(document(topics=TOPICS, budgets=[{**PUSH, "topics": ["hints"], "limit": 0}]))


def test_a_shadow_budget_may_differ_from_an_enforced_one_in_its_limit_alone():
    read_policy(document(budgets=[PUSH, {**PUSH, "name": "tighter", "limit": 1, "shadow": True}]))


def test_quiet_hours_may_close_all_week_where_a_condition_holds():
    read_policy(quiet(NIGHT, {"from": "08:00", "to": "21:00", "when": {"country": "DE"}}))


def test_nights_and_weekends_together_leave_working_hours_open():
    read_policy(quiet({"from": "20:00", "to": "09:00"}, {"from": "09:00", "to": "20:00", "days": ["sat", "sun"]}))


def test_a_period_from_sunday_into_monday_counts_for_the_hours_of_monday():
    days = ["mon", "tue", "wed", "thu", "fri", "sat"]
    open_on_mondays = (
        {"from": "12:00", "to": "11:00", "days": days},
        {"from": "11:00", "to": "13:00", "days": days[1:]},
    )
    read_policy(quiet(*open_on_mondays, {"from": "10:00", "to": "24:00", "days": ["sun"]}))
    with pytest.raises(InvalidPolicy, match="all week"):
        read_policy(
            quiet(*open_on_mondays, {"from": "10:00", "to": "09:00", "days": ["sun"]}, {**NIGHT, "to": "12:00"})
        )
