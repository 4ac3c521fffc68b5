"""The judge judged where the clock of the database was off, or that of a host was believed."""

from tests.chaos.by_hand import ADA, asked, checks, contact, evidence, refusal, resolution, sent, us
from tests.chaos.evidence import CONFIRMED, Chose, Evidence, Step


def test_a_decision_bears_the_time_at_which_it_was_made() -> None:
    row = contact(1, 1)
    stamped = {"since": row.at + 2, "asked": row.at + 2, "got": row.at + 9}
    assert checks(evidence(row, asks=[asked(row)])) == set()
    assert checks(evidence(row, asks=[asked(row, **stamped)])) == {"8 clock"}
    assert checks(evidence(row, asks=[asked(row, got=row.at - 1)])) == {"8 clock"}
    assert checks(evidence(row, asks=[asked(row, **stamped, replayed=True)])) == set()
    off = Step(row.at - 9, row.at + 2, (row.at, row.at + 2))
    assert checks(evidence(row, asks=[asked(row, **stamped)], steps=[off])) == set()
    assert checks(evidence(row, asks=[asked(row, **stamped)], steps=[off._replace(until=row.at + 1)])) == {"8 clock"}
    before = refusal(1, 1, "gap", "m2")._replace(rules=())  # of the same instant: the clock had run ahead
    assert checks(evidence(before, row._replace(seq=2), asks=[asked(row, **stamped)])) == set()


def test_sends_on_two_sides_of_a_leap_of_the_clock_stand_apart() -> None:
    first, second = contact(1, 0), contact(2, 1.2, "m2")
    sends = [sent(0.5, "m1")._replace(since=us(-0.1)), sent(1.4, "m2")._replace(since=us(1.1))]
    found = evidence(first, resolution(3, 0.2, 1, CONFIRMED), second, sends=sends)
    assert "1 sent" in checks(found)

    def leapt(*at: float) -> set[str]:
        found.steps = [Step(us(at[0]), us(at[-1]), (us(at[0]), us(at[-1])))]
        return checks(found)

    assert "1 sent" not in leapt(0.6, 1)
    assert "1 sent" in leapt(-0.3, -0.2)
    assert "1 sent" in leapt(1.5, 1.6)
    assert "1 sent" not in leapt(1.2, 1.3)  # asked before the leap and sent after it


def test_a_lease_is_reckoned_from_the_answer_where_the_clock_was_off() -> None:
    row = contact(1, 100)  # of an account that the clock ran ahead of
    about = sent(2, "m1")._replace(since=us(0), got=us(1))
    assert checks(evidence(row, sends=[about])) == set()
    assert checks(evidence(row, sends=[about._replace(at=us(3))])) == {"1 lease"}
    assert checks(evidence(row, sends=[about._replace(at=us(0.9))])) == {"1 lease"}


def test_what_becomes_of_a_re_subscribe_while_the_clock_is_off_is_not_judged() -> None:
    back = [Chose(ADA, None, "news", True, us(0), us(1)), Chose(ADA, None, "news", None, us(2), us(3))]
    assert checks(Evidence(chosen=back)) == set()
    assert checks(Evidence(chosen=back, suppressed={(ADA, None, "news")})) == set()
