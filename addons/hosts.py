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


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. The only name for which this is known is ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
