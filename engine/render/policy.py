"""The policy's pages: in words, as it is written, how it changed, and where it is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.core.errors import Problem
from engine.core.policy import Policy
from engine.render import policy_words
from engine.render.frame import Frame, page
from engine.store.policies import PolicyVersion
from engine.store.policies_history import Activated


class InForce(NamedTuple):
    """What holds, and who put it in force when."""

    version: PolicyVersion
    policy: Policy
    activated: Activated


class History(NamedTuple):
    """Some of what was ever in force, the newest first. `older`: the ruleset before which there is more."""

    activations: Sequence[Activated]
    older: int | None
    is_newest: bool


class Compared(NamedTuple):
    """A policy against the version in force, None where none is: `diff` is empty where they say the same. `checked` is
    what the form that puts it in force bears, so that it is this text, in place of that version, or none."""

    against: Activated | None
    diff: str
    base: str
    checked: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wrote and has not put in force: its problems, or what it would change. `refusal`: why it cannot be
    put in force as it is. `again`: why it was not, and can be now that one sees what it would change."""

    source: str
    note: str
    problems: Sequence[Problem] = ()
    refusal: str | None = None
    again: str | None = None
    compared: Compared | None = None

    @property
    def is_good(self) -> bool:
        return not self.problems and self.refusal is None and self.compared is not None


class Kept(NamedTuple):
    """A version that was kept. `times` it was in force, the newest first; `did`: what it changed the last time, None
    for the first policy there ever was; `compared`: with the one in force, None where it is that one."""

    version: PolicyVersion
    times: Sequence[Activated]
    did: str | None
    compared: Compared | None


def policy_page(frame: Frame, current: InForce | None, history: History) -> str:
    """What is in force, in words, and what was before."""
    words = None
    if current is not None:
        found = current.policy
        words = (policy_words.topics(found), policy_words.budgets(found), policy_words.others(found))
    return page("policy.html", frame, current=current, history=history, words=words)


def version_page(frame: Frame, kept: Kept, refusal: str | None) -> str:
    """One version, as it was written, when it was in force, and what that changed."""
    compared = None if kept.compared is None else _lines(kept.compared.diff)
    return page("policy_version.html", frame, kept=kept, refusal=refusal, did=_lines(kept.did), diff=compared)


def editor_page(frame: Frame, draft: Draft) -> str:
    """Where a policy is written: with every problem and its line, or with what it would change."""
    bad = {each.line for each in draft.problems if each.line}
    return page("policy_edit.html", frame, draft=draft, bad=bad, diff=_lines(draft.compared and draft.compared.diff))


def _lines(diff: str | None) -> list[tuple[str, str]]:
    """Lines of a unified diff with what each is: added, removed, or neither."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = [] if diff is None else diff.splitlines()
    return [(kinds.get(each[:1], ""), each) for each in lines if not each.startswith(("+++", "---"))]
