"""Telling alarms: each to TAKT_ALARM_URL, signed, until it was taken. At least once: receivers go by `webhook-id`."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

import httpx
import orjson

from engine.core import webhooks
from engine.core.policy import DAY_US
from engine.settings import Settings
from engine.store import alarms as store
from engine.store.alarms import Alarm
from engine.store.database import Database, clock_us

TOLD_FOR_US: Final = 7 * DAY_US
FIRST_US, MOST_US = 60_000_000, 3_600_000_000
_AT_ONCE: Final = 50
PATIENCE_S: Final = 10.0

log = logging.getLogger("takt.alarms")


async def tell(database: Database, settings: Settings, patience_s: float = PATIENCE_S) -> str:
    """Send what is due, and say what became of it. An alarm of a week ago is told no more: somebody has looked.

    `patience_s` is for all of an exchange: a receiver that sends a byte now and then holds up the others no longer.
    """
    if settings.alarm_url is None:
        return "no TAKT_ALARM_URL"
    async with database.transaction() as connection:
        now_us = await clock_us(connection)
        due = await store.due(connection, now_us - TOLD_FOR_US, FIRST_US, MOST_US, _AT_ONCE)
    if not due:
        return "none"
    told = 0
    async with httpx.AsyncClient(timeout=patience_s, follow_redirects=False) as client:
        for alarm in due:
            if await _was_taken(client, settings, alarm, patience_s):
                told += 1
                async with database.connection() as connection:
                    await store.sent(connection, alarm.number)
    return f"{told} of {len(due)} told"


def body_of(alarm: Alarm) -> bytes:
    """The JSON that is sent."""
    at = datetime.fromtimestamp(alarm.at_us // 1_000_000, UTC)
    return orjson.dumps(
        {
            "type": f"takt.{alarm.kind}",
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "data": {"subject": alarm.subject, **alarm.data},
        }
    )


async def _was_taken(client: httpx.AsyncClient, settings: Settings, alarm: Alarm, patience_s: float) -> bool:
    """Any 2xx says so; what the answer says beside is not read. What went wrong is logged without the address, which
    may be a secret."""
    body = body_of(alarm)
    # The receiver's clock tells forgeries by age: a demo's alarms are sent now, whenever they were.
    signed = webhooks.headers(
        settings.alarm_key, f"takt-{alarm.at_us}-{alarm.number}", int(datetime.now(UTC).timestamp()), body
    )
    url = settings.alarm_url.get_secret_value() if settings.alarm_url else ""
    headers = {"content-type": "application/json", **signed}
    try:
        # httpx is patient with each read anew; and a status that came is an answer, whatever drips behind it.
        async with asyncio.timeout(patience_s), client.stream("POST", url, content=body, headers=headers) as response:
            status, is_taken = response.status_code, response.is_success
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        log.warning("alarm %d was not taken: %s", alarm.number, type(error).__name__)
        return False
    if not is_taken:
        log.warning("alarm %d was not taken: status %d", alarm.number, status)
    return is_taken
