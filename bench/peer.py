"""What a team would write by hand: FastAPI, the library `limits`, and a Redis; the same four budgets."""

import os
from typing import Any

from fastapi import FastAPI
from limits import RateLimitItemPerDay, RateLimitItemPerMonth, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from pydantic import BaseModel

app = FastAPI()
_limiter = MovingWindowRateLimiter(RedisStorage(os.environ["PEER_REDIS"], implementation="redispy"))
_WEEKLY = parse("20 per 7 day")
_DAILY = RateLimitItemPerDay(20)
_CAMPAIGN = RateLimitItemPerMonth(5)
_PUSH = parse("3 per 7 day")


class Ask(BaseModel):
    message_id: str
    customer_id: str
    channel: str
    topic: str
    campaign: str | None = None


@app.post("/ask")
async def ask(given: Ask) -> dict[str, Any]:
    """Tests every budget, then charges each: no lock, no reservation, no journal, no reasons."""
    who = given.customer_id
    budgets: list[tuple[Any, tuple[str, ...]]] = [(_DAILY, ("daily", who))]
    if given.channel == "email":
        budgets.append((_WEEKLY, ("email", who)))
    if given.channel == "push":
        budgets.append((_PUSH, ("push", who)))
    budgets.append((_CAMPAIGN, ("campaign", who, given.campaign or "")))
    for item, key in budgets:
        if not await _limiter.test(item, *key):
            return {"verdict": "defer", "budget": key[0]}
    for item, key in budgets:
        await _limiter.hit(item, *key)
    return {"verdict": "allow"}
