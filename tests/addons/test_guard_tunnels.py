"""A name is resolved once, and the connection goes to the address that was judged."""

from collections.abc import Sequence

import pytest
from mitmproxy.connection import Client, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.test import tflow, tutils

from addons import guard_tunnels
from addons.guard_tunnels import GuardTunnels, is_public_as_written
from addons.redirect_to_origin import RedirectToOrigin
from api.access import Access
from settings import Settings
from translate.errors import OpenAIError

pytestmark = pytest.mark.anyio

PUBLIC, OTHER, PRIVATE = "8.8.8.8", "1.1.1.1", "10.0.0.1"


class Origin:
    token = ""

    async def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", 1)]


def guard(**settings: object) -> GuardTunnels:
    async def access() -> Access | None:
        return None

    chosen = Settings(client_auth=True, **settings)  # type: ignore[arg-type]
    redirect = RedirectToOrigin(chosen, Origin())
    return GuardTunnels(chosen, redirect, access, key_of=lambda client: None, is_tunnel=lambda client: None)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Sequence[str]]]:
    """The answers of the name server, one after the other."""
    answers: dict[str, list[Sequence[str]]] = {}

    async def resolve(host: str, port: int) -> Sequence[str]:
        return answers[host].pop(0)

    monkeypatch.setattr(guard_tunnels, "resolve", resolve)
    return answers


def flow(host: str, method: bytes = b"GET") -> HTTPFlow:
    request = tutils.treq(method=method, scheme=b"http", host=host, port=80)
    request.headers["host"] = host
    return tflow.tflow(req=request)


async def connected(by: GuardTunnels, client: Client, host: str) -> Server:
    server = Server(address=(host, 80))
    await by.server_connect(ServerConnectionHookData(server, client))
    return server


async def test_a_tunnel_goes_to_the_address_that_was_judged(names: dict[str, list[Sequence[str]]]) -> None:
    names["rebinding.example"] = [[PUBLIC], [PRIVATE]]
    by, asked = guard(), flow("rebinding.example", b"CONNECT")

    await by.http_connect(asked)
    server = await connected(by, asked.client_conn, "rebinding.example")

    assert (asked.response, server.address, server.error) == (None, (PUBLIC, 80), None)


async def test_a_plain_request_goes_there_too_and_shows_its_name_afterwards(
    names: dict[str, list[Sequence[str]]],
) -> None:
    names["plain.example"] = [[PUBLIC, OTHER]]
    by, asked = guard(), flow("plain.example")

    await by.requestheaders(asked)
    during = (asked.request.host, asked.request.headers["host"])
    by.response(asked)

    assert during == (PUBLIC, "plain.example")
    assert asked.request.host == "plain.example"


@pytest.mark.parametrize("addresses", [[PRIVATE], [PUBLIC, PRIVATE], ["::ffff:10.0.0.1"]])
async def test_one_address_that_is_not_public_is_enough(
    addresses: list[str], names: dict[str, list[Sequence[str]]]
) -> None:
    names["mixed.example"] = [addresses, addresses]
    by, asked = guard(), flow("mixed.example", b"CONNECT")

    await by.http_connect(asked)
    server = await connected(by, flow("x").client_conn, "mixed.example")

    assert asked.response is not None
    assert (asked.response.status_code, asked.response.headers["content-type"]) == (403, "application/json")
    assert server.error is not None


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        (("git.corp",), "git.corp", PRIVATE),
        (("*.example.com",), "a.example.com", PUBLIC),
        (("*",), "a.example.com", PUBLIC),
    ],
)
async def test_an_allowed_host_is_reached(
    allowed: tuple[str, ...], host: str, address: str, names: dict[str, list[Sequence[str]]]
) -> None:
    names[host] = [[address]]

    assert await guard(tunnel=allowed).judge(host, 443) == address


@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [(("git.corp",), "a.example.com", PUBLIC), (("*.corp",), "git.corp", PRIVATE), (("*",), "git.corp", PRIVATE)],
)
async def test_a_pattern_allows_no_private_address_and_a_list_nothing_else(
    allowed: tuple[str, ...], host: str, address: str, names: dict[str, list[Sequence[str]]]
) -> None:
    names[host] = [[address]]

    with pytest.raises(OpenAIError) as caught:
        await guard(tunnel=allowed).judge(host, 443)
    assert caught.value.status == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "a.internal", "[::1]"])
async def test_behind_another_proxy_a_host_is_judged_as_it_is_written(host: str) -> None:
    assert not is_public_as_written(host.strip("[]"))
    assert is_public_as_written("example.com") and is_public_as_written(PUBLIC)
