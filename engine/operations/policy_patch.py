"""A policy's text with the limits that a variant sets: as somebody wrote it, comments and order kept."""

import io
import warnings
from typing import Any, Final, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from engine.core.errors import InvalidPolicy
from engine.core.policy import Policy
from engine.core.policy_writer import policy_data
from engine.operations.policy_file import load_policy, policy_yaml

_WIDTH: Final = 4_096  # lines stay as long as they were


def patched_text(source: str, policy: Policy) -> str:
    """The text changed so that it says `policy`, which differs from it in limits and overrides of budgets.

    Where that cannot be done in the text (two budgets that share an anchor, a file of JSON that would come out as
    something else), the policy in its one form.
    """
    try:
        text = _edited(source, policy)
        if load_policy(text) == policy:
            return text
    except (YAMLError, InvalidPolicy, ValueError, RecursionError):
        pass
    return policy_yaml(policy)


def _edited(source: str, policy: Policy) -> str:
    yaml = cast("Any", YAML())  # ruamel declares types for little of what it returns
    yaml.width = _WIDTH
    yaml.preserve_quotes = True
    yaml.Representer = _Representer
    yaml.indent(mapping=2, sequence=4, offset=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = yaml.load(source.removeprefix("\ufeff"))
    wanted = {each["name"]: each for each in cast("list[dict[str, Any]]", policy_data(policy)["budgets"])}
    was = {budget.name: budget for budget in load_policy(source).budgets}
    for budget in document["budgets"]:
        name = budget["name"]
        now = next(each for each in policy.budgets if each.name == name)
        if (now.limit, now.overrides) == (was[name].limit, was[name].overrides):
            continue
        budget["limit"] = now.limit
        if now.overrides:
            budget["overrides"] = wanted[name]["overrides"]
        else:
            budget.pop("overrides", None)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


class _Representer(RoundTripRepresenter):
    """Writes null where nothing would do: no limit is said, not left out."""

    def represent_none(self, data: Any) -> Any:
        return cast("Any", self).represent_scalar("tag:yaml.org,2002:null", "null")


cast("Any", _Representer).add_representer(type(None), _Representer.represent_none)
