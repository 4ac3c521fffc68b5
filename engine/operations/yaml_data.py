"""YAML as JSON-like data with the line of every entry, and back to text.

YAML 1.2 with its core schema: `NO` and `22:00` are texts, only true and false are flags. Built from the parser's events
and not by a constructor, so that no tag makes an object, an alias is one shared value however often it is used (no
bomb), and what is wrong is a problem with a line. Only what JSON can say is accepted.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from engine.core.errors import Problem
from engine.core.reading import PROBLEMS_MAX, described, join

BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, on which line each path stands, and what is wrong with it as YAML."""

    data: object
    lines: Mapping[str, int]
    problems: tuple[Problem, ...]
    readable: bool  # False: the text could not be parsed to its end, `data` is None

    def line(self, path: str) -> int:
        """The line of the entry at the path, or of what it lies in."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


def read_document(text: str | bytes) -> Document:
    """The one document in the text. Never raises for what the text holds."""
    if len(text) > BYTES_MAX or (isinstance(text, str) and len(text.encode(errors="replace")) > BYTES_MAX):
        return _unreadable("a text that is longer", f"at most {BYTES_MAX // 1024} KiB", 1)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = text[: error.start].count(b"\n") + 1
            return _unreadable(f"the byte 0x{text[error.start]:02x}", "text in UTF-8", line)
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        line = text[: unprintable.start()].count("\n") + 1
        return _unreadable(f"the character U+{ord(unprintable[0]):04X}", "printable text", line)
    builder = _Builder(_events(text))
    try:
        data = builder.document()
    except _Stop as stop:
        return Document(None, {}, (*builder.problems, stop.problem), readable=False)
    except MarkedYAMLError as error:
        return _unreadable(*_complaint(error))
    except (YAMLError, ValueError, OverflowError) as error:
        return _unreadable(" ".join(str(error).split())[:100], "YAML", builder.line)
    return Document(data, builder.lines, tuple(builder.problems), readable=True)


def written(data: object) -> str:
    """The JSON-like value on one line, as YAML that any parser, also of YAML 1.1, reads as the same value."""
    match data:
        case dict():
            pairs = cast("dict[str, object]", data).items()
            return "{" + ", ".join(f"{written(key)}: {written(value)}" for key, value in pairs) + "}"
        case list():
            return "[" + ", ".join(written(value) for value in cast("list[object]", data)) + "]"
        case str() if _PLAIN.fullmatch(data) and data.lower() not in _NOT_TEXT:
            return data
        case float():
            text = json.dumps(data, allow_nan=False)
            return text if "." in text else text.replace("e", ".0e")  # YAML 1.1 wants the point
        case _:
            return json.dumps(data, ensure_ascii=False, allow_nan=False)


class _Stop(Exception):
    """Nothing after this problem can be made sense of."""

    def __init__(self, found: str, expected: str, line: int) -> None:
        super().__init__(found)
        self.problem = Problem("", found, expected, line)


@dataclass(slots=True)
class _Builder:
    """Turns events into data: one method a kind of node, each beginning with its first event already taken."""

    events: Iterator[Event]
    lines: dict[str, int] = field(default_factory=lambda: {"": 1})
    problems: list[Problem] = field(default_factory=list[Problem])
    anchors: dict[str, object] = field(default_factory=dict[str, object])
    line: int = 1

    def document(self) -> object:
        data: object = None
        documents = 0
        for event in self._each():
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Stop("a second document", "one document", self.line)
                data = self._node(self._next(), "", 0)
        return data

    def _each(self) -> Iterator[Event]:
        for event in self.events:
            self.line = cast("int", cast("Any", event).start_mark.line) + 1
            yield event

    def _next(self) -> Event:
        return next(self._each())

    def _problem(self, path: str, found: str, expected: str, line: int) -> None:
        if len(self.problems) >= PROBLEMS_MAX:
            raise _Stop("more problems", "the ones before to be mended first", line)
        self.problems.append(Problem(path, found, expected, line))

    def _node(self, event: Event, path: str, depth: int) -> object:
        node = cast("Any", event)  # ruamel's events declare no types
        self.lines.setdefault(path, self.line)
        if depth > DEPTH_MAX:
            raise _Stop("more levels", f"at most {DEPTH_MAX} levels", self.line)
        if isinstance(event, AliasEvent):
            if node.anchor not in self.anchors:
                self._problem(path, f"the alias *{node.anchor}", "the name of an anchor above", self.line)
            return self.anchors.get(node.anchor)
        if node.tag is not None:
            self._problem(path, f"the tag {described(str(node.tag))}", "a value without a tag", self.line)
        value: object
        if isinstance(event, ScalarEvent):
            value = _plain(str(node.value)) if node.implicit[0] else str(node.value)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if node.anchor:
            self.anchors[node.anchor] = value  # known only once it is complete: nothing contains itself
        return value

    def _sequence(self, path: str, depth: int) -> list[object]:
        values: list[object] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            values.append(self._node(event, join(path, len(values)), depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            line = self.line
            key = self._key(event, path, depth)
            entry = path if key is None else join(path, key)
            known = key in mapping
            if known:
                self._problem(entry, f"the key {described(key)} again", f"it once (line {self.lines[entry]})", line)
            self.lines.setdefault(entry, line)
            value = self._node(self._next(), entry, depth + 1)
            if key is not None and not known:
                mapping[key] = value
        return mapping

    def _key(self, event: Event, path: str, depth: int) -> str | None:
        line = self.line
        value = self._node(event, path, depth + 1)
        if isinstance(value, str):
            return value
        self._problem(path, f"the key {described(value)}", "a text as key (in quotes where it looks like none)", line)
        return None


def _events(text: str) -> Iterator[Event]:
    return cast("Iterator[Event]", cast("Any", YAML(typ="safe", pure=True)).parse(text))


def _unreadable(found: str, expected: str, line: int) -> Document:
    return Document(None, {}, (Problem("", found, expected, line),), readable=False)


def _complaint(error: MarkedYAMLError) -> tuple[str, str, int]:
    """What the parser found, what it expected as far as it says so, and where."""
    parser = cast("Any", error)
    mark = parser.problem_mark or parser.context_mark
    said = " ".join(str(parser.problem or parser.context).replace("character '\\t'", "a tab").split())
    expected, _, found = said.removeprefix("expected ").partition(", but found ")
    if not found:
        expected, found = "YAML", said.removeprefix("found ")
    return found, expected, mark.line + 1 if mark else 1


def _plain(text: str) -> object:
    """A scalar without quotes by the core schema of YAML 1.2; numbers too large or not finite stay what they are."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _FLOAT_WORD.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text


_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,30}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FLOAT_WORD: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*|([0-9]+[wdhms])+")  # words, names and durations
_NOT_TEXT: Final = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
