"""The rulesets this process has read. Which one is in force, each transaction reads for itself."""

from typing import Any

from engine.core.policy import Policy, Selector
from engine.core.policy_reader import read_policy
from engine.core.rules import Pause, Rules
from engine.operations.running import rules_of
from engine.store.database import Connection
from engine.store.policies import policy_version, ruleset_row

_KEPT = 64


class Rulebook:
    """Compiled rules by their number. A number's content never changes, so nothing here can be stale."""

    def __init__(self) -> None:
        self.newest: Rules | None = None  # of those this process has met: good for what no decision depends on
        self._rules: dict[int, Rules] = {}
        self._frozen: dict[int, Policy] = {}  # the policies of holdouts, by version

    async def rules(self, connection: Connection, number: int) -> Rules:
        """The rules of a ruleset, read once."""
        found = self._rules.get(number)
        if found is None:
            row = await ruleset_row(connection, number)
            for version in {each["policy_version"] for each in row.holdouts} - self._frozen.keys():
                self._frozen[version] = read_policy((await policy_version(connection, version)).data)
            pauses = tuple(pause_of(each) for each in row.pauses)
            found = rules_of(number, read_policy(row.policy), pauses, row.experiments, row.holdouts, self._frozen)
            if len(self._rules) >= _KEPT:
                self._rules.pop(min(self._rules))
            self._rules[number] = found
            if self.newest is None or self.newest.number < number:
                self.newest = found
        return found


def pause_of(data: dict[str, Any]) -> Pause:
    selector = Selector(*(frozenset(data[each]) if data[each] else None for each in _SELECTED))
    return Pause(data["name"], selector, data["from_us"], data["until_us"], data.get("is_breaker", False))


def pause_data(pause: Pause) -> dict[str, Any]:
    selected = {each: getattr(pause.selector, each) for each in _SELECTED}
    return {
        "name": pause.name,
        "from_us": pause.from_us,
        "until_us": pause.until_us,
        "is_breaker": pause.is_breaker,
        **{each: sorted(values) if values else None for each, values in selected.items()},
    }


_SELECTED = ("channels", "topics", "campaigns", "teams")
