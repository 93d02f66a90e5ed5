"""Which addresses are public, in all the forms that one can have."""

import pytest

from addons.addresses import is_public, resolve


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "192.0.0.9"]
)
def test_a_public_address_is_recognised(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3"),
        *("169.254.169.254", "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
        *("168.63.129.16", "192.88.99.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2002:808:808::", "2001:0:1::1"),
        *("localhost", "example.com", "", "127.1", "2130706433"),
    ],
)
def test_a_private_address_is_recognised(address: str) -> None:
    assert not is_public(address)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_name_that_resolves_to_this_machine_is_not_public(host: str) -> None:
    assert not any(map(is_public, await resolve(host, 80)))


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["a" * 300, "a..b", "\udcff"])
async def test_resolving_an_invalid_name_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        await resolve(host, 80)
