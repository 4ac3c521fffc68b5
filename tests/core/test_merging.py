"""Two customers who are one: what forbids a contact of either forbids it of both, whatever the other one lifted."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.core.customer import Address, Customer
from engine.core.merging import united
from engine.core.policy import Policy
from engine.core.suppression import Scope, Suppression, SuppressionReason, fact, find_suppression, joined, tombstone
from tests.core.strategies import CHANNELS, TOPICS

POLICY = Policy({}, (), None)
EMAIL = Scope("email")
DIGESTS = (None, "a" * 32, "b" * 32)
REASONS = (SuppressionReason.UNSUBSCRIBE, SuppressionReason.HARD_BOUNCE)


@st.composite
def told_facts(draw: st.DrawFn) -> list[Suppression]:
    """Few scopes, reasons, addresses and instants, so that they meet; some lifted alone, some with all of a scope."""
    found: list[Suppression] = []
    for _ in range(draw(st.integers(0, 5))):
        scope = draw(st.sampled_from((Scope(), EMAIL, Scope("email", "news"), Scope("push"))))
        reason, at_us = draw(st.sampled_from(REASONS)), draw(st.integers(1, 6))
        if draw(st.booleans()):
            found.append(tombstone(scope, reason, at_us))
            continue
        digest = draw(st.sampled_from(DIGESTS)) if scope.channel and not scope.topic else None
        told = fact(scope, reason, at_us, draw(st.sampled_from("ab")), digest)
        found.append(replace(told, binds_exempt=draw(st.booleans()), lifted_us=draw(st.sampled_from((0, 0, 3, 7)))))
    return found


@st.composite
def customers(draw: st.DrawFn, addresses: tuple[str | None, ...] = DIGESTS) -> Customer:
    reached = {draw(st.sampled_from(addresses)) for _ in range(2)} - {None}
    return Customer(
        suppressions=joined((), draw(told_facts())),
        addresses=tuple(Address("email", each) for each in sorted(filter(None, reached))),
    )


def forbidden(*halves: Customer) -> set[tuple[str, str, bool]]:
    """What any of them may not be sent: channel, topic, and whether that topic is exempt."""
    return {
        (channel, topic, exempt)
        for each in halves
        for channel, topic, exempt in product(CHANNELS, TOPICS, (False, True))
        if find_suppression(each.in_force, channel, topic, exempt=exempt) is not None
    }


def hearing(customer: Customer, groups: Iterable[Iterable[Suppression]]) -> Customer:
    for each in groups:
        customer = replace(customer, suppressions=joined(customer.suppressions, each))
    return customer


@hypothesis_settings(max_examples=600)
@given(customers(), customers())
def test_what_forbids_a_contact_of_either_forbids_it_of_both(one: Customer, other: Customer) -> None:
    both = united(one, other, POLICY, 9)
    assert forbidden(both) >= forbidden(one, other)
    assert both.suppressions == united(other, one, POLICY, 9).suppressions


@hypothesis_settings(max_examples=400)
@given(customers((None,)), customers((None,)))
def test_and_nothing_else_does_where_no_address_comes_to_be_theirs(one: Customer, other: Customer) -> None:
    assert forbidden(united(one, other, POLICY, 9)) == forbidden(one, other)


@hypothesis_settings(max_examples=300)
@given(customers(), customers(), told_facts(), st.data())
def test_what_is_told_of_both_afterwards_is_joined_in_any_order(
    one: Customer, other: Customer, news: list[Suppression], data: st.DataObject
) -> None:
    both = united(one, other, POLICY, 9)
    again = data.draw(st.permutations([*news, *news]))
    heard = hearing(both, [news])
    assert hearing(both, [[each] for each in again]) == heard
    lifted = [tombstone(each.scope, each.reason, 8) for each in heard.suppressions]
    assert forbidden(hearing(heard, [lifted])) == set(), "a later lift ends whatever it names"


@hypothesis_settings(max_examples=300)
@given(customers(), customers(), customers())
def test_it_does_not_matter_who_of_three_is_united_first(one: Customer, two: Customer, three: Customer) -> None:
    first = forbidden(united(united(one, two, POLICY, 9), three, POLICY, 9))
    last = forbidden(united(one, united(two, three, POLICY, 9), POLICY, 9))
    assert first >= forbidden(one, two, three)
    assert last >= forbidden(one, two, three)


def test_an_address_of_the_one_does_not_free_the_other_of_what_was_said_of_another_address() -> None:
    complaint = fact(EMAIL, SuppressionReason.COMPLAINT, 1, "provider", "a" * 32)
    one = Customer(suppressions=(complaint,))
    other = Customer(addresses=(Address("email", "b" * 32),))
    for both in (united(one, other, POLICY, 9), united(other, one, POLICY, 9)):
        assert forbidden(both) == forbidden(one) != set()
        assert complaint in both.suppressions, "which address it was stays on file"
