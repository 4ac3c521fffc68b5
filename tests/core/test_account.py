"""The account: its row, what it lets go of, and that letting go changes no answer."""

from collections.abc import Iterator
from random import Random

import pytest

from engine.core.account import (
    ALL_BUDGETS,
    LINGER_US,
    MAX_CONTACTS,
    Account,
    Contact,
    Kind,
    Lease,
    State,
)
from engine.core.account_row import Lexicon, decode, encode, restored
from engine.core.customer import UNKNOWN
from engine.core.decision import decide, needs_since_us
from engine.core.policy import DAY_US, HOUR_US, MINUTE_US, Budget, Lifetime, Policy
from engine.core.rules import Rules
from engine.core.verdict import Ask
from tests.core.oracle import Case
from tests.core.strategies import case, contact, dice, one_in

NOW_US = 1_792_584_000_000_000
WEEK_US = 7 * DAY_US


class Labels:
    """Numbers for labels, as the store hands them out."""

    def __init__(self) -> None:
        self.known: list[str | None] = [None]

    def number(self, label: str | None) -> int:
        if label not in self.known:
            self.known.append(label)
        return self.known.index(label)

    def name(self, number: int) -> str:
        return self.known[number]  # type: ignore[return-value]


def lexicon() -> Lexicon:
    labels = Labels()
    return Lexicon(labels.number, labels.name)


def sent(seq: int, end_us: int, **more: object) -> Contact:
    made = Contact(seq, end_us, end_us, ("push", "news", None, None), 1, 50, Lease.SETTLED, Kind.ASKED, True)
    return made._replace(**more)  # type: ignore[arg-type]


def aged(count: int) -> Iterator[tuple[Random, Case, int, list[Contact]]]:
    """Cases whose contacts go back by weeks, some of them more than an account may keep."""
    for seed in range(count):
        random = dice(seed)
        given, now_us = case(random)
        more = [
            contact(random, now_us, now_us, seq) for seq in range(20, random.choice((22, 40, 20 + 2 * MAX_CONTACTS)))
        ]
        contacts = [
            each._replace(start_us=each.start_us - days * DAY_US, end_us=each.end_us - days * DAY_US)
            for each in (*given.contacts, *more)
            for days in (random.choice((0, 0, 5, 11, 30, 60)),)
        ]
        yield random, given, now_us, contacts


def test_a_row_returns_the_contacts_and_totals_that_went_in():
    for seed in range(300):
        random = dice(seed)
        given, now_us = case(random)
        contacts = [contact(random, now_us, now_us, seq) for seq in range(random.choice((0, 1, 10, 64)))]
        words, account = lexicon(), Account(contacts=contacts, totals=dict(given.totals))
        assert decode(encode(account, words), words) == (contacts, given.totals)


def test_a_row_read_and_changed_is_encoded_as_if_it_had_never_been_read():
    """What is copied from the old row is what a fresh encoding would say, whatever was done in between."""
    copied = 0
    for seed in range(600):
        random = dice(seed)
        given, now_us = case(random)
        before = [contact(random, now_us, now_us, seq) for seq in range(random.choice((0, 1, 3, 10)))]
        words = lexicon()
        row = encode(Account(contacts=before, totals=dict(given.totals)), words)
        account = restored(1, now_us, 0, row, words)
        for seq in range(100, 100 + random.randint(0, 3)):
            account.add(contact(random, now_us, now_us, seq))
        for each in random.sample(before, min(len(before), random.choice((0, 0, 1, 2)))):
            if one_in(random, 2):
                account.remove(each.seq)
            else:
                account.replace(sent(each.seq, now_us))
        if one_in(random, 4):
            account.totals[("push", "news")] = 7
        copied += len(before) > 0 and account.contacts[: len(before)] == before
        assert encode(account, words) == encode(Account(contacts=account.contacts, totals=account.totals), words)
    assert 200 < copied < 500


def test_every_lease_kind_and_flag_survives_the_row():
    contacts = [
        sent(0, NOW_US, lease=lease, kind=kind, counts=counts, under_ceiling=ceiling, uncharged=uncharged)
        for lease in Lease
        for kind in Kind
        for counts in (True, False)
        for ceiling in (True, False)
        for uncharged in ((), ALL_BUDGETS, ("one", "two"))
    ]
    words = lexicon()
    found, _ = decode(encode(Account(contacts=contacts), words), words)
    assert found == contacts
    assert all(isinstance(each.lease, Lease) and isinstance(each.kind, Kind) for each in found)
    assert all(type(each.counts) is bool and type(each.under_ceiling) is bool for each in found)


