"""The proxy does not connect to itself.

A request for its own address would come in again as a request for its own address, and so on, until there are no
connections left. mitmproxy looks at the name of a host only, and the name may be any that resolves to this machine.
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
    """Refuse what leads to an address at which the proxy listens.

    It must come after the addon that pins a host to an address.
    """

    def __init__(self, settings: Settings) -> None:
        self._hosts = settings.hosts

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Look where a CONNECT leads."""
        await self._refuse(flow)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Look where a plain request leads."""
        await self._refuse(flow)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Look at what was no request: SOCKS, for example."""
        if data.server.error is None and data.server.address is not None:
            host, port = data.server.address[:2]
            if await leads_here(host, port):
                data.server.error = told(host)

    async def _refuse(self, flow: http.HTTPFlow) -> None:
        request = flow.request
        if flow.response or flow.error or matches(request.host, self._hosts):
            return
        if await leads_here(request.host, request.port):
            # As for the names that are known to be this machine's: see addons/explain_doors.py.
            refuse(flow, OpenAIError(told(request.host), status=421, code="misdirected_request"))


def told(host: str) -> str:
    """Return what is said of a host that is this proxy."""
    return f"The host {host!r} is this proxy. It does not connect to itself."


def own_addresses() -> list[tuple[str, int]]:
    """Return where this proxy listens."""
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
        return False  # whoever connects says so
    return any(is_at(door, read(address)) for address in found for door in doors)


def is_at(door: Address, address: Address) -> bool:
    """Whether who connects with an address comes to a door. A door may be every address of this machine."""
    if address.is_unspecified:
        # Systems connect with this machine then.
        return door.is_unspecified or door.is_loopback
    if door.is_unspecified:
        return address.is_loopback or address in addresses_of_this_machine()
    return address == door


def addresses_of_this_machine() -> set[Address]:
    """Return the addresses of all interfaces."""
    return set(_addresses(one.address for each in psutil.net_if_addrs().values() for one in each))


def read(text: str) -> Address:
    """Read an address, without its zone. An IPv4 address within an IPv6 one is what it stands for."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _addresses(texts: Iterable[str]) -> Iterable[Address]:
    for text in texts:
        try:
            yield read(text)
        except ValueError:
            continue  # an interface has others too: of Ethernet, for example
