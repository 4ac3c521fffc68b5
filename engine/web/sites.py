"""Which site a form was sent from, by what the browser says, and whether this one is reached by https."""

import ipaddress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from fastapi import Request

_PORTS: Final = {"http": 80, "https": 443}


class Site(NamedTuple):
    """Where a page is from: two of the same host and another port are strangers to each other."""

    scheme: str
    host: str
    port: int


def is_from_here(request: Request) -> bool | None:
    """Whether a page of this site sent a form; None where the browser says nothing of it.

    Sec-Fetch-Site decides. Browsers leave it out over plain HTTP, but for addresses of the machine they run on; there
    Origin does, by the host of the request, or by `TAKT_PUBLIC_URL` where a proxy asks for another host.
    """
    said = request.headers.get("sec-fetch-site")
    if said is not None:
        return said in ("same-origin", "none")
    origin = request.headers.get("origin", "null")
    if origin == "null":  # of a page that tells nobody where it is, and of any site that wants to look like one
        return None
    sender = site(origin)
    if sender is None:
        return False
    # A proxy that ends TLS may not say that it did: what counts of the host asked for is that it is the sender's.
    asked = site(f"{sender.scheme}://{request.headers.get('host', '')}")
    return sender in (asked, site(_public_url(request)))


def is_by_https(request: Request) -> bool:
    return request.url.scheme == "https" or _public_url(request).startswith("https:")


def site(url: str) -> Site | None:
    """The site of an address; None for what is none."""
    try:
        parts = urlsplit(url)
        port, host = parts.port or _PORTS[parts.scheme], parts.hostname or ""
    except (ValueError, KeyError):
        return None
    if not host or parts.username is not None:
        return None
    return Site(parts.scheme, _plain(host), port)


def _plain(host: str) -> str:
    """IPv6 addresses have many spellings, of which browsers send one."""
    try:
        return ipaddress.ip_address(host).compressed
    except ValueError:
        return host


def _public_url(request: Request) -> str:
    return request.app.state.decider.settings.public_url or ""
