"""takt screen: an audience in, and out come those who may be sent to, those who may not, and why."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.cli.app import FAILED, app
from engine.cli.arguments import instant, seconds
from engine.cli.connect import database
from engine.cli.output import minute, note
from engine.core.policy import Channel, OnExpiry
from engine.operations import collector
from engine.operations.decider import Decider
from engine.settings import Settings
from engine.store.database import Database

if TYPE_CHECKING:  # what reads and writes the files loads pyarrow, which no other command needs
    from engine.operations.audience import Audience, BadRow
    from engine.operations.recheck import Recheck
    from engine.operations.screening import Screening, Tally

_REASONS_SHOWN: Final = 20
_SECOND_US: Final = 1_000_000

_Audience = Annotated[Path, typer.Argument(help="CSV or Parquet; with --recheck, a file that a screening wrote.")]
_Out = Annotated[
    Path | None, typer.Option(help="Where to write who may be sent to: .csv or .parquet.", metavar="ALLOWED")
]
_Refused = Annotated[Path | None, typer.Option(help="Where to write who may not, with the reasons.")]
_Column = Annotated[str, typer.Option(help="The column with the customers' ids.")]
_Channel = Annotated[Channel | None, typer.Option(help="The channel of the campaign.")]
_Topic = Annotated[str | None, typer.Option(help="Its topic.")]
_Campaign = Annotated[str | None, typer.Option(help="Its name.")]
_Run = Annotated[
    str | None, typer.Option(help="The name of this sending of it: message ids are campaign:run:customer.")
]
_Team = Annotated[str | None, typer.Option(help="The team that sends.")]
_Sender = Annotated[str | None, typer.Option(help="The system that sends.")]
_Priority = Annotated[
    int, typer.Option(min=0, max=100, help="From 0 to 100: what a budget holds back is for the high.")
]
_SendAt = Annotated[str | None, typer.Option(help="When it will be sent, as 2026-10-05T09:00:00+02:00; else now.")]
_Reserve = Annotated[bool, typer.Option("--reserve", help="Hold the budget of those allowed.")]
_Lease = Annotated[str, typer.Option(help="How long it is held, from the send on. The policy's max_lease bounds it.")]
_OnExpiry = Annotated[OnExpiry, typer.Option(help="What the end of the lease means where nobody confirmed.")]
_Processes = Annotated[
    int | None, typer.Option(min=1, max=16, help="Processes that ask; by default two for 100,000 customers and more.")
]
_Recheck = Annotated[bool, typer.Option("--recheck", help="Name who must not be sent any more, and change nothing.")]


@app.command(rich_help_panel="Campaigns")
def screen(
    audience: _Audience,
    channel: _Channel = None,
    topic: _Topic = None,
    campaign: _Campaign = None,
    run: _Run = None,
    out: _Out = None,
    refused: _Refused = None,
    column: _Column = "customer_id",
    team: _Team = None,
    sender: _Sender = None,
    priority: _Priority = 50,
    send_at: _SendAt = None,
    reserve: _Reserve = False,
    lease: _Lease = "24h",
    on_expiry: _OnExpiry = OnExpiry.PRESUME_SENT,
    processes: _Processes = None,
    recheck: _Recheck = False,
) -> None:
    """Ask for a whole audience who may be sent to.

    Killed in the middle, start the same command again: the same run charges nobody twice, and the files appear once
    they are whole. All columns are carried along. Rows that cannot be asked about are named, and harm no other.

    Exits with 0 if every row was answered, with 1 if some were not, or if nothing could be written; --recheck without
    --out also with 1 if somebody in the file must not be sent any more.

    Examples:

    takt screen audience.csv --channel email --topic promotions --campaign autumn --run 2026-10-05 --reserve --out
    allowed.csv --refused refused.csv

    takt screen allowed.csv --recheck --out still-allowed.csv --refused revoked.csv
    """
    from engine.operations.audience import open_audience
    from engine.operations.recheck import open_screened
    from engine.operations.screening import Screening

    if out is not None and refused is not None and out.absolute() == refused.absolute():
        raise typer.BadParameter("--out and --refused name the same file")
    if any(each is not None and each.absolute() == audience.absolute() for each in (out, refused)):
        raise typer.BadParameter("the audience would be overwritten: name another file")
    collector.ease()
    if recheck:
        _recheck(open_screened(audience, column), out, refused)
        return
    if channel is None or topic is None or campaign is None or run is None or out is None:
        raise typer.BadParameter("--channel, --topic, --campaign, --run and --out are needed")
    screening = Screening(
        channel.value,
        topic,
        campaign,
        run,
        team,
        sender,
        priority,
        None if send_at is None else round(instant(send_at).timestamp() * _SECOND_US),
        reserve,
        seconds(lease) * _SECOND_US,
        on_expiry,
    )
    _screen(open_audience(audience, column, screening.id_chars_max), screening, out, refused, processes)


def _screen(
    audience: "Audience", screening: "Screening", out: Path, refused: Path | None, processes: int | None
) -> None:
    from engine.operations.screen import IN_FLIGHT
    from engine.operations.screen import screen as screen_all
    from engine.operations.screen_processes import processes_for, workers

    count = processes or processes_for(audience.rows)
    settings = Settings()

    async def work(opened: Database) -> "Tally":
        decider = Decider(opened.url, settings)
        await decider.open()
        try:
            with _bar("screened", audience.rows) as tell:
                if count == 1:
                    return await screen_all(decider, audience, screening, out, refused, tell)
                with workers(count, opened.url, settings, screening) as asker:
                    ahead = count + IN_FLIGHT
                    return await screen_all(decider, audience, screening, out, refused, tell, asker, ahead)
        finally:
            await decider.close()

    tally = database(work)
    _tell_tally(tally, screening, out, refused)
    _tell_bad_rows(audience, tally.bad, tally.bad_rows)


def _recheck(screened: "Audience", out: Path | None, refused: Path | None) -> None:
    from engine.operations.recheck import recheck as recheck_all

    async def work(opened: Database) -> "Recheck":
        with _bar("rechecked", screened.rows) as tell:
            return await recheck_all(opened, screened, out, refused, tell)

    found = database(work)
    _tell_recheck(found, out, refused)
    _tell_bad_rows(screened, found.bad, found.bad_rows)
    if found.lost and out is None:
        raise typer.Exit(FAILED)


def _tell_tally(tally: "Tally", screening: "Screening", out: Path, refused: Path | None) -> None:
    from engine.operations.screening import Outcome

    print(f"{tally.rows:,} rows for {screening.channel}/{screening.topic}, {screening.campaign}:{screening.run}")
    outcomes = tally.outcomes
    held = "" if tally.held_until_us is None else f"reserved until {minute(tally.held_until_us)} at the latest"
    _line(outcomes[Outcome.ALLOWED], "allowed", held, f"-> {out}")
    half, most = tally.freed_by_us(0.5), tally.freed_by_us(0.9)
    frees = (
        "" if half is None or most is None else f"half of them free by {minute(half)}, nine in ten by {minute(most)}"
    )
    where = "" if refused is None else f"-> {refused}"
    _line(outcomes[Outcome.DEFERRED], "deferred", frees, where)
    _line(outcomes[Outcome.DENIED], "denied", "", where)
    if outcomes[Outcome.SENT]:
        _line(outcomes[Outcome.SENT], "sent already", "by an earlier start of this run", where)
    if tally.duplicates:
        _line(tally.duplicates, "duplicates", "each customer counts once, the first row stands")
    if tally.bad:
        _line(tally.bad, "bad rows", "named below")
    if tally.resumed:
        print(f"Of these {tally.resumed:,} were answered by an earlier start of this run, and charged then.")
    if tally.observed:
        would = ", ".join(f"{count:,} {verdict.value}" for verdict, count in tally.observed.most_common())
        print(f"The policy only observes. Enforced, it would have said: {would}. The reasons are those.")
    if tally.reasons:
        print("\nRefused by (a customer may be by several)")
        for (code, rule), count in tally.reasons.most_common(_REASONS_SHOWN):
            _line(count, f"{code} {rule}")


def _tell_recheck(found: "Recheck", out: Path | None, refused: Path | None) -> None:
    print(f"{found.states.total():,} messages looked up")
    _line(found.sendable, "reserved", "may be sent", "" if out is None else f"-> {out}")
    for state, count in found.states.most_common():
        if state != "reserved":
            _line(count, state.replace("_", " "), "must not be sent", "" if refused is None else f"-> {refused}")
    if found.named:
        print("\nMust not be sent any more")
        for customer_id, state in found.named:
            print(f"  {customer_id}  {state}")
        if found.lost > len(found.named):
            print(f"  and {found.lost - len(found.named):,} more" + ("" if refused else ": --refused FILE names all"))


def _tell_bad_rows(audience: "Audience", bad: int, rows: "Sequence[BadRow]") -> None:
    """Name the rows that were not answered, and fail."""
    if not bad:
        return
    for row in rows:
        note(f"{audience.path}, {audience.unit} {row.place}: {row.why}")
    more = f", the first {len(rows)} of them named above" if bad > len(rows) else ""
    note(f"takt: {bad:,} rows were not answered{more}; the others were")
    raise typer.Exit(FAILED)


def _line(count: int, what: str, *more: str) -> None:
    print(f"{count:>12,}  {what:<14}" + "".join(f"  {each}" for each in more if each))


@contextmanager
def _bar(what: str, total: int) -> Generator[Callable[[int], None]]:
    """A progress bar where somebody watches."""
    console = Console(stderr=True)
    parts = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*parts, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda rows: progress.update(task, completed=rows)
