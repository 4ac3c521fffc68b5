"""`takt ask`: one question to the running service, and `takt confirm` and `takt release` for what became of it."""

import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from engine.cli.app import app
from engine.cli.arguments import instant
from engine.cli.connect import service
from engine.cli.output import as_json, note, table, utc, wrapped
from engine.client import Answer, Ask, Message, Resolution
from engine.operations.decide import Mode

NOT_ALLOWED = 3
_PANEL = "Ask"


@app.command(rich_help_panel=_PANEL)
def ask(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    channel: Annotated[str, typer.Option(help="email, push, sms, in_app, phone or letter.")],
    topic: Annotated[str, typer.Option(help="What it is about, as the policy names it.")],
    campaign: Annotated[str | None, typer.Option(help="The campaign it belongs to.")] = None,
    team: Annotated[str | None, typer.Option(help="Who wants to send, if the key speaks for several.")] = None,
    message_id: Annotated[str | None, typer.Option(help="Yours; made up if not given, and printed.")] = None,
    mode: Annotated[Mode, typer.Option(help="reserve budget, only check, or peek without a trace.")] = Mode.RESERVE,
    priority: Annotated[int | None, typer.Option(help="0 to 100; 50 if not given.")] = None,
    weight: Annotated[int | None, typer.Option(help="How much budget it takes.")] = None,
    send_at: Annotated[str | None, typer.Option(help="When it will be sent: 2026-10-05T09:00:00Z.")] = None,
    lease_s: Annotated[int | None, typer.Option(help="Seconds for which it is held.")] = None,
    on_expiry: Annotated[str | None, typer.Option(help="release or presume_sent.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """May this message be sent to this customer now? Exits with 0 if so, with 3 if not.

    Example: takt ask ada --channel email --topic promotions --message-id autumn-sale:ada
    """
    if message_id is None and mode is Mode.RESERVE:
        message_id = f"cli:{uuid.uuid4().hex[:12]}"
    asked = Ask(
        customer,
        channel,
        topic,
        message_id,
        campaign,
        team,
        priority=priority,
        weight=weight,
        mode=mode.value,
        send_at=None if send_at is None else instant(send_at),
        lease_s=lease_s,
        on_expiry=on_expiry,
    )
    with service() as client:
        answer = client.ask(asked)
    if json:
        as_json(asdict(answer) | {"may_send": answer.may_send})
    else:
        _show(answer)
    if answer.verdict != "allow":
        raise typer.Exit(NOT_ALLOWED)


@app.command(rich_help_panel=_PANEL)
def confirm(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    message_id: Annotated[str, typer.Argument(help="The message that was asked about.")],
) -> None:
    """The message was sent.

    Example: takt confirm ada autumn-sale:ada
    """
    with service() as client:
        _show_resolution(client.confirm(Message(customer, message_id)))


@app.command(rich_help_panel=_PANEL)
def release(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
    message_id: Annotated[str, typer.Argument(help="The message that was asked about.")],
) -> None:
    """The message will not be sent: its budget returns at once.

    Example: takt release ada autumn-sale:ada
    """
    with service() as client:
        _show_resolution(client.release(Message(customer, message_id)))


def _show(answer: Answer) -> None:
    asked = answer.ask
    print(wrapped(f"{answer.verdict}: {asked.channel} about {asked.topic} to {asked.customer_id}"))
    if answer.observed is not None and answer.observed != answer.verdict:
        print(wrapped(f"The policy only observes; enforced it would say {answer.observed}.", 2))
    for reason in answer.reasons:
        frees = f" (until {utc(reason.frees_at)})" if reason.frees_at else ""
        print(wrapped(f"{reason.rule}: {reason.text}{frees}", 2))
    if answer.retry_at is not None:
        sure = "" if answer.retry_certain else ", or earlier if a message on its way is given back"
        print(wrapped(f"The same ask would be allowed from {utc(answer.retry_at)}{sure}.", 2))
    if answer.replayed:
        print(wrapped(f"This message was answered before; it is {answer.state} now.", 2))
    if answer.state == "reserved" and answer.lease_expires_at is not None:
        print(wrapped(f"Message {asked.message_id} is reserved until {utc(answer.lease_expires_at)}.", 2))
        print(f"  Once it is sent: takt confirm {asked.customer_id} {asked.message_id}")
    if answer.budgets:
        print()
        rows = [(each.used, each.limit, each.left, _budget(each.budget, each.shadow)) for each in answer.budgets]
        table(("used", "limit", "left", "budget"), rows)


def _budget(name: str, shadow: bool) -> str:
    return f"{name} (shadow)" if shadow else name


def _show_resolution(resolution: Resolution) -> None:
    print(wrapped(f"Message {resolution.message_id} to {resolution.customer_id} is {resolution.state}."))
    if not resolution.applied:
        note("It was so already: this changed nothing.")
