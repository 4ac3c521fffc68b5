"""The page of a customer: what is left of their budgets, what is on file, and why each message was sent or was not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.core.customer import Customer, Membership
from engine.core.policy import Channel
from engine.core.standing import Standing
from engine.render.frame import Frame, name, page
from engine.render.story import Named, own_limit, scoped, story
from engine.store.journal import Entry
from engine.store.story import Done


@dataclass(frozen=True, slots=True)
class Person:
    """All that the page is about. `frees_us`: when the next unit of a budget frees, by its name and what it is for.
    `entries` are of the journal, the newest first, and `done` is what they did meanwhile (`is_cut`: not all of it);
    `before` and `until_us` lead to what is older. `experiments`: what those that are named are called, the key and each
    variant's name."""

    customer_id: str
    customer: Customer
    standings: Sequence[Standing]
    frees_us: Mapping[tuple[str, str | None], int]
    entries: Sequence[Entry]
    done: Sequence[Done]
    is_cut: bool
    experiments: Named
    before: int | None
    until_us: int
    is_first_page: bool


def customers_page(frame: Frame) -> str:
    """Where a customer is looked up."""
    return page("customers.html", frame)


def customer_page(frame: Frame, person: Person) -> str:
    """One customer, as of the frame's instant."""
    return page(
        "customer.html",
        frame,
        person=person,
        told=story(person.entries, person.done, person.experiments),
        suppressions=[(scoped(each.scope), each) for each in person.customer.in_force],
        choices=[own_limit(each) for each in person.customer.preferences],
        consents=[(scoped(each.scope), each) for each in person.customer.consents],
        variants=[(key, name(variants[each.variant])) for each, key, variants in _memberships(person)],
        all_channels=[each.value for each in Channel],
    )


def _memberships(person: Person) -> Iterator[tuple[Membership, str, Sequence[str]]]:
    """The experiments that the customer is in, with what their variants are called."""
    for number, membership in person.customer.variants.items():
        key, variants = person.experiments.get(number, ("", ()))
        if membership.variant < len(variants):
            yield membership, key, variants
