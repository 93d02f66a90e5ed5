"""Decides which addresses are public. A client on another machine can reach a public address without the proxy too."""

import asyncio
import ipaddress
import socket

RESOLVE_S = 10.0
"""How long a name may take to be resolved."""

# These are in public ranges, but only a cloud's own machines can reach them.
OF_CLOUDS = frozenset({ipaddress.ip_address("168.63.129.16")})  # Azure

# RFC 6052: an IPv6 address that contains an IPv4 address, for networks without IPv4. The IPv4 address decides.
NAT64 = ipaddress.ip_network("64:ff9b::/96")

# Outdated ways to write an IPv4 address in an IPv6 address: IPv4-compatible, 6to4 and its relays, Teredo.
OLD_WAYS = tuple(map(ipaddress.ip_network, ("::/96", "2002::/16", "2001::/32", "192.88.99.0/24")))


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet. False for a name."""
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

    The system also accepts old spellings of addresses: ``0``, ``127.1``, ``2130706433``, ``0x7f.1``. Raises OSError if
    the host cannot be resolved, or not within :data:`RESOLVE_S` seconds.
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
