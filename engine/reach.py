"""The API's address, and the reason why it could not be reached.

Claude Code reports a failed connection at once, and the reason only after a second try, which is not allowed to happen
here (docs/claude-code.md). So Understudy checks by itself: it resolves the name, connects and makes the TLS handshake,
through the same proxy as Claude Code. It sends no request.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import certifi

# The time limit of the check. The app waits for it after the last try.
LOOK_S = 1.0

PORTS = {"http": 80, "https": 443}

# The check was successful: the failure is over, or comes only after the handshake.
REACHABLE = "the connection ended before an answer came"


@dataclass(frozen=True, slots=True)
class Reach:
    """The API's address.

    ``name`` is for the log: a host and its port, or the name of a cloud. ``host`` is None if only Claude Code knows the
    address. ``proxy`` says that the host is a proxy that connects to ``name``. ``authorities`` is a file with further
    certificate authorities that Claude Code trusts.
    """

    name: str
    host: str | None = None
    port: int = 0
    tls: bool = False
    proxy: bool = False
    authorities: str | None = None

    async def why(self, within_s: float = LOOK_S) -> str:
        """Return in words why a connection fails, or that it does not fail."""
        if self.host is None:
            return REACHABLE
        told = await self._look(self.host, within_s)
        return f"the proxy {write(self.host, self.port)} before it: {told}" if self.proxy else told

    async def _look(self, host: str, within_s: float) -> str:
        try:
            async with asyncio.timeout(within_s):
                # In a thread, because it reads a few hundred certificates.
                tls = await asyncio.to_thread(trusted, self.authorities) if self.tls and not self.proxy else None
                _, writer = await asyncio.open_connection(host, self.port, ssl=tls)
        except TimeoutError:
            return f"timed out (no connection within {within_s:g} s)"
        except OSError as error:
            return in_words(error)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return REACHABLE


def trusted(authorities: str | None) -> ssl.SSLContext:
    """Return a TLS context with the certificates that Claude Code trusts. ``authorities`` is a file with more.

    Blocks: it reads a few hundred certificates.
    """
    context = ssl.create_default_context()
    # Not every Python finds the certificates of its system.
    context.load_verify_locations(certifi.where())
    if authorities is not None:
        with contextlib.suppress(OSError):
            context.load_verify_locations(authorities)
    return context


def in_words(error: OSError) -> str:
    """Return in words why a connection failed."""
    match error:
        case socket.gaierror():
            return "name not resolved"
        case ConnectionRefusedError():
            return "connection refused"
        case ssl.SSLCertVerificationError():
            return f"TLS failure: its certificate was not accepted ({error.verify_message})"
        case ssl.SSLError():
            return "TLS failure"
        case ConnectionResetError() | BrokenPipeError():
            return "connection reset"
        case TimeoutError():
            return "timed out"
        case OSError(errno=errno.EHOSTUNREACH | errno.ENETUNREACH):
            return "no route to the host"
        case _:
            # If several addresses were tried, asyncio joins the messages of all failures.
            refused = "refused" in str(error).lower()
            return "connection refused" if refused else error.strerror or "the connection failed"


def reach_of(url: str, environ: Mapping[str, str]) -> Reach:
    """Return how Claude Code reaches a URL with these environment variables. User and path of the URL are left out."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        host = None
    if not host:
        return Reach("an address that cannot be read")
    name, tls = write(host, port), parts.scheme == "https"
    authorities = environ.get("NODE_EXTRA_CA_CERTS") or None
    if (before := _proxy(parts.scheme, host, port, environ)) is not None:
        return Reach(name, *before, tls=tls, proxy=True, authorities=authorities)
    return Reach(name, host, port, tls=tls, authorities=authorities)


def proxy_url(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for a host from the usual environment variables; None if there is none."""

    def value(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name) or ""

    url = value(f"{scheme.upper()}_PROXY")
    if not url or proxy_bypass_environment(f"{host}:{port}", {"no": value("NO_PROXY")}):
        return None
    return url if "://" in url else f"http://{url}"


def proxy_before(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> SplitResult | None:
    """Return the parts of that URL. Raises ValueError if it cannot be read."""
    url = proxy_url(scheme, host, port, environ)
    parts = urlsplit(url) if url is not None else None
    if parts is None or not parts.hostname:
        return None
    port_of(parts)
    return parts


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL, or that of its scheme. Raises ValueError if the port is not a number."""
    return parts.port or PORTS.get(parts.scheme, 80)


def _proxy(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> tuple[str, int] | None:
    try:
        parts = proxy_before(scheme, host, port, environ)
    except ValueError:
        return None
    return (parts.hostname, port_of(parts)) if parts is not None and parts.hostname else None


def write(host: str, port: int) -> str:
    """Return host and port in the form of a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
