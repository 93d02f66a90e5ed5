"""The proxy inside our own process opens its doors or says which it cannot."""

import asyncio
from pathlib import Path

import pytest
from mitmproxy.proxy.mode_specs import ProxyMode, UpstreamMode

from addons.doors import CannotListenError
from addons.master import options_for, proxy
from settings import Settings

pytestmark = pytest.mark.anyio

FREE = ("127.0.0.1", 0)


async def test_each_door_has_an_address_that_answers(tmp_path: Path) -> None:
    async with proxy(options_for(Settings(listen=FREE, base_url=FREE), tmp_path, {}), []) as addresses:
        assert len(addresses) == 2
        for host, port in addresses:
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()


def test_the_proxy_before_us_may_have_an_ipv6_address(tmp_path: Path) -> None:
    options = options_for(Settings(upstream_proxy="http://me:secret@[::1]:3128"), tmp_path, {})
    (mode,) = map(ProxyMode.parse, options.mode)

    assert isinstance(mode, UpstreamMode)
    assert mode.address == ("::1", 3128)


async def test_a_door_that_is_taken_is_one_clear_error(tmp_path: Path) -> None:
    async with await asyncio.start_server(lambda reader, writer: None, *FREE) as taken:
        address = taken.sockets[0].getsockname()[:2]

        with pytest.raises(CannotListenError, match=str(address[1])):
            async with proxy(options_for(Settings(listen=address), tmp_path, {}), []):
                pass


def test_a_persons_own_authorities_are_believed_upstream(tmp_path: Path) -> None:
    assert options_for(Settings(), tmp_path, {"SSL_CERT_FILE": "/x.pem"}).ssl_verify_upstream_trusted_ca == "/x.pem"


async def test_the_base_url_door_does_not_listen_for_http_3() -> None:
    options = options_for(Settings(base_url=("127.0.0.1", 8081)), Path("nowhere"), {})

    protocols = {mode.partition(":")[0]: ProxyMode.parse(mode).transport_protocol for mode in options.mode}
    assert protocols == {"regular@127.0.0.1": "tcp", "reverse": "tcp"}
