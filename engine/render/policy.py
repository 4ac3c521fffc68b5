"""The policy's pages: in words, as it is written, how it changed, and where it is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.core.errors import Problem
from engine.core.policy import Policy
from engine.render import policy_words
from engine.render.frame import Frame, page
from engine.store.policies import PolicyVersion


class InForce(NamedTuple):
    """What holds. `since_us`: of the newest ruleset; pauses and experiments make others of the same version."""

    version: PolicyVersion
    policy: Policy
    since_us: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody wrote and has not put in force: its problems, or what it would change (`diff`, empty: nothing)."""

    source: str
    note: str
    problems: Sequence[Problem] = ()
    refusal: str | None = None
    diff: str | None = None

    @property
    def is_good(self) -> bool:
        return not self.problems and self.refusal is None and self.diff is not None


def policy_page(frame: Frame, current: InForce | None, versions: Sequence[PolicyVersion]) -> str:
    """What is in force, in words, and what was before."""
    words = None
    if current is not None:
        found = current.policy
        words = (policy_words.topics(found), policy_words.budgets(found), policy_words.others(found))
    return page("policy.html", frame, current=current, versions=versions, words=words)


def version_page(frame: Frame, version: PolicyVersion, is_in_force: bool, diff: str | None) -> str:
    """One version, as it was written. `diff`: what it says other than the one in force."""
    return page("policy_version.html", frame, version=version, is_in_force=is_in_force, diff=_lines(diff))


def editor_page(frame: Frame, draft: Draft) -> str:
    """Where a policy is written: with every problem and its line, or with what it would change."""
    bad = {each.line for each in draft.problems if each.line}
    return page("policy_edit.html", frame, draft=draft, bad=bad, diff=_lines(draft.diff))


def _lines(diff: str | None) -> list[tuple[str, str]]:
    """Lines of a unified diff with what each is: added, removed, or neither."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = [] if diff is None else diff.splitlines()
    return [(kinds.get(each[:1], ""), each) for each in lines if not each.startswith(("+++", "---"))]
