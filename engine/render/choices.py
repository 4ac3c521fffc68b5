"""The page on which a customer chooses, and what it says where there is nothing to choose.

It works without scripts, pictures, cookies and fonts of its own, and asks no other host for anything: who looks at it
is not watched. Names of topics are whatever somebody once called them: escaped, kept apart from the text around them,
and without what nobody can see.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape

from engine.core.choices import ALL, NONE, USUAL, Choice, Choices, Line, Sort
from engine.core.suppression import Scope
from engine.render.environment import FOLDER, templates
from engine.render.style import visible
from engine.render.words import Words, per

_STYLE: Final = (FOLDER / "choices.css").read_text()
_HASH: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_OFFERED: Final = (1, 2, 3, 5, 10)


class Option(NamedTuple):
    value: str
    text: str
    is_chosen: bool


class Row(NamedTuple):
    """A line as the page shows it: `key` names it in the form, `options` is empty for one that is `stopped`, which says
    why. `hint` says what is usual, where there is a limit.
    """

    key: str
    label: Markup
    hint: str | None
    value: str
    options: tuple[Option, ...]
    stopped: str | None


def key_of(scope: Scope) -> str:
    """A scope's name in the form. A channel's name has no slash in it."""
    return f"{scope.channel or ''}/{scope.topic or ''}"


def scope_of(key: str) -> Scope | None:
    """The scope that a name in the form means."""
    channel, slash, topic = key.partition("/")
    return Scope(channel or None, topic or None) if slash else None


def choices_page(choices: Choices, words: Words, notice: str | None = None) -> str:
    """The page with everything that may be chosen. `notice`: by which word to say what has just been done."""
    groups = [
        ("own", [_row(choices.own, words)]),
        ("unsubscribed", [_row(each, words) for each in choices.unsubscribed]),
        ("topics", [_row(each, words) for each in choices.topics]),
        ("channels", [_row(each, words) for each in choices.channels]),
    ]
    everything = choices.everything
    return _render(
        "choices.html",
        words,
        groups=[(words[name], rows) for name, rows in groups if rows],
        everything=key_of(everything.scope),
        is_left=everything.choice == NONE,
        is_stopped=everything.is_stopped and not everything.needs_consent,
        needs_consent=everything.needs_consent,
        may_choose=any(row.options for _, rows in groups for row in rows),
        always=[_named(each) for each in choices.always],
        notice=notice and words[notice],
    )


def notice_page(name: str, words: Words) -> str:
    """A page that only says something: `gone`, `unknown`, `later`, `unread`."""
    return _render("notice.html", words, heading=words[name], text=words[f"{name}_what"])


def _row(line: Line, words: Words) -> Row:
    options = () if line.is_stopped else tuple(_options(line, words))
    hint = None
    if options and line.window is not None and line.usual is not None:
        hint = words["usual_at_most"].format(count=line.usual, per=per(words, line.window))
    return Row(key_of(line.scope), _label(line.scope, words), hint, str(line.choice), options, _stopped(line, words))


def _stopped(line: Line, words: Words) -> str | None:
    return words["no_consent" if line.needs_consent else "stopped"] if line.is_stopped else None


def _options(line: Line, words: Words) -> list[Option]:
    found = [USUAL, NONE]
    if line.window is not None:
        own = {line.choice.limit} if line.choice.limit is not None else set[int]()
        found[1:1] = [Choice(Sort.LIMIT, count) for count in sorted({*_OFFERED, *own})]
        found[1:1] = [ALL] if line.choice == ALL else []
    return [Option(str(each), _text(each, line, words), each == line.choice) for each in found]


def _text(choice: Choice, line: Line, words: Words) -> str:
    if choice.sort is Sort.LIMIT and line.window is not None:
        return words["at_most"].format(count=choice.limit, per=per(words, line.window))
    return words[choice.sort.value]


def _label(scope: Scope, words: Words) -> Markup:
    channel = words.get(scope.channel or "", scope.channel or "")
    if scope.topic is None:
        return escape(channel[:1].upper() + channel[1:])
    if scope.channel is None:
        return _named(scope.topic)
    return Markup(escape(words["by"]).format(topic=_named(scope.topic), channel=channel))  # noqa: S704 (all escaped)


def _named(topic: str) -> Markup:
    """A topic's name as people write: `order-updates` is "Order updates". Its own direction ends with it."""
    name = " ".join(visible(topic).replace("-", " ").replace("_", " ").split()) or "?"
    return Markup("<bdi>{}</bdi>").format(name[:1].upper() + name[1:])


def _render(template: str, words: Words, **values: Any) -> str:
    known: Mapping[str, Any] = {"words": words, "style": Markup(_STYLE), **values}  # noqa: S704 (a file of ours)
    return templates().get_template(template).render(known)
