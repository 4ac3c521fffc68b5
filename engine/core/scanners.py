"""Machines that open mails and follow their links, by what they call themselves.

A short list on purpose: it names what its makers or those who watch mail traffic name, and what is no mail program at
all. What hides behind a browser's name is found by its haste (`store.events`), or not at all. Sources: docs/events.md.
"""

from typing import Final

# Parts of the names, in lower case.
_SCANNERS: Final = (
    "barracuda",  # Barracuda Link Protection
    "proofpoint",  # Proofpoint URL Defense
    "mimecast",  # Mimecast URL Protect
    "ciscosecureemail",  # Cisco Secure Email
    "ms-office",  # Microsoft Defender, Safe Links at the time of a click
    "msoffice",
    "microsoft office",
    "bingpreview",  # previews of links
    "skypeuripreview",
    "slackbot",
    "facebookexternalhit",
    "googlebot",
    "headlesschrome",  # browsers and libraries of programs, not of people
    "python-requests",
    "python-urllib",
    "go-http-client",
    "okhttp",
    "curl/",
    "wget/",
    # Gmail fetching images ahead while a mailbox is open: two browsers that were never one.
    "chrome/42.0.2311.135 safari/537.36 edge/12.246 mozilla/5.0",
)


def is_scanner(user_agent: str) -> bool:
    """Whether a user agent is known for a machine's. Gmail's image proxy is none: people look at what it fetches."""
    name = user_agent.lower()
    return any(each in name for each in _SCANNERS)
