"""The client of a sender: ask before you send, send only where `may_send`, then confirm or release.

It needs httpx and nothing else of Takt, so a sender may copy this folder into code of its own. What is asked is asked
again, under the same message id, until it is answered or the deadline has passed: a message id has at most one live
contact, so nothing is charged twice. Where no answer can be had nothing is allowed, except in the topics that the
sender itself has declared in `fail_open_topics`.

    TaktClientError
    ├── TaktUnavailable     no answer in time; asking again later, under the same message id, is safe
    └── TaktRefused         the request is wrong, or the key: asking again as it is cannot help

Example::

    from engine.client import Ask, Client

    with Client("http://127.0.0.1:8000", key, fail_open_topics={"account"}) as takt:
        answer = takt.ask(Ask("ada", "email", "promotions", message_id="autumn-sale:ada"))
        if answer.may_send:
            send_the_email()
            takt.confirm(answer)
"""

from engine.client.async_client import AsyncClient
from engine.client.sync_client import Client
from engine.client.values import (
    BATCH_ITEMS,
    Answer,
    Ask,
    BudgetLine,
    Contact,
    Filed,
    Message,
    Problem,
    Reason,
    Resolution,
    TaktClientError,
    TaktRefused,
    TaktUnavailable,
)

__all__ = [
    "BATCH_ITEMS",
    "Answer",
    "Ask",
    "AsyncClient",
    "BudgetLine",
    "Client",
    "Contact",
    "Filed",
    "Message",
    "Problem",
    "Reason",
    "Resolution",
    "TaktClientError",
    "TaktRefused",
    "TaktUnavailable",
]
