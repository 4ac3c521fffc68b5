"""Somebody of whom Takt knows as much as it can, every text of it a canary; and a look into every table."""

from typing import Any

import psycopg
from psycopg import sql

from engine.core.customer import Preference
from engine.core.events import Event
from engine.core.policy import DAY_US, HOUR_US, Channel
from engine.core.suppression import Consent, Scope, Suppression, SuppressionReason
from engine.core.verdict import Ask
from engine.operations.addresses import PURPOSE, PutReachable, hashed
from engine.operations.decide import AskCommand, Mode
from engine.operations.decider import Decider
from engine.operations.file import PutCustomer, PutPreferences, Suppress
from engine.operations.intake import Intake
from engine.operations.resolve import ConfirmCommand, RecordCommand
from engine.store.metadata import TABLES

ASK = Ask("email", "promotions", "spring", "growth")


async def fill(decider: Decider, who: str) -> list[str]:
    """Bring in all there can be of a customer; the texts by which one would know the person again."""
    intake, now_us = Intake(decider), await decider.database.clock_us()
    address = hashed(await decider.secret(PURPOSE), Channel.EMAIL, f"{who}@example.com")
    consent = Consent(Scope("email"), given=True, at_us=now_us - DAY_US, source=f"form-{who}", text_version=f"v-{who}")
    put = PutCustomer(who, "Europe/Berlin", {"tier": "gold", "nickname": f"nick-{who}"}, (consent,))
    await intake.put([PutReachable(who, put, (address,))])
    await decider.settle(PutPreferences(who, (Preference("push", None, 3),)))
    for number in range(3):
        await decider.ask(AskCommand(who, f"m{number}-{who}", ASK), Mode.RESERVE)
    await decider.settle(ConfirmCommand(who, f"m0-{who}"))
    await decider.settle(RecordCommand(who, f"r-{who}", "sms", "promotions", now_us - HOUR_US))
    told: list[dict[str, Any]] = [
        {"type": "session", "value": 60.0, "properties": {"page": f"page-{who}", "pages": 3}},
        {"type": "purchase", "value": 19.5, "margin": 4.0, "properties": {"basket": f"basket-{who}"}},
        {"type": "clicked", "message_id": f"m0-{who}", "channel": "email", "properties": {"url": f"url-{who}"}},
        {"type": "case_opened", "properties": {"case": f"case-{who}"}},
        {
            "type": "bounced",
            "channel": "email",
            "digest": address.digest,
            "flags": 4,
            "properties": {"why": f"why-{who}"},
        },
    ]
    made = [Event(who, "shop", f"e{number}-{who}", at_us=now_us - HOUR_US, **each) for number, each in enumerate(told)]
    assert all(str(each) == "accepted" for each in await intake.take(made))
    await decider.settle(
        Suppress(who, Suppression(Scope("sms"), SuppressionReason.BY_HAND, now_us, f"desk-{who}", binds_exempt=True))
    )
    return [who, address.digest]


def events_of(url: str, who: str) -> int:
    """The five that are told, and what Takt itself tells: of choices, and of channels that are lost."""
    with psycopg.connect(url) as connection:
        ((found,),) = connection.execute("SELECT count(*) FROM events WHERE customer_id = %s", (who,)).fetchall()
    assert found >= 5 + 3, "email, sms, and so all channels together are lost"
    return found


def dump(url: str) -> str:
    """Every row of every table as text, numbers and bytes too."""
    found: list[str] = []
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
        ).fetchall()
        assert {each for (each,) in names} >= set(TABLES.tables) - {"journal", "refusals", "resolutions"}
        for (name,) in names:
            with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))) as copy:
                found += [f"{name}: {bytes(row).decode(errors='backslashreplace')}" for row in copy]
    return "\n".join(found)
