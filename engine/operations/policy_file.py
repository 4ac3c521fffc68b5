"""A policy as a YAML file: read with the line of every problem, and written in one form for showing and diffs.

What YAML is, here, stands in `yaml_data`; what a policy is, in `engine.core.policy_reader`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

from engine.core.errors import InvalidPolicy, Problem
from engine.core.policy import Policy
from engine.core.policy_reader import policy_data, read_policy
from engine.operations.yaml_data import Document, read_document, written


def load_policy(text: str | bytes, source: str = "policy") -> Policy:
    """The policy in the text; raises `InvalidPolicy` with every problem, its line, and the name of the source.

    `text` is YAML 1.2 (so JSON too) of at most 256 KiB, in UTF-8 if it comes as bytes.
    """
    document = read_document(text)
    problems = list(document.problems)
    if document.readable:
        try:
            policy = read_policy(document.data)
        except InvalidPolicy as invalid:
            problems += _placed(invalid.problems, document)
        else:
            if not problems:
                return policy
    raise InvalidPolicy(sorted(problems, key=lambda problem: problem.line or 0), source) from None


def render(problems: Iterable[Problem], source: str) -> str:
    """One line a problem: `policy.yaml:12: budgets[0].limit: found true, expected a whole number ...`."""
    return "\n".join(
        f"{source}:{problem.line}: {replace(problem, line=None)}" if problem.line else f"{source}: {problem}"
        for problem in problems
    )


def policy_yaml(policy: Policy) -> str:
    """The policy in full and in one form: equal policies give equal text, and `load_policy` reads it back."""
    lines: list[str] = []
    for key, value in policy_data(policy).items():
        match value:
            case dict() if key in ("topics", "channels"):
                entries = cast("dict[str, object]", value).items()
                lines += [f"{key}:", *(f"  {written(name)}: {written(entry)}" for name, entry in entries)]
            case list() if key == "budgets":
                lines.append(f"{key}:")
                for budget in cast("list[dict[str, object]]", value):
                    fields = [f"{written(name)}: {written(entry)}" for name, entry in budget.items()]
                    lines += [f"  {'-' if i == 0 else ' '} {text}" for i, text in enumerate(fields)]
            case list():
                lines += [f"{key}:", *(f"  - {written(entry)}" for entry in cast("list[object]", value))]
            case _:
                lines.append(f"{key}: {written(value)}")
    return "\n".join(lines) + "\n"


def _placed(problems: Iterable[Problem], document: Document) -> list[Problem]:
    return [replace(problem, line=document.line(problem.path)) for problem in problems]
