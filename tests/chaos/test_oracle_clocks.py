"""The judge judged where the clock of the database was off or stood still, or that of a host was believed."""

from tests.chaos.by_hand import ADA, asked, checks, contact, evidence, refusal, resolution, sent, us
from tests.chaos.evidence import CONFIRMED, RELEASED, Asked, Chose, Contact, Entry, Evidence, Refusal, Resolved, Step


def test_a_decision_bears_the_time_at_which_it_was_made() -> None:
    row = contact(1, 1)
    stamped = {"since": row.at + 2, "asked": row.at + 2, "got": row.at + 9}
    assert checks(evidence(row, asks=[asked(row)])) == set()
    assert checks(evidence(row, asks=[asked(row, **stamped)])) == {"8 clock"}
    assert checks(evidence(row, asks=[asked(row, got=row.at - 1)])) == {"8 clock"}
    assert checks(evidence(row, asks=[asked(row, since=row.at, got=row.at)])) == set()
    assert checks(evidence(row, asks=[asked(row, **stamped, replayed=True)])) == set()


def test_a_refusal_bears_the_time_at_which_it_was_made() -> None:
    row = refusal(1, 1, "gap")._replace(rules=())
    assert checks(evidence(row, asks=[_refused(row, at=1)])) == set()
    assert checks(evidence(row, asks=[_refused(row, at=2)])) == {"8 clock"}
    assert checks(evidence(row, asks=[_refused(row, at=0)])) == {"8 clock"}


def test_what_became_of_a_contact_bears_the_time_at_which_it_was_told() -> None:
    rows = contact(1, 0), resolution(2, 0.5, 1, CONFIRMED)
    told = Resolved(ADA, "m1", 1, "confirmed", True, us(0.5), us(0.4), us(0.6))
    assert checks(evidence(*rows, resolved=[told])) == set()
    assert checks(evidence(*rows, resolved=[told._replace(since=us(0.6), got=us(0.7))])) == {"8 clock"}
    assert checks(evidence(*rows, resolved=[told._replace(since=us(0.3), got=us(0.4))])) == {"8 clock"}
    again = told._replace(applied=False, since=us(0.6), got=us(0.7))
    assert checks(evidence(*rows, resolved=[told, again])) == set()


def test_a_clock_that_stands_still_is_noticed() -> None:
    """A second after second, each stamped with the first: refused for good, or allowed as often as one likes."""
    first, *refused = contact(1, 0), *(refusal(n, 0, "gap", f"m{n}") for n in range(2, 9))
    asks = [asked(first), *(_refused(each, at=each.seq) for each in refused)]
    assert checks(evidence(first, *refused, asks=asks)) == {"8 clock"}
    rows: list[Entry] = []
    for seq in range(1, 9, 2):
        rows += [contact(seq, 0, f"m{seq}"), resolution(seq + 1, 0, seq, RELEASED)]
    allowed = [_asked_at(each, each.seq) for each in rows if isinstance(each, Contact)]
    assert checks(evidence(*rows, asks=allowed)) == {"8 clock"}


def test_an_account_that_the_clock_ran_ahead_of_keeps_its_latest_stamp() -> None:
    """Which is in the future then: what is stamped so follows another entry of that instant."""
    before, row = refusal(1, 9, "gap", "m2")._replace(rules=()), contact(2, 9)
    ahead = Step(us(-2), us(0), (us(-2), us(-2)), us(9) - us(0))
    assert checks(evidence(before, row, asks=[_asked_at(row, 1)], steps=[ahead])) == set()
    assert checks(evidence(before._replace(at=us(8.9)), row, asks=[_asked_at(row, 1)], steps=[ahead])) == {"8 clock"}
    assert checks(evidence(before, row, asks=[_refused(before, at=1)], steps=[ahead])) == {"8 clock"}
    assert checks(evidence(before, row, asks=[_asked_at(row, 10)], steps=[ahead])) == {"8 clock"}
    for other in (ahead._replace(by=ahead.by - 1), ahead._replace(since=us(2), until=us(3))):
        assert checks(evidence(before, row, asks=[_asked_at(row, 1)], steps=[other])) == {"8 clock"}


