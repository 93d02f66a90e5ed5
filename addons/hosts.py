"""Compares host names with the patterns of the intercepted hosts."""

import ipaddress
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host name matches one of the patterns. They are in lower case. ``*`` matches any text, even dots."""
    name = host.rstrip(".").lower()
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def as_regex(pattern: str) -> str:
    """Return a pattern as a regular expression for mitmproxy's ``allow_hosts``. It is compared with ``host:port``."""
    name = ".*".join(re.escape(piece) for piece in pattern.split("*"))
    return rf"^{name}\.?:\d+$"


def is_this_machine(host: str) -> bool:
    """Whether a name or address that a browser knows a server by is this machine.

    Browsers resolve ``localhost`` and all names below it to this machine, and never ask a name server for them.
    Programs made of pages use such names: Tauri's are ``tauri.localhost``.
    Source: https://w3c.github.io/webappsec-secure-contexts/#localhost.
    """
    return host.lower().rstrip(".").endswith(".localhost") or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. The only name for which this is known is ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
