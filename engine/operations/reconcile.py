"""What the journal adds up to, against the rows that decisions read: the account, and what is on file.

The account may have let go of what `Account.settle` allows it to: expired leases, contacts that nothing counts, and
whatever ended before `complete_since_us`, which then is in the totals. Everything else must be there, to the bit. Of
what the journal has let go of the opening tells: those totals are the first of the account's.
"""

from collections.abc import Iterator, Mapping

from engine.core.account import Account, Contact
from engine.operations.replay import Finding, Replay
from engine.store.customers import customer_of, texts_of
from engine.store.exposures import Exposure
from engine.store.journal_reading import Dossier


def reconcile(replay: Replay, dossier: Dossier) -> Iterator[Finding]:
    """Where a customer's rows disagree with the journal."""
    account = dossier.account
    if account is not None:
        for seq, sentence in _account(replay, account):
            yield Finding(replay.customer_id, seq, sentence)
    elif dossier.has_account:
        yield Finding(replay.customer_id, None, "the bytes of the account cannot be read")
    else:
        yield Finding(replay.customer_id, None, "there is no account")
    try:
        on_file = texts_of(customer_of(dossier.texts))
    except (LookupError, ValueError, TypeError, AttributeError):
        yield Finding(replay.customer_id, None, "what is on file cannot be read")
        return
    for name, found, told in zip(on_file._fields, on_file, texts_of(replay.customer), strict=True):
        if found != told:
            yield Finding(replay.customer_id, None, f"on file is {name} {found}, but the journal says {told}")
    for sentence in _exposures(dossier.exposures, replay.exposures):
        yield Finding(replay.customer_id, None, sentence)


def _exposures(rows: Mapping[int, Exposure], told: Mapping[int, Exposure]) -> Iterator[str]:
    """Where the rows that readouts go by differ from what the journal says of who entered, where and when."""
    for number in sorted(rows.keys() | told.keys()):
        row, entry = rows.get(number), told.get(number)
        if row is None or entry is None:
            where = "the journal says that the customer is in it" if row is None else "the journal knows nothing of it"
            yield f"of experiment {number} there is {'no' if row is None else 'an'} exposure, but {where}"
            continue
        for name in ("variant", "assigned_us", "eligible_us", "diverged_us"):
            found, expected = getattr(row, name), getattr(entry, name)
            if found != expected:
                yield f"the exposure to experiment {number} says {name} {found}, the journal {expected}"


def _account(replay: Replay, account: Account) -> Iterator[tuple[int | None, str]]:
    were_refusals = account.seq > replay.seq and account.latest_us < replay.whole_since_us  # and were let go of
    if account.seq != replay.seq and not were_refusals:
        yield None, f"the account counts {account.seq} entries, but the newest in the journal is {replay.seq}"
    if account.latest_us != replay.latest_us and not were_refusals:
        yield None, f"the account was stamped {account.latest_us} last, the journal {replay.latest_us}"
    expected = {each.seq: each for each in replay.contacts()}
    held: set[int] = set()
    for contact in account.contacts:
        if contact.seq in held:
            yield contact.seq, "the account holds this contact twice"
        held.add(contact.seq)
        told = expected.get(contact.seq)
        if told is not None:
            yield from _differences(contact, told)
            continue
        message = replay.message(contact.seq)
        state = "not in the journal" if message is None else f"{message.state(account.latest_us).value}"
        yield contact.seq, f"the account holds this contact, which is {state}"
    yield from _left(account, replay.opening, [each for seq, each in expected.items() if seq not in held])


_COMPARED = (*(each for each in Contact._fields if each != "labels"), "channel", "topic", "campaign", "team")


def _differences(held: Contact, told: Contact) -> Iterator[tuple[int, str]]:
    if held == told:
        return
    for name in _COMPARED:
        found, expected = getattr(held, name), getattr(told, name)
        if found != expected:
            yield held.seq, f"the account says {name} {found!r} of this contact, the journal {expected!r}"


def _left(account: Account, opening: Account, absent: list[Contact]) -> Iterator[tuple[int | None, str]]:
    """Of the contacts that the account does not hold: those that it must, and whether the totals count the others."""
    now_us = account.latest_us
    totals = dict(opening.totals)
    for each in absent:
        if each.is_open(now_us):
            yield each.seq, "the account lacks this contact, whose lease is open"
        elif each.has_expired(now_us) or not each.matters:
            continue
        elif each.end_us >= account.complete_since_us:
            yield each.seq, f"the account lacks this contact, and says to be complete since {account.complete_since_us}"
        elif each.counts:
            key = each.channel, each.topic
            totals[key] = totals.get(key, 0) + each.weight
    for key in sorted({*totals, *account.totals}):
        found, told = account.totals.get(key, 0), totals.get(key, 0)
        if found != told:
            yield None, f"the totals of {'/'.join(key)} are {found}, but what left the account adds up to {told}"