def test_the_extremes_of_every_number_survive_the_row():
    extreme = sent(2**32 - 1, -(2**63), start_us=2**63 - 1, weight=2**16 - 1, priority=100)
    words = lexicon()
    row = encode(Account(contacts=[extreme], totals={("push", "news"): 2**62}), words)
    assert decode(row, words) == ([extreme], {("push", "news"): 2**62})


def test_an_empty_row_is_an_empty_account_and_another_form_is_refused():
    assert decode(b"", lexicon()) == ([], {})
    with pytest.raises(ValueError, match="form 9"):
        decode(b"\x09" + encode(Account(), lexicon())[1:], lexicon())


def test_an_unknown_number_is_told_to_the_caller():
    row = encode(Account(contacts=[sent(1, NOW_US)]), lexicon())
    with pytest.raises(KeyError):
        decode(row, Lexicon(Labels().number, dict[int, str]().__getitem__))


def test_a_settled_account_decides_as_the_unsettled_one():
    compared = 0
    for random, given, now_us, contacts in aged(600):
        if any(
            isinstance(each.window, Lifetime) and is_shadow(given, each.shadow) for each in given.rules.policy.budgets
        ):
            continue  # totals do not say which of the contacts a shadow did not charge
        whole, settled = account_of(given, contacts), account_of(given, contacts)
        settled.settle(now_us, given.rules.longest_us)
        later_us = now_us + random.choice((0, MINUTE_US, DAY_US))
        if needs_since_us(given.rules, given.customer, given.ask, later_us) >= settled.complete_since_us:
            compared += 1
            assert answer(given, settled, later_us) == answer(given, whole, later_us)
    assert compared > 300


def test_what_a_settled_account_lacks_is_recalled():
    for random, given, now_us, contacts in aged(300):
        whole, settled = account_of(given, contacts), account_of(given, contacts)
        settled.settle(now_us, given.rules.longest_us)
        journal = [each for each in contacts if not each.is_open(now_us) and not each.has_expired(now_us)]
        random.shuffle(journal)
        since_us = min(each.end_us for each in contacts)
        settled.recall(journal, since_us)
        assert settled.complete_since_us <= since_us
        assert settled.totals == given.totals
        assert answer(given, settled, now_us) == answer(given, whole, now_us)
        again = [*settled.contacts]
        settled.recall(journal, since_us)
        assert settled.contacts == again
        assert settled.totals == given.totals


def account_of(given: Case, contacts: list[Contact]) -> Account:
    return Account(contacts=list(contacts), totals=dict(given.totals))


def is_shadow(given: Case, shadow: bool) -> bool:
    return shadow or given.rules.policy.mode.value == "observe"


def answer(given: Case, account: Account, now_us: int) -> object:
    return decide(given.rules, given.customer, account, given.ask, now_us, given.variants)


def test_settling_keeps_every_open_lease_and_the_newest_64_and_says_what_is_missing():
    for _, given, now_us, contacts in aged(200):
        account = account_of(given, contacts)
        account.settle(now_us, given.rules.longest_us)
        held = set(account.contacts)
        opened = {each for each in contacts if each.end_us > now_us and each.lease is not Lease.SETTLED}
        assert opened <= held
        assert len(held) <= max(MAX_CONTACTS, len(opened))
        for each in contacts:
            if each.matters and not each.has_expired(now_us) and each.end_us >= account.complete_since_us:
                assert each in held
        before = sum(given.totals.values())
        left = [each for each in contacts if each.counts and not each.has_expired(now_us) and each not in held]
        assert sum(account.totals.values()) - before == sum(each.weight for each in left)
        again = list(account.contacts)
        account.settle(now_us, given.rules.longest_us)
        assert account.contacts == again


def test_open_leases_stay_however_many_there_are():
    opened = [sent(n, NOW_US + 1 + n, lease=Lease.RELEASES) for n in range(MAX_CONTACTS + 6)]
    account = Account(contacts=[sent(100, NOW_US), *opened])
    account.settle(NOW_US, WEEK_US)
    assert account.contacts == opened
    assert (account.totals, account.complete_since_us) == ({("push", "news"): 1}, NOW_US + 1)


def test_contacts_linger_for_48_hours_beyond_the_longest_window():
    oldest_us = NOW_US - WEEK_US - LINGER_US
    account = Account(contacts=[sent(1, oldest_us), sent(2, oldest_us + 1)])
    account.settle(NOW_US, WEEK_US)
    assert [each.seq for each in account.contacts] == [2]
    assert account.totals == {("push", "news"): 1}
    assert account.complete_since_us == oldest_us + 1


