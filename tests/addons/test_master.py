"""The proxy inside our own process opens its doors or says which it cannot."""

import asyncio
from pathlib import Path

import httpx
import pytest
from mitmproxy.addons import default_addons
from mitmproxy.proxy.mode_specs import ProxyMode, UpstreamMode

from addons.doors import CannotListenError
from addons.master import addons_of_mitmproxy, options_for, proxy
from auth.certificates.authority import Authority
from settings import Settings

pytestmark = pytest.mark.anyio

FREE = ("127.0.0.1", 0)

# Of mitmproxy's default addons those that do nothing unless an option of theirs is set or their command is called.
IDLE = {
    *("AntiCache", "AntiComp", "BlockList", "Browser", "ClientPlayback", "CommandHistory", "Comment", "Cut", "Export"),
    *("MapLocal", "MapRemote", "ModifyBody", "ModifyHeaders", "Save", "SaveHar", "ScriptLoader", "ServerPlayback"),
    *("StickyAuth", "StickyCookie"),
}


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


def test_every_default_addon_of_mitmproxys_is_used_unless_it_does_nothing() -> None:
    theirs = {type(addon).__name__ for addon in default_addons()}  # type: ignore[no-untyped-call]
    ours = {type(addon).__name__ for addon in addons_of_mitmproxy()}

    assert theirs - ours == IDLE | {"Onboarding"}
    assert ours - theirs == {"InstallationPage"}


async def test_mitmproxys_page_offers_the_certificate_of_the_authority(tmp_path: Path) -> None:
    ca = Authority.open(tmp_path)
    options = options_for(Settings(listen=FREE), ca.directory, {})
    async with (
        proxy(options, [], store=ca.store) as ((host, port), *_),
        httpx.AsyncClient(proxy=f"http://{host}:{port}") as client,
    ):
        page = await client.get("http://mitm.it/")
        certificate = await client.get("http://mitm.it/cert/pem")

    assert page.status_code == 200 and "cert/pem" in page.text
    assert certificate.content == ca.certificate.read_bytes()
