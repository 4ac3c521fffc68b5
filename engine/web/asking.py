"""What several pages read of a request: the database behind it, who may change things, and what a form selects."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from engine.core.errors import Problem
from engine.core.policy import Channel
from engine.operations.surroundings import surroundings
from engine.store.database import Database
from engine.web.signing_in import Viewer, viewer

Who = Annotated[Viewer, Depends(viewer)]


class Selected(NamedTuple):
    """A channel and a topic of a form, None for every one; and what is wrong with them."""

    channel: str | None
    topic: str | None
    problems: list[Problem]


def database_of(request: Request) -> Database:
    return request.app.state.decider.database


async def selected(request: Request, fields: Mapping[str, str]) -> Selected:
    """What the lists of channels and topics were left at."""
    channel, topic = (fields.get(each, "").strip() or None for each in ("channel", "topic"))
    problems: list[Problem] = []
    if channel is not None and channel not in {each.value for each in Channel}:
        problems.append(Problem("channel", repr(channel), "a channel"))
    if topic is not None and topic not in (await surroundings(request.app.state.decider)).topics:
        problems.append(Problem("topic", repr(topic), "a topic of the policy"))
    return Selected(channel, topic, problems)
