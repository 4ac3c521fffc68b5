"""A service that gives the headers, and customers who follow them."""

import re
from typing import Any

import httpx
import psycopg

from tests.api.caller import Caller, row_counts

PUBLIC_URL = "https://takt.example"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def path_of(answer: Any) -> str:
    """Where the headers of an answer lead, without the host."""
    found = re.fullmatch(rf"<{PUBLIC_URL}(/u/[A-Za-z0-9_-]+)>", answer["headers"]["List-Unsubscribe"])
    assert found, answer
    return found.group(1)


def customer(takt: Caller) -> httpx.Client:
    """Somebody without a key."""
    return httpx.Client(base_url=takt.service.url, timeout=120)


def fields_of(page: str) -> dict[str, str]:
    """What a browser would send of the first form as it stands: hidden fields, and each list's chosen option."""
    form = page[page.index("<form") : page.index("</form>")]
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form))
    for name, options in re.findall(r'<select id="[^"]*" name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        (chosen,) = re.findall(r'<option value="([^"]*)" selected>', options)
        fields[name] = chosen
    return fields


def events(takt: Caller, customer_id: str) -> list[tuple[str, str | None, str | None, int, dict[str, Any]]]:
    """The customer's events by time, but for what follows for their reach: type, channel, topic, flags, properties."""
    with psycopg.connect(takt.service.database_url, autocommit=True) as connection:
        return connection.execute(
            "SELECT k.name, c.name, t.name, e.flags, e.properties FROM events e JOIN labels k ON k.number = e.kind"
            " LEFT JOIN labels c ON c.number = e.channel LEFT JOIN labels t ON t.number = e.topic"
            " WHERE customer_id = %s AND k.name NOT LIKE 'takt:%%' ORDER BY at_us, event_key",
            (customer_id,),
        ).fetchall()


def rows(database_url: str) -> dict[str, int]:
    """How many rows each table has. Labels are no customer's: those of Takt's own events are made ahead of them."""
    return {table: count for table, count in row_counts(database_url).items() if table != "labels"}