def test_an_expired_lease_leaves_no_trace_in_the_totals_and_a_presumed_one_stays():
    expired = sent(1, NOW_US, lease=Lease.RELEASES)
    presumed = sent(2, NOW_US, lease=Lease.PRESUMED)
    still_open = sent(3, NOW_US + 1, lease=Lease.RELEASES)
    account = Account(contacts=[expired, presumed, still_open])
    account.settle(NOW_US, WEEK_US)
    assert account.contacts == [presumed, still_open]
    assert (account.totals, account.complete_since_us) == ({}, 0)


def test_a_contact_that_uses_no_budget_leaves_when_it_ended():
    kept = sent(1, NOW_US, counts=False, under_ceiling=True)
    account = Account(contacts=[kept, sent(2, NOW_US, counts=False), sent(3, NOW_US + 1, counts=False)])
    account.settle(NOW_US, WEEK_US)
    assert [each.seq for each in account.contacts] == [1, 3]


def test_a_lifetime_budget_goes_on_counting_what_left_the_account():
    rules = Rules(1, Policy({}, (Budget("ever", Lifetime(), 7, weights={"push": 3}),), None))
    account = Account(contacts=[sent(n, NOW_US - n * 30 * DAY_US) for n in range(2)])
    for _ in range(2):
        decision = decide(rules, UNKNOWN, account, Ask("email", "news", reserves=False), NOW_US)
        assert [(each.used, each.limit) for each in decision.budgets] == [(6, 7)]
        account.settle(NOW_US, rules.longest_us)
    assert (len(account.contacts), account.totals) == (1, {("push", "news"): 1})


def test_recall_does_not_count_twice_what_the_account_still_holds():
    contacts = [sent(n, NOW_US - n * DAY_US) for n in range(80)]
    account = Account(contacts=list(contacts))
    account.settle(NOW_US, 100 * DAY_US)
    assert (len(account.contacts), account.totals) == (64, {("push", "news"): 16})
    account.recall(contacts, NOW_US - 70 * DAY_US)
    assert len(account.contacts) == 71
    assert account.totals == {("push", "news"): 9}
    assert account.complete_since_us == NOW_US - 70 * DAY_US


def test_recall_leaves_out_what_uses_no_budget_and_what_is_older_than_was_asked_for():
    account = Account(complete_since_us=NOW_US, totals={("push", "news"): 1})
    account.recall([sent(1, NOW_US - 1, counts=False), sent(2, NOW_US - 1), sent(3, NOW_US - 2)], NOW_US - 1)
    assert [each.seq for each in account.contacts] == [2]
    assert account.totals == {}


def test_recall_of_what_the_totals_do_not_know_shows_instead_of_raising():
    account = Account(complete_since_us=NOW_US)
    account.recall([sent(1, NOW_US - 1)], NOW_US - 1)
    assert account.totals == {("push", "news"): -1}


@pytest.mark.parametrize(
    ("lease", "kind", "before", "after"),
    [
        (Lease.RELEASES, Kind.ASKED, State.RESERVED, State.EXPIRED),
        (Lease.PRESUMED, Kind.ASKED, State.RESERVED, State.PRESUMED_SENT),
        (Lease.SETTLED, Kind.ASKED, State.CONFIRMED, State.CONFIRMED),
        (Lease.SETTLED, Kind.LATE, State.LATE, State.LATE),
        (Lease.SETTLED, Kind.RECORDED, State.RECORDED, State.RECORDED),
    ],
)
def test_a_lease_ends_at_its_end_and_not_before(lease: Lease, kind: Kind, before: State, after: State):
    given = sent(1, NOW_US, lease=lease, kind=kind)
    assert given.state(NOW_US - 1) is before
    assert given.state(NOW_US) is after
    assert given.is_open(NOW_US - 1) == (before is State.RESERVED)
    assert not given.is_open(NOW_US)


def test_a_send_confirmed_ahead_of_its_time_ends_at_its_start():
    planned = sent(1, NOW_US + HOUR_US, start_us=NOW_US + MINUTE_US, lease=Lease.PRESUMED)
    assert planned.confirmed(NOW_US).end_us == NOW_US + MINUTE_US
    assert planned.confirmed(NOW_US + 2 * MINUTE_US).end_us == NOW_US + 2 * MINUTE_US
    assert planned.confirmed(NOW_US).lease is Lease.SETTLED


def test_a_journal_entry_takes_the_next_number_and_the_latest_instant():
    account = Account(seq=7, latest_us=NOW_US)
    assert account.stamp(NOW_US - DAY_US) == 8
    assert account.latest_us == NOW_US
    account.add(sent(8, NOW_US))
    account.replace(sent(8, NOW_US + 1))
    found = account.find(8)
    assert found is not None
    assert found.end_us == NOW_US + 1
    account.remove(8)
    assert account.find(8) is None
