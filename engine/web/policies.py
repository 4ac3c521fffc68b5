"""The policy's pages: what holds, in words; what held before; and an editor that checks before it changes anything.

What somebody puts in force here is what they saw checked, in place of the version that they saw it compared with: the
form bears Takt's own mark of both, and the activation itself refuses where another version is in force by then.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response

from engine.core.errors import Conflict, Invalid, InvalidPolicy, Problem, Superseded
from engine.core.policy import Policy
from engine.core.policy_reader import read_policy
from engine.core.tokens import Scope
from engine.operations import policies
from engine.operations.authenticate import allow
from engine.operations.policies import Activation
from engine.operations.sign_in import Session
from engine.render.policy import Compared, Draft, History, InForce, Kept, editor_page, policy_page, version_page
from engine.store.database import Database
from engine.store.policies_history import Activated
from engine.web.answers import PageRoute, of_html, see, sentence
from engine.web.asking import Who, database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader, Viewer, form

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Number = Annotated[int, Path(ge=1, lt=2**31)]
Before = Annotated[int | None, Query(ge=1, lt=2**31)]
_PLACE: Final = "/policy"
_SHOWN: Final = 50
_POLICY_MOST: Final = 262_144
_NOTE_MOST: Final = 2_000
_UNSEEN: Final = "Nothing was put in force: this is not what was checked. Below is what it would change."
_MOVED: Final = "Nothing was put in force: another version is by now. Below is what yours would change in that one."


@router.get(_PLACE)
async def show(request: Request, who: Reader, before: Before = None) -> Response:
    """`before` is of the link to what is older."""
    database = database_of(request)
    current = await policies.in_force(database)
    found = await policies.history(database, _SHOWN + 1, before=before)
    held = None if current is None else await _held(database, current, found)
    shown = found[:_SHOWN]
    history = History(shown, shown[-1].ruleset if len(found) > _SHOWN else None, is_newest=before is None)
    return of_html(policy_page(await framed(request, who, "Policy", _PLACE), held, history))


@router.get("/policy/edit")
async def edit(request: Request, who: Reader) -> Response:
    allow(who.key, Scope.MANAGE)
    database = database_of(request)
    current = await policies.in_force(database)
    source = "" if current is None else (await policies.version(database, current.policy_version)).source
    return await _editor(request, who, Draft(source, ""))


@router.post("/policy/edit")
async def change(request: Request, who: Who) -> Response:
    """Checks what was written; puts it in force only where the button for that was pressed under what it would change.
    What is wrong is told beside the text, which nobody has to type again."""
    fields = await form(request, who)
    database, note = database_of(request), fields.get("note", "").strip()
    source = fields.get("yaml", "").replace("\r\n", "\n").replace("\r", "\n")
    draft = await _draft(database, who.session, source, note)
    if not draft.is_good or fields.get("do") != "activate":
        return await _editor(request, who, draft, 200 if draft.is_good else 422)
    base = _checked(who.session, fields, source)
    if base is None:
        return await _editor(request, who, replace(draft, again=_UNSEEN), 409)
    try:
        done = await policies.activate(database, source, author=who.key.name, note=note, if_version=base)
    except Superseded as conflict:
        _count(request, conflict)
        moved = replace(await _draft(database, who.session, source, note), again=_MOVED)
        return await _editor(request, who, moved, 409)
    except Conflict as conflict:
        _count(request, conflict)
        return await _editor(request, who, Draft(source, note, refusal=sentence(conflict.message)), 422)
    return see(_PLACE, "activated/under" if done.warnings else "activated")


@router.get("/policy/{number}")
async def one(number: Number, request: Request, who: Reader) -> Response:
    return await _version(request, who, number)


@router.post("/policy/{number}/activate")
async def activate(number: Number, request: Request, who: Who) -> Response:
    """Puts a version back in force, in place of the one that it was compared with."""
    fields = await form(request, who)
    database = database_of(request)
    base = _checked(who.session, fields, (await policies.version(database, number)).source)
    if base is None:
        return await _version(request, who, number, _UNSEEN)
    try:
        done = await policies.activate_version(database, number, author=who.key.name, if_version=base)
    except Conflict as conflict:
        _count(request, conflict)
        why = _MOVED if isinstance(conflict, Superseded) else sentence(conflict.message)
        return await _version(request, who, number, why)
    return see(_PLACE, "activated/under" if done.warnings else "activated")


async def _draft(database: Database, session: Session, source: str, note: str) -> Draft:
    if len(source) > _POLICY_MOST or len(note) > _NOTE_MOST:
        expected = f"at most {_POLICY_MOST:,} characters of policy and {_NOTE_MOST:,} of note"
        raise Invalid([Problem("", "more", expected)])
    try:
        policy = await policies.read(source)
    except InvalidPolicy as invalid:
        return Draft(source, note, problems=invalid.problems)
    current = await policies.in_force(database)
    return Draft(source, note, compared=await _compared(database, session, current, source, policy))


async def _compared(
    database: Database, session: Session, current: Activation | None, source: str, policy: Policy
) -> Compared:
    """Marked with what was read here: whatever is put in force meanwhile, the activation finds that it was."""
    if current is None:
        return Compared(None, "", "0", session.mark(*_words("0", source)))
    base = str(current.policy_version)
    (against,) = await policies.history(database, 1, version=current.policy_version)
    diff = policies.diff(current.policy, policy, "in force", "yours")
    return Compared(against, diff, base, session.mark(*_words(base, source)))


def _checked(session: Session, fields: dict[str, str], source: str) -> int | None:
    """The version that this text was compared with in a page of this session; None where it was not."""
    base = fields.get("base", "")
    return int(base) if session.said(fields.get("checked", ""), *_words(base, source)) else None


def _words(base: str, source: str) -> tuple[str, ...]:
    return "policy", base, sha256(source.encode(errors="surrogatepass")).hexdigest()


def _count(request: Request, conflict: Conflict) -> None:
    request.app.state.metrics.errors.labels(conflict.code).inc()


async def _editor(request: Request, who: Viewer, draft: Draft, status: int = 200) -> Response:
    return of_html(editor_page(await framed(request, who, "Change the policy", _PLACE), draft), status)


async def _version(request: Request, who: Viewer, number: int, refusal: str | None = None) -> Response:
    database = database_of(request)
    kept = await policies.version(database, number)
    policy = read_policy(kept.data)
    times = await policies.history(database, _SHOWN, version=number)
    did, compared = None, None
    if times and times[0].replaced is not None:
        before = read_policy((await policies.version(database, times[0].replaced)).data)
        did = policies.diff(before, policy, "before", "then")
    current = await policies.in_force(database)
    if current is None or current.policy_version != number:
        compared = await _compared(database, who.session, current, kept.source, policy)
    frame = await framed(request, who, f"Version {number}", _PLACE)
    return of_html(version_page(frame, Kept(kept, times, did, compared), refusal), 200 if refusal is None else 409)


async def _held(database: Database, current: Activation, known: Sequence[Activated]) -> InForce:
    """`known`: what was read of the history, which mostly begins with it; each look reads all rulesets."""
    version = current.policy_version
    found = [each for each in known if each.version == version and each.until_us is None]
    found = found or await policies.history(database, 1, version=version)
    return InForce(await policies.version(database, version), current.policy, found[0])
