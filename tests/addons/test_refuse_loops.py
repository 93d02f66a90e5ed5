"""Which addresses are the proxy's own. What a client sees of it is in tests/attacks."""

import socket
from ipaddress import ip_address

import pytest

from addons.refuse_loops import addresses_of_this_machine, is_at, read


@pytest.mark.parametrize(
    ("door", "address", "leads_here"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("0.0.0.0", "8.8.8.8", False),
        ("::", "::1", True),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "127.0.0.1", False),
        ("10.0.0.5", "0.0.0.0", False),
        ("fe80::1", "fe80::1%eth0", True),
    ],
)
def test_an_address_leads_to_a_door(door: str, address: str, leads_here: bool) -> None:
    assert is_at(ip_address(door), read(address)) is leads_here


def test_every_address_of_this_machine_leads_to_a_door_that_is_open_to_all() -> None:
    mine = addresses_of_this_machine()

    assert ip_address("127.0.0.1") in mine
    assert all(is_at(ip_address("0.0.0.0"), address) for address in mine)
    for *_, at in socket.getaddrinfo(socket.gethostname(), 80):
        assert is_at(ip_address("::"), read(str(at[0])))
