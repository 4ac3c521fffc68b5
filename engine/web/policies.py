"""The policy's pages: what holds, in words; what held before; and an editor that checks before it changes anything."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from engine.core.errors import Conflict, Invalid, InvalidPolicy, Problem
from engine.core.policy_reader import read_policy
from engine.core.tokens import Scope
from engine.operations import policies
from engine.operations.authenticate import allow
from engine.operations.policies import Activation
from engine.render.policy import Draft, InForce, editor_page, policy_page, version_page
from engine.store.database import Database
from engine.web.answers import PageRoute, of_html, see
from engine.web.asking import Who, database_of
from engine.web.framing import framed
from engine.web.signing_in import Reader, form

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Number = Annotated[int, Path(ge=1, lt=2**31)]
_PLACE: Final = "/policy"
_SHOWN: Final = 100
_POLICY_MOST: Final = 262_144
_NOTE_MOST: Final = 2_000


@router.get(_PLACE)
async def show(request: Request, who: Reader) -> Response:
    database = database_of(request)
    current = await policies.in_force(database)
    kept = await policies.versions(database, _SHOWN)
    held = None if current is None else await _held(database, current)
    return of_html(policy_page(await framed(request, who, "Policy", _PLACE), held, kept))


@router.get("/policy/edit")
async def edit(request: Request, who: Reader) -> Response:
    allow(who.key, Scope.MANAGE)
    database = database_of(request)
    current = await policies.in_force(database)
    source = "" if current is None else (await policies.version(database, current.policy_version)).source
    return of_html(editor_page(await framed(request, who, "Change the policy", _PLACE), Draft(source, "")))


@router.post("/policy/edit")
async def change(request: Request, who: Who) -> Response:
    """Checks what was written; puts it in force only where it was checked before, and the button for that was pressed.
    What is wrong is told beside the text, which nobody has to type again."""
    fields = await form(request, who)
    source, note = fields.get("yaml", "").replace("\r\n", "\n"), fields.get("note", "").strip()
    draft = await _draft(database_of(request), source, note)
    if draft.is_good and fields.get("do") == "activate":
        try:
            await policies.activate(database_of(request), source, author=who.key.name, note=note)
            return see(_PLACE, "activated")
        except Conflict as conflict:
            draft = Draft(source, note, refusal=conflict.message)
    status = 200 if draft.is_good else 422
    return of_html(editor_page(await framed(request, who, "Change the policy", _PLACE), draft), status)


@router.get("/policy/{number}")
async def one(number: Number, request: Request, who: Reader) -> Response:
    database = database_of(request)
    kept = await policies.version(database, number)
    current = await policies.in_force(database)
    is_in_force = current is not None and current.policy_version == number
    diff = None
    if current is not None and not is_in_force:
        names = f"version {current.policy_version}", f"version {number}"
        diff = policies.diff(current.policy, read_policy(kept.data), *names)
    return of_html(version_page(await framed(request, who, f"Version {number}", _PLACE), kept, is_in_force, diff))


@router.post("/policy/{number}/activate")
async def activate(number: Number, request: Request, who: Who) -> Response:
    await form(request, who)
    await policies.activate_version(database_of(request), number, author=who.key.name)
    return see(_PLACE, "activated")


async def _draft(database: Database, source: str, note: str) -> Draft:
    if len(source) > _POLICY_MOST or len(note) > _NOTE_MOST:
        expected = f"at most {_POLICY_MOST:,} characters of policy and {_NOTE_MOST:,} of note"
        raise Invalid([Problem("", "more", expected)])
    try:
        policy = await policies.read(source)
    except InvalidPolicy as invalid:
        return Draft(source, note, problems=invalid.problems)
    current = await policies.in_force(database)
    if current is None:
        return Draft(source, note, diff="")
    return Draft(source, note, diff=policies.diff(current.policy, policy, "in force", "yours"))


async def _held(database: Database, current: Activation) -> InForce:
    kept = await policies.version(database, current.policy_version)
    return InForce(kept, current.policy, current.activated_us)
