"""Why the API could not be reached, in words."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.reach import REACHABLE, Reach, in_words, reach_of
from tests.end_to_end.site import Site

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def server() -> AsyncIterator[int]:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_closed_port_refuses_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]

    reach = reach_of(f"http://127.0.0.1:{port}/v1", {})

    assert (reach.name, await reach.why()) == (f"127.0.0.1:{port}", "connection refused")


async def test_a_name_that_nobody_knows_is_not_resolved() -> None:
    reach = reach_of("https://no-such-host.invalid", {})

    assert (reach.name, await reach.why(30)) == ("no-such-host.invalid:443", "name not resolved")


async def test_a_server_without_tls_is_reported_as_a_tls_failure() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]

        assert await reach_of(f"https://127.0.0.1:{port}", {}).why(30) == "TLS failure"


async def test_a_certificate_of_nobody_we_know_is_named_and_one_that_claude_code_trusts_is_not(tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        url = f"https://localhost:{site.port}"
        unknown = await reach_of(url, {}).why(30)
        known = await reach_of(url, {"NODE_EXTRA_CA_CERTS": str(site.authority)}).why(30)

    assert unknown.startswith("TLS failure: its certificate was not accepted (")
    assert known == REACHABLE


async def test_a_reachable_server_is_reported_as_having_closed_the_connection() -> None:
    async with server() as port:
        assert await reach_of(f"http://127.0.0.1:{port}", {}).why(30) == REACHABLE


async def test_a_host_that_says_nothing_has_its_time() -> None:
    # It listens and takes no more connections than one, which waits there.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            told = await reach_of(f"http://127.0.0.1:{port}", {}).why(0.05)
        finally:
            for one in waiting:
                one.close()

    assert told.startswith("timed out")


async def test_a_proxy_before_it_is_looked_at_in_its_place() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    before = f"http://me:secret@127.0.0.1:{port}"

    reach = reach_of("https://api.anthropic.com", {"HTTPS_PROXY": before})

    assert reach.name == "api.anthropic.com:443"
    assert await reach.why() == f"the proxy 127.0.0.1:{port} before it: connection refused"


@pytest.mark.parametrize(
    ("url", "environ", "host"),
    [
        ("https://api.anthropic.com", {}, "api.anthropic.com"),
        ("https://api.anthropic.com", {"https_proxy": "proxy.corp.example:3128"}, "proxy.corp.example"),
        ("https://api.anthropic.com", {"HTTP_PROXY": "http://proxy"}, "api.anthropic.com"),
        ("http://127.0.0.1:9", {"HTTP_PROXY": "http://proxy", "NO_PROXY": "127.0.0.1"}, "127.0.0.1"),
        ("https://a.corp.example", {"HTTPS_PROXY": "http://proxy", "no_proxy": ".corp.example"}, "a.corp.example"),
    ],
)
def test_proxy_variables_decide_how_the_api_is_reached(url: str, environ: Mapping[str, str], host: str) -> None:
    assert reach_of(url, environ).host == host


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://me:secret@gateway.corp.example/a/secret/path?k=v", "gateway.corp.example:443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("nonsense", "an address that cannot be read"),
        ("http://h:port", "an address that cannot be read"),
    ],
)
def test_the_log_name_has_only_host_and_port(url: str, name: str) -> None:
    assert reach_of(url, {}).name == name


async def test_an_address_that_nobody_knows_is_not_looked_for() -> None:
    assert await Reach("Amazon Bedrock").why() == REACHABLE


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "no route to the host"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no route to the host"),
        (ConnectionResetError(), "connection reset"),
        (TimeoutError(), "timed out"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed (refused)"), "connection refused"),
        (OSError(), "the connection failed"),
    ],
)
def test_each_failure_has_its_words(error: OSError, words: str) -> None:
    assert in_words(error) == words
