"""Signing in and out: a key, or a link that is good once, becomes a cookie that no script can read."""

from typing import Annotated, Final, NamedTuple
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response

from engine.core.errors import Forbidden, Invalid, Problem, Unauthenticated
from engine.core.tokens import Scope, digest
from engine.operations.authenticate import allow
from engine.operations.sign_in import SESSION_S, Session, Sessions, follow_link, open_sessions
from engine.store.keys import Key
from engine.web.answers import PageRoute, bare, html, local, see
from engine.web.sites import is_by_https, is_from_here

router = APIRouter(include_in_schema=False, route_class=PageRoute)
COOKIE: Final = "takt_session"
_FIELDS_MAX: Final = 2_000
_KEY_MOST: Final = 1_000
_UNKNOWN: Final = "This key is unknown, expired or revoked."
_USED: Final = "This link was used before, or is older than ten minutes. Make another: takt sign-in"
_ELSEWHERE: Final = (
    "This form did not come from a page of this site. If it did, a proxy hides the address that your browser shows:"
    " whoever runs this Takt lets it pass the Host on, or sets TAKT_PUBLIC_URL."
)
_SILENT: Final = (
    "Your browser keeps to itself which page this form came from (Origin), and another site's could sign you in as"
    " somebody else. Let it say so, or come by https."
)


class Viewer(NamedTuple):
    """Who looks: their key, and the session that it opened."""

    key: Key
    session: Session


async def viewer(request: Request) -> Viewer:
    """Who is signed in; raises `Unauthenticated`, also once their key was revoked."""
    session = (await _sessions(request)).open(request.cookies.get(COOKIE, ""))
    if session is None or session.has_expired(await _now_s(request)):
        raise Unauthenticated("Sign in first.")
    found = Viewer(await request.app.state.authenticator.key(session.key_digest), session)
    request.state.session = session
    return found


async def reader(request: Request) -> Viewer:
    """Who is signed in and may read."""
    found = await viewer(request)
    allow(found.key, Scope.READ)
    return found


Reader = Annotated[Viewer, Depends(reader)]


async def form(request: Request, who: Viewer, scope: Scope | None = Scope.MANAGE) -> dict[str, str]:
    """The fields of a form that a page of this session sent, by somebody who may do what it does.

    Raises `Forbidden` for a form of another page, and for a key without the scope. Of a browser that does not say where
    a form came from the token is enough: no other site can know it.
    """
    fields = await fields_of(request)
    if is_from_here(request) is False or not who.session.wrote(fields.get("csrf", "")):
        raise Forbidden("This form did not come from a page of yours, or is from before you signed in: load it anew.")
    if scope is not None:
        allow(who.key, scope)
    return fields


async def fields_of(request: Request) -> dict[str, str]:
    """A form as browsers send it; of a field that comes twice the last. Text is what a database can hold."""
    try:
        body = (await request.body()).decode()
        fields = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"))
        if any("\0" in each for each in fields.values()):
            raise ValueError("a text with a NUL")
        return fields
    except ValueError as error:
        raise Invalid([Problem("", "a form that cannot be read", "one as a browser sends it")]) from error


@router.get("/sign-in")
async def ask(code: str | None = None, next: str = "/") -> Response:
    """The page that asks for a key, or, where a link led here, for a click: machines follow links too, and another site
    could lead somebody to one of its own."""
    return _page(next, code=code)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """By a key or by a link's code. Another site's form could sign somebody in as another: only this one's may, as
    far as the browser tells them apart."""
    fields = await fields_of(request)
    wanted, secret, code = local(fields.get("next", "/")), fields.get("key", "").strip(), fields.get("code")
    is_ours = is_from_here(request)
    if not is_ours:
        return _page(wanted, _SILENT if is_ours is None else _ELSEWHERE, 403)
    if code is not None:
        key_digest = await follow_link(request.app.state.decider.database, code)
        return _page(wanted, _USED, 410) if key_digest is None else await _begin(request, key_digest, wanted)
    try:
        if not 0 < len(secret) <= _KEY_MOST:
            raise Unauthenticated(_UNKNOWN)
        return await _begin(request, digest(secret), wanted)
    except Unauthenticated:
        return _page(wanted, _UNKNOWN, 401)


@router.post("/sign-out")
async def sign_out(request: Request, who: Annotated[Viewer, Depends(viewer)]) -> Response:
    """Forgets the session in this browser. One that somebody stole is good until it is over, or its key is revoked."""
    await form(request, who, None)
    response = see("/sign-in")
    response.delete_cookie(COOKIE)
    return response


def _page(next: str, problem: str | None = None, status: int = 200, code: str | None = None) -> Response:
    return html("sign_in.html", bare("Sign in"), status, next=local(next), problem=problem, code=code)


async def _begin(request: Request, key_digest: bytes, wanted: str) -> Response:
    state = request.app.state
    await state.authenticator.key(key_digest)
    response = see(wanted)
    response.set_cookie(
        COOKIE,
        (await _sessions(request)).begin(key_digest, await _now_s(request)),
        max_age=SESSION_S,
        httponly=True,
        samesite="lax",  # a link in a message leads to the readout, not to this page
        secure=is_by_https(request),
    )
    return response


async def _now_s(request: Request) -> int:
    """By the database's clock, which all hosts share."""
    return await request.app.state.decider.database.clock_us() // 1_000_000


async def _sessions(request: Request) -> Sessions:
    found: Sessions | None = getattr(request.app.state, "sessions", None)
    if found is None:
        found = request.app.state.sessions = await open_sessions(request.app.state.decider)
    return found
