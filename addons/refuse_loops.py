"""Keeps the proxy from connecting to itself.

A request for the proxy's own address would come back to the proxy again and again, until no connections are left.
mitmproxy compares only the host's name. But any name may resolve to this machine.
"""

import ipaddress
from collections.abc import Iterable

import psutil
from mitmproxy import ctx, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from addons.addresses import resolve
from addons.hosts import matches
from addons.redirect_to_origin import refuse
from settings import Settings
from translate.errors import OpenAIError

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefuseLoops:
    """Refuses requests and connections to an address at which the proxy listens.

    It must come after the addon that pins a host to an address.
    """

    def __init__(self, settings: Settings) -> None:
        self._hosts = settings.hosts

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Check the destination of a CONNECT."""
        await self._refuse(flow)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Check the destination of an unencrypted request."""
        await self._refuse(flow)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Check the destination of a connection without a request, for example through SOCKS."""
        if data.server.error is None and data.server.address is not None:
            host, port = data.server.address[:2]
            if await leads_here(host, port):
                data.server.error = told(host)

    async def _refuse(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        if flow.response or flow.error or matches(request.host, self._hosts):
            return
        if await leads_here(request.host, request.port):
            # addons/explain_doors.py answers the same for names that are known to be this machine.
            refuse(flow, OpenAIError(told(request.host), status=421, code="misdirected_request"))


def told(host: str) -> str:
    """Return the error message for a host that is this proxy."""
    return f"The host {host!r} is this proxy. It does not connect to itself."


def own_addresses() -> list[tuple[str, int]]:
    """Return the addresses at which this proxy listens."""
    proxy = ctx.master.addons.get("proxyserver")  # type: ignore[no-untyped-call]
    return [(host, port) for host, port, *_ in proxy.listen_addrs()] if proxy else []


async def leads_here(host: str, port: int) -> bool:
    """Whether a host resolves to an address at which this proxy listens."""
    doors = [ipaddress.ip_address(at.partition("%")[0]) for at, listening in own_addresses() if listening == port]
    if not doors:
        return False
    try:
        found = await resolve(host, port)
    except OSError:
        return False  # the connection then fails with this error
    return any(is_at(door, read(address)) for address in found for door in doors)


def is_at(door: Address, address: Address) -> bool:
    """Whether a connection to ``address`` reaches ``door``. A door may stand for every address of this machine."""
    if address.is_unspecified:
        # For such an address, systems connect to this machine.
        return door.is_unspecified or door.is_loopback
    if door.is_unspecified:
        return address.is_loopback or address in addresses_of_this_machine()
    return address == door


def addresses_of_this_machine() -> set[Address]:
    """Return the addresses of all interfaces."""
    return set(_addresses(one.address for each in psutil.net_if_addrs().values() for one in each))


def read(text: str) -> Address:
    """Parse an address without its zone. An IPv4 address that is written as IPv6 is returned as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _addresses(texts: Iterable[str]) -> Iterable[Address]:
    for text in texts:
        try:
            yield read(text)
        except ValueError:
            continue  # interfaces also have addresses of other kinds, such as Ethernet
