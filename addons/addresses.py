"""Which addresses are public. A client on another machine can reach those without the proxy, too."""

import asyncio
import ipaddress
import socket

RESOLVE_S = 10.0
"""How long a name may take to be resolved."""

# Addresses that the registries hold for public, and that clouds answer on to their own machines only.
OF_CLOUDS = frozenset({ipaddress.ip_address("168.63.129.16")})  # Azure

# RFC 6052: an IPv4 address in an IPv6 one, for networks without IPv4. The address within is judged.
NAT64 = ipaddress.ip_network("64:ff9b::/96")

# What leads to IPv4 addresses in ways that nobody needs any more: IPv4-compatible, 6to4 and its relays, Teredo.
OLD_WAYS = tuple(map(ipaddress.ip_network, ("::/96", "2002::/16", "2001::/32", "192.88.99.0/24")))


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet. A name is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if address in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        if address.is_site_local:
            return False
    if address in OF_CLOUDS or any(address in network for network in OLD_WAYS if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_unspecified or address.is_reserved)


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which the system would try them.

    The system also reads what is an address in an older spelling: ``0``, ``127.1``, ``2130706433``, ``0x7f.1``.
    Raises OSError, also after :data:`RESOLVE_S`.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name") from error
    except TimeoutError as error:
        raise OSError(f"{host!r} could not be resolved in {RESOLVE_S:g} s") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
