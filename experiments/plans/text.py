"""The text of a plan as JSON-like data, with the line of every entry.

YAML 1.2 by its core schema, of which JSON is a part: `no` and `2026-10-05` are texts, only true and false are flags,
and keys are texts as they are written. No tag makes an object, and aliases cost what they expand to, which is bounded.
What cannot be read is a `PlanError` with its line, whatever the text holds.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from experiments.errors import PlanError, Problem
from experiments.plans.checking import As, described, entry

BYTES_MAX: Final = 256 * 1024
ENTRIES_MAX: Final = 20_000
DEPTH_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, on which line each path stands, and what is wrong with it although it can be read."""

    data: object
    lines: Mapping[str, int]
    problems: tuple[Problem, ...]

    def line(self, path: str) -> int:
        """The line of the entry at the path; where there is none, of the innermost entry that it would lie in."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


def parse(text: str | bytes) -> Document:
    """The one document of the text; raises `PlanError` where there is none."""
    if isinstance(text, bytes):
        text = _decoded(text)
    if len(text) > BYTES_MAX:
        raise _error("a text that is longer", f"at most {BYTES_MAX // 1024} KiB", None)
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        raise _error(f"the character U+{ord(unprintable[0]):04X}", "printable text", line)
    builder = _Builder()
    node = _composed(text.removeprefix("\ufeff"))
    data = builder.value(node, "", 0) if node else None
    return Document(data, builder.lines, tuple(builder.problems))


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _error(f"the byte 0x{text[error.start]:02x}", "text in UTF-8", line) from None


def _composed(text: str) -> Node | None:
    """The text as nodes: what a parser knows before it makes values."""
    parser = cast("Any", YAML(typ="safe", pure=True))  # ruamel declares types for little of what it returns
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented by tabs, YAML not; neither has them raw within its texts
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # the last one before an alias is meant
            return parser.compose(text)
    except MarkedYAMLError as error:
        raise _error(*_complaint(cast("Any", error))) from None
    except RecursionError:
        raise _error("too many levels", f"at most {DEPTH_MAX}", None) from None
    except (YAMLError, ValueError, OverflowError, LookupError) as error:
        raise _error(" ".join(str(error).split())[:100] or "no YAML", "YAML or JSON", None) from None


def _complaint(error: Any) -> tuple[str, str, int | None]:
    """What the parser found, what it expected as far as it says so, and the line."""
    said = " ".join(str(error.problem or error.context).split())
    expected, _, found = said.removeprefix("expected ").partition(", but found ")
    mark = error.problem_mark or error.context_mark
    return found or said.removeprefix("found "), expected if found else "YAML or JSON", mark.line + 1 if mark else None


@dataclass(slots=True)
class _Builder:
    """Turns nodes into data, and notes lines and problems on the way."""

    lines: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[Problem] = field(default_factory=list[Problem])
    entries: int = 0

    def value(self, node: Node, path: str, depth: int) -> object:
        given = cast("Any", node)
        line = cast("int", given.start_mark.line) + 1
        self.lines.setdefault(path, line)
        self.entries += 1
        if depth > DEPTH_MAX:
            raise _error("too many levels", f"at most {DEPTH_MAX}", line)
        if self.entries > ENTRIES_MAX:
            raise _error("a longer plan", f"at most {ENTRIES_MAX:,} entries, aliases expanded", line)
        if str(given.tag) not in _TAGS:
            self.problem(path, As(f"the tag {described(str(given.tag))}"), "a value without a tag", line)
        if isinstance(node, MappingNode):
            return self.mapping(given.value, path, depth)
        if isinstance(node, SequenceNode):
            return [self.value(each, f"{path}[{i}]", depth + 1) for i, each in enumerate(given.value)]
        text = _whole_characters(given.value)
        return text if given.style in ("'", '"', "|", ">") else _plain(text)

    def mapping(self, pairs: list[tuple[Node, Node]], path: str, depth: int) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key, value in pairs:
            line = cast("int", cast("Any", key).start_mark.line) + 1
            if not isinstance(key, ScalarNode):
                self.problem(path, As("a key of several values"), "a key of text", line)
                continue
            name = _whole_characters(cast("Any", key).value)
            place = entry(path, name)
            if name in mapping:
                self.problem(place, As("the key again"), f"it once (line {self.lines[place]} has it)", line)
                continue
            self.lines[place] = line
            mapping[name] = self.value(value, place, depth + 1)
        return mapping

    def problem(self, path: str, found: str, expected: str, line: int) -> None:
        self.problems.append(Problem(path, found, expected, line))


def _error(found: str, expected: str, line: int | None) -> PlanError:
    return PlanError([Problem("", found, expected, line)])


def _whole_characters(text: str) -> str:
    """JSON writes characters beyond U+FFFF as two escapes: join them. One that is alone stays, and is refused later."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _plain(text: str) -> object:
    """A scalar without quotes, by the core schema; other notations of numbers stay texts."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


_TAGS: Final = frozenset(  # what a parser makes of values without a tag
    f"tag:yaml.org,2002:{kind}"
    for kind in ("null", "bool", "int", "float", "str", "map", "seq", "timestamp", "merge", "value")
)
_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    "-.inf": float("-inf"),
}
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,40}")
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,5})?")
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff\ud800-\udfff]")
