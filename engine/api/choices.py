"""/u/{token}: where a customer unsubscribes by one click of a mail program (RFC 8058), or chooses on a page.

No key is asked for, and no cookie set: the token in the path is what permits, so that a form on anybody else's page can
do no more than the person who has the link. GET shows and changes nothing, whoever follows it.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from engine.api.forms import form_of
from engine.api.problems import BodyTooLarge, UnsupportedMediaType
from engine.core.choices import Choice, Choices
from engine.core.errors import Unavailable
from engine.core.origins import Origin
from engine.core.suppression import Scope
from engine.operations.choices import Choose, Heard, Leave, LookAtChoices
from engine.operations.links import Links, event_id_of
from engine.render.choices import POLICY, choices_page, notice_page, scope_of
from engine.render.words import Words, words_for

router = APIRouter(tags=["unsubscribe"])
_ONE_CLICK: Final = ("list-unsubscribe", "one-click")
_HEADERS: Final = {"Content-Security-Policy": POLICY, "X-Robots-Tag": "noindex, nofollow", "Vary": "Accept-Language"}
_FORM_CONTENT: Final = {"schema": {"type": "object", "properties": {"List-Unsubscribe": {"const": "One-Click"}}}}
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The page, as it stands now.", "content": {"text/html": {}}},
    404: {"description": "No token that Takt made.", "content": {"text/html": {}}},
    410: {"description": "A token that is over.", "content": {"text/html": {}}},
    503: {"description": "Not now; come again.", "content": {"text/html": {}}},
}


@router.get("/u/{token}", summary="The page on which a customer chooses", response_class=Response, responses=_PAGE)
async def show_choices(token: str, request: Request) -> Response:
    """How often, in which channel and about what a customer wants messages, in English or German. Changes nothing."""

    async def show(links: Links, origin: Origin, words: Words) -> Response:
        found = await request.app.state.decider.peek(LookAtChoices(origin, links.days))
        return _choices(found, words)

    return await _with_origin(token, request, show)


@router.post(
    "/u/{token}",
    summary="Unsubscribe by one click, or choose",
    response_class=Response,
    responses={
        **_PAGE,
        415: {"description": "No form.", "content": {"text/html": {}}},
        429: {"description": "Changed too often today. To leave is never refused.", "content": {"text/html": {}}},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": dict.fromkeys(("application/x-www-form-urlencoded", "multipart/form-data"), _FORM_CONTENT),
        }
    },
)
async def choose(token: str, request: Request) -> Response:
    """RFC 8058: `List-Unsubscribe=One-Click` ends the message's topic in its channel. Once this has answered nothing is
    allowed there, and open leases in it are revoked. The page's own form sends the choices that were changed."""

    async def act(links: Links, origin: Origin, words: Words) -> Response:
        try:
            fields = await form_of(request)
        except (BodyTooLarge, UnsupportedMediaType) as error:
            status = 413 if isinstance(error, BodyTooLarge) else 415
            return _page(notice_page("unread", words), status)
        settle = request.app.state.decider.settle
        if any((name.lower(), value.strip().lower()) == _ONE_CLICK for name, value in fields):
            left = await settle(Leave(origin, links.days, event_id_of(token)))
            return _choices(left, words, "unsubscribed_now")
        wanted = tuple(_wanted(fields))
        if not wanted:
            found = await request.app.state.decider.peek(LookAtChoices(origin, links.days))
            return _choices(found, words, "unchanged")
        chosen = await settle(Choose(origin, links.days, wanted))
        if chosen is None:
            return _choices(None, words)
        is_refused = chosen.heard is Heard.TOO_OFTEN and not chosen.changed
        return _choices(chosen.choices, words, chosen.heard.value, 429 if is_refused else 200)

    return await _with_origin(token, request, act)


async def _with_origin(
    token: str, request: Request, act: Callable[[Links, Origin, Words], Awaitable[Response]]
) -> Response:
    """What `act` answers for a good token. A page that says why, in place of an error: people read it."""
    links: Links = request.app.state.links
    words = words_for(request.headers.get("accept-language", ""))
    origin = links.tokens.open(token)
    if origin is None:
        return _page(notice_page("unknown", words), 404)
    try:
        return await act(links, origin, words)
    except Unavailable as error:
        request.app.state.metrics.errors.labels(error.code).inc()
        response = _page(notice_page("later", words), 503)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response


def _wanted(fields: Iterable[tuple[str, str]]) -> Iterable[tuple[Scope, Choice]]:
    """The choices that differ from what the page showed: one that stands elsewhere by now is not put back."""
    given = dict(fields)
    for name, value in given.items():
        if not name.startswith("to:") or given.get("was:" + name[3:]) == value:
            continue
        scope, choice = scope_of(name[3:]), Choice.read(value)
        if scope is not None and choice is not None:
            yield scope, choice


def _choices(found: Choices | None, words: Words, notice: str | None = None, status: int = 200) -> Response:
    if found is None:
        return _page(notice_page("gone", words), 410)
    return _page(choices_page(found, words, notice), status)


def _page(html: str, status: int = 200) -> Response:
    return Response(html, status, _HEADERS, "text/html")
