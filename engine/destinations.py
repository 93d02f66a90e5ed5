"""Which hosts a `claude` process may reach, and through which proxy."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import unquote, urlsplit

from engine.reach import port_of, proxy_before, write
from engine.spawn import API_URL, Hosts

type Kind = Literal["api", "other", "refused"]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy between the valve and a host. ``login`` is the value of ``Proxy-Authorization``."""

    host: str
    port: int
    tls: bool = False
    login: str | None = field(default=None, repr=False)


class UnusableProxyError(Exception):
    """The environment names a proxy that the valve cannot use. The message says which, without its login."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """The hosts of a process, and its environment, which has the proxies."""

    hosts: Hosts
    environ: Mapping[str, str] = field(repr=False)

    def kind(self, host: str, port: int) -> Kind:
        """Return what a host is to the process."""
        if write(host.lower(), port) in self.hosts.api:
            return "api"
        if _fits(host, port, self.hosts.others):
            return "other"
        if _fits(host, port, self.hosts.api):
            return "api"
        return "other" if self.hosts.any_other else "refused"

    def check_proxy(self) -> None:
        """Raise UnusableProxyError if the valve cannot use the proxy before the API."""
        for pattern in self.hosts.api:
            name = pattern.rpartition(":")[0] or pattern
            for scheme in ("https", "http"):
                self.proxy(scheme, name.strip("[]"), 443)

    def proxy(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for a host; None if there is none. Raises UnusableProxyError."""
        try:
            parts = proxy_before(scheme, host, port, self.environ)
        except ValueError:
            raise UnusableProxyError("its address cannot be read") from None
        if parts is None or parts.hostname is None:
            return None
        if parts.scheme not in ("http", "https"):
            raise UnusableProxyError(f"its scheme is {parts.scheme}")
        login = None
        if parts.username is not None:
            words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            login = f"Basic {base64.b64encode(words.encode()).decode('ascii')}"
        return Proxy(parts.hostname, port_of(parts), parts.scheme == "https", login)


def destinations(environ: Mapping[str, str], hosts: Hosts | None) -> Destinations:
    """Return the destinations of a process with this environment. ``hosts`` None means the host of its base URL."""
    return Destinations(hosts or Hosts((api_host(environ.get("ANTHROPIC_BASE_URL") or API_URL),)), environ)


def api_host(url: str) -> str:
    """Return ``HOST:PORT`` of a base URL, and an empty string if it cannot be read."""
    try:
        parts = urlsplit(url)
        return write(parts.hostname, port_of(parts)) if parts.hostname else ""
    except ValueError:
        return ""


def _fits(host: str, port: int, patterns: tuple[str, ...]) -> bool:
    names = (host.lower(), write(host.lower(), port))
    return any(fnmatchcase(name, pattern.replace("[", "[[]")) for pattern in patterns for name in names)
