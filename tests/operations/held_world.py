"""One customer held in memory, and events about her: commands are pure once a customer is held."""

from typing import Any

from engine.core.account import Account, State
from engine.core.decision import decide
from engine.core.events import Event, Flag
from engine.core.rules import Rules
from engine.core.verdict import Ask, Verdict
from engine.operations.batch import Batch, Held
from engine.operations.decide import AskCommand
from engine.operations.happened import Happened, HappenedCommand
from engine.operations.policy_file import load_policy
from engine.store.customers import NOTHING

NOW_US = 1_790_000_000_000_000
ADDRESS, OTHER_ADDRESS = "a" * 32, "b" * 32
BOUNCED: dict[str, Any] = {"flags": Flag.HARD}
RULES = Rules(
    1,
    load_policy(
        """\
schema: 1
unknown_timezone: Europe/Berlin
topics:
  promotions: {purpose: sell}
  news: {purpose: sell}
  orders: {purpose: serve, exempt: true, counts: false}
budgets:
  - {name: week, limit: 3, window: {rolling: 7d}}
  - {name: promotions, topics: [promotions], limit: 2, window: {rolling: 7d}}
pauses:
  - {from: case_opened, until: case_closed, at_most: 14d, topics: [promotions]}
  - {from: detractor, until: case_closed, at_most: 14d, topics: [promotions]}
  - {from: moved_out, until: moved_in, at_most: 5d}
soft_bounces: {suppress_after: 3, within: 10d}
"""
    ),
)


class World:
    """One customer held, whose clock only this test moves."""

    def __init__(self, rules: Rules = RULES, now_us: int = NOW_US) -> None:
        self.held = Held("ada", Account(), NOTHING, now_us)
        self.batch = Batch(rules, {"ada": self.held})

    def do(self, command: Any) -> Any:
        return command.apply(self.batch, self.held)

    def tell(self, *events: Event) -> Happened:
        """As if none of them were kept any more, nor those told before: what they say must not hang on that."""
        self.held.told.clear()
        return self.do(HappenedCommand("ada", events))

    def ask(self, message_id: str, channel: str = "email", topic: str = "promotions", **more: Any) -> Verdict:
        return self.do(AskCommand("ada", message_id, Ask(channel, topic, **more))).verdict

    def later(self, by_us: int) -> None:
        """By the clock, which may step back: then the customer's time stands still."""
        self.held.clock_us += by_us
        self.held.now_us = max(self.held.clock_us, self.held.account.latest_us)

    def allows(self, channel: str = "email", topic: str = "promotions") -> bool:
        ask = Ask(channel, topic, reserves=False)
        return decide(RULES, self.held.customer, Account(), ask, self.held.now_us).verdict is Verdict.ALLOW

    def state(self, message_id: str) -> State | None:
        message = self.held.message(message_id)
        return message.state(self.held.now_us) if message else None


def event(type_: str, ago_us: int = 0, id_: str | None = None, **more: Any) -> Event:
    return Event("ada", "provider", id_ or f"{type_}-{ago_us}-{sorted(more.items())}", type_, NOW_US - ago_us, **more)