def test_while_a_clock_is_off_stamps_are_off_by_as_much() -> None:
    row = contact(1, 1)
    back = Step(us(4), us(6), (us(6), us(6)), us(-4) - us(0))
    found = evidence(row, asks=[_asked_at(row, 5)], steps=[back])
    assert checks(found) == set()
    for other in (back._replace(by=us(-3.9) - us(0)), back._replace(by=-back.by), back._replace(until=us(4.9))):
        found.steps = [other]
        assert checks(found) == {"8 clock"}
    found.steps = [back._replace(by=us(-9) - us(0))]  # time stands still only for whom was stamped before
    assert checks(found) == {"8 clock"}
    before = refusal(1, 1, "gap", "m2")._replace(rules=())
    assert checks(evidence(before, row._replace(seq=2), asks=[_asked_at(row, 5)], steps=found.steps)) == set()


def test_sends_on_two_sides_of_a_leap_of_the_clock_stand_apart() -> None:
    first, second = contact(1, 0), contact(2, 1.2, "m2")
    sends = [sent(0.5, "m1")._replace(since=us(-0.1)), sent(1.4, "m2")._replace(since=us(1.1))]
    found = evidence(first, resolution(3, 0.2, 1, CONFIRMED), second, sends=sends)
    assert "1 sent" in checks(found)

    def leapt(*at: float) -> set[str]:
        found.steps = [Step(us(at[0]), us(at[-1]), (us(at[0]), us(at[-1])), 1)]
        return checks(found)

    assert "1 sent" not in leapt(0.6, 1)
    assert "1 sent" in leapt(-0.3, -0.2)
    assert "1 sent" in leapt(1.5, 1.6)
    assert "1 sent" not in leapt(1.2, 1.3)
    assert "1 sent" not in leapt(0.1, 0.2)  # the first was asked for before the leap, and sent after it, as the second


def test_a_lease_is_reckoned_from_the_answer_where_the_clock_was_off() -> None:
    row = contact(1, 100)  # of an account that the clock ran ahead of
    about = sent(2, "m1")._replace(since=us(0), got=us(1))
    assert checks(evidence(row, sends=[about])) == set()
    assert checks(evidence(row, sends=[about._replace(at=us(3))])) == {"1 lease"}
    assert checks(evidence(row, sends=[about._replace(at=us(0.9))])) == {"1 lease"}


def test_what_becomes_of_a_re_subscribe_while_the_clock_is_off_is_not_judged() -> None:
    back = [Chose(ADA, None, "news", True, us(0), us(1)), Chose(ADA, None, "news", False, us(2), us(3))]
    closed: set[tuple[str, str | None, str | None]] = {(ADA, None, "news")}
    off = Step(us(3), us(4), (us(4), us(4)), -1)
    assert checks(Evidence(chosen=back, suppressed=closed)) == {"2 lost"}
    for steps in ([off], [off._replace(since=us(1), until=us(2))]):
        assert checks(Evidence(chosen=back, steps=steps)) == set()
        assert checks(Evidence(chosen=back, steps=steps, suppressed=closed)) == set()
    assert checks(Evidence(chosen=back[:1], steps=[off._replace(since=us(0))])) == {"2 lost"}
    assert checks(Evidence(chosen=back, steps=[off._replace(since=us(3.1))], suppressed=closed)) == {"2 lost"}


def _asked_at(row: Contact, at: float) -> Asked:
    """The answer that allowed it, wanted and given at another time."""
    return asked(row, since=us(at) - 9, asked=us(at) - 9, got=us(at) + 9)


def _refused(row: Refusal, at: float) -> Asked:
    """The answer that refused it."""
    about = contact(row.seq, 0, row.message, channel=row.channel)
    return _asked_at(about, at)._replace(allowed=False, state=None, decided=row.at, expires=0)
