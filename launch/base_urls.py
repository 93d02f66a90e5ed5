"""Finds variables that send OpenAI's clients to another server on this machine.

Clients do not use a proxy for loopback addresses, so such a variable silently bypasses Understudy.
"""

import ipaddress
import socket
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

BASE_URLS = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""The variables that OpenAI's clients, old and new, read their base URL from."""

CONNECT_S = 1.0


def base_urls_past(
    environ: Mapping[str, str], own: Collection[tuple[str, int]]
) -> dict[str, tuple[str, tuple[str, int]]]:
    """Return the variables whose URL has a loopback address that is not in ``own``.

    The result maps each variable to its URL and to the URL's host and port.
    """
    past = {}
    for name in BASE_URLS:
        try:
            url = urlsplit(environ.get(name, ""))
            at = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
        except ValueError:
            continue
        if _is_loopback(at[0]) and not any(at[1] == port and _is_loopback(host) for host, port in own):
            past[name] = environ[name], at
    return past


def listens(address: tuple[str, int]) -> bool:
    """Whether a server accepts connections at this host and port."""
    try:
        with socket.create_connection(address, timeout=CONNECT_S):
            return True
    except OSError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
