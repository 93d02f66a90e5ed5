"""Attacks by bytes: smuggled requests, other addresses, sizes, slowness, logins; by raw sockets, as attackers do."""

import asyncio
import base64
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as open_websocket

from api.app import TOKEN_HEADER
from api.http.server import Exchange, Request, Server
from rehearsal import Reply
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S, Cloud
from tests.end_to_end.site import Site
from tests.end_to_end.tunnel import connect
from tests.end_to_end.understudy import UNDERSTUDY, Proxy, clean_environment, serve
from tests.sizes import sample

HOST = "api.openai.com"
ENDPOINT = f"https://{HOST}/v1/chat/completions"
HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
SILENCE_S = 2.0
HIDDEN = "GET /v1/models/hidden HTTP/1.1\r\nHost: api.openai.com\r\n\r\n"


def hiding(headers: str, before: str = "") -> bytes:
    """Hide a second request in what one of two readers takes for the first one's body."""
    return f"POST /v1/x HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n\r\n{before}{HIDDEN}".encode()


LENGTH = f"Content-Length: {len(HIDDEN)}"
LONGER = f"Content-Length: {len(HIDDEN) + 5}"
NO_CHUNK = "0\r\n\r\n"
SMUGGLED = {
    "two lengths": hiding(f"Content-Length: 0\r\n{LENGTH}"),
    "length and chunks": hiding(f"{LONGER}\r\nTransfer-Encoding: chunked", NO_CHUNK),
    "chunks by another name": hiding(f"{LENGTH}\r\nTransfer-Encoding: xchunked"),
    "a space before the colon": hiding(f"Transfer-Encoding : chunked\r\n{LONGER}", NO_CHUNK),
    "a folded header": hiding(f"X: a\r\n {LENGTH}\r\n{LENGTH}"),
    "a length that is none": hiding(f"Content-Length: +{len(HIDDEN)}"),
    "a negative length": hiding("Content-Length: -1"),
    "a huge chunk": hiding("Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\n"),
}
LAST = b"GET /last HTTP/1.1\r\nHost: api.openai.com\r\nConnection: close\r\n\r\n"


@contextmanager
def through(proxy: Proxy, name: str = HOST, sni: str | None = None) -> Iterator[ssl.SSLSocket]:
    """TLS through the proxy's CONNECT, as far as ``name`` goes."""
    tls = proxy.tls()
    if sni is not None:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with connect((proxy.host, proxy.port), sni or name, 443, tls) as secure:
        yield secure


def talk(connection: socket.socket, data: bytes) -> bytes:
    """Send bytes, say that no more will come, and return all that is answered."""
    # Whoever keeps a connection open and silent has answered all that it will.
    connection.settimeout(SILENCE_S)
    answer = b""
    try:
        connection.sendall(data)
        while more := connection.recv(65536):
            answer += more
    except OSError:
        pass  # it hung up, which is an answer too
    return answer


def works(proxy: Proxy) -> bool:
    with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
        return client.post(ENDPOINT, json=HELLO).status_code == 200


# Smuggling


@pytest.mark.parametrize("how", SMUGGLED)
def test_no_second_request_hides_in_a_first_one(how: str, proxy: Proxy) -> None:
    with through(proxy) as secure:
        # A last request of its own, after which the connection closes: whatever was hidden has been answered by then.
        answer = talk(secure, SMUGGLED[how] + LAST)
    assert b"The model 'hidden'" not in answer
    assert works(proxy)


@asynccontextmanager
async def origin() -> AsyncIterator[tuple[Server, list[str]]]:
    seen: list[str] = []

    async def handle(request: Request, exchange: Exchange) -> None:
        seen.append(f"{request.method} {request.path}")
        await exchange.respond(200, [], b"ok")

    async with Server(handle, read_timeout_s=0.2) as server:
        yield server, seen


@pytest.mark.anyio
@pytest.mark.parametrize("how", SMUGGLED)
async def test_the_origin_takes_one_request_for_one_request(how: str) -> None:
    async with origin() as (server, seen):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        writer.write(SMUGGLED[how])
        await writer.drain()
        # What follows it is one request more, which answers when all before it was taken for what it is.
        writer.write(LAST)
        async with asyncio.timeout(GUARD_S):
            await reader.read()
        writer.close()
    assert "GET /v1/models/hidden" not in seen


@pytest.mark.anyio
async def test_two_hundred_who_say_one_byte_and_nothing_more_are_shown_out() -> None:
    async with origin() as (server, seen):
        held = [await asyncio.open_connection(*server.addresses[0]) for _ in range(200)]
        for _, writer in held:
            writer.write(b"P")
        async with httpx.AsyncClient(timeout=GUARD_S) as client:
            host, port = server.addresses[0]
            assert (await client.get(f"http://{host}:{port}/")).status_code == 200
        answers = await asyncio.gather(*(reader.read() for reader, _ in held))
        for _, writer in held:
            writer.close()
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
    assert seen == ["GET /"]


# Where it leads


def origin_ports(proxy: Proxy) -> list[int]:
    """Return the loopback ports that the proxy's process listens on, besides its doors."""
    doors = {proxy.port, int(proxy.err.wait_for(r"OPENAI_BASE_URL=http://[\d.]+:(\d+)")[1])}
    return [port for port in processes.listening(proxy.process.pid) if port not in doors]


def test_the_origin_answers_nobody_but_its_own_proxy(proxy: Proxy) -> None:
    ports = origin_ports(proxy)
    assert ports
    for header in ({}, {TOKEN_HEADER: "guess"}, {TOKEN_HEADER: ""}, {"x-understudy-client": "127.0.0.1"}):
        with httpx.Client(timeout=GUARD_S) as client:
            direct = [client.get(f"http://127.0.0.1:{port}/v1/models", headers=header).status_code for port in ports]
        with httpx.Client(proxy=proxy.url, timeout=GUARD_S) as client:
            via = client.get(f"http://127.0.0.1:{ports[0]}/v1/models", headers=header).status_code
        assert {*direct, via} <= {400, 403}


def test_the_proxys_secret_goes_to_nobody(cloud: Cloud, home: Path, tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        env = clean_environment(home, cloud.base_url, SSL_CERT_FILE=str(site.authority))
        with (
            serve(env, "--host", "localhost", "--passthrough") as proxy,
            httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client,
        ):
            mine = {TOKEN_HEADER: "mine", "x-understudy-flow": "mine", "x-understudy-client": "10.0.0.1"}
            passed = client.post(f"https://localhost:{site.port}/v1/embeddings", json={"input": "x"}, headers=mine)
            answered = client.get(f"https://localhost:{site.port}/v1/models", headers=mine)
    assert passed.content == Site.ANSWER
    assert answered.status_code == 200
    assert TOKEN_HEADER not in {name.lower() for response in (passed, answered) for name in response.headers}


@pytest.mark.parametrize(
    ("sni", "host"),
    [(HOST, "example.com"), (HOST, "127.0.0.1:1"), (HOST, "understudy.local"), (HOST, f"{HOST}:444"), (HOST, "")],
)
def test_a_host_that_is_not_the_tunnels_leads_nowhere_else(sni: str, host: str, proxy: Proxy) -> None:
    with through(proxy, sni=sni) as secure:
        answer = talk(secure, f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    # The tunnel is ours, so we answer, or refuse; nobody else is asked.
    ours = (b'"object":"list"', b'"error"', b"HTTP/1.1 4", b"HTTP/1.1 502")
    assert answer == b"" or any(told in answer for told in ours)


# Sizes


@pytest.mark.parametrize(
    "head",
    [
        b"X-Long: " + b"a" * 200_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % n for n in range(10_000)),
        b"Cookie: " + b"a=b; " * 40_000 + b"\r\n",
    ],
    ids=["one long header", "ten thousand headers", "a long cookie"],
)
def test_a_head_that_is_too_large_is_refused(head: bytes, proxy: Proxy) -> None:
    with through(proxy) as secure:
        answer = talk(
            secure, b"GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nConnection: close\r\n" + head + b"\r\n"
        )
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert works(proxy)


def test_a_target_of_a_megabyte_is_refused(proxy: Proxy) -> None:
    with through(proxy) as secure:
        answer = talk(secure, b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert works(proxy)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"model": ' + b"9" * 1_000_000 + b"}",
        b'{"model": "x", "messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"model": "x", "messages": [], "n": 1e999999}',
        b"\xff\xfe\x00",
    ],
    ids=["brackets", "a number of a million digits", "depth", "infinity", "no text"],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/conversations"])
def test_a_body_that_is_a_trap_is_a_400(path: str, body: bytes, proxy: Proxy) -> None:
    with httpx.Client(proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S) as client:
        answer = client.post(f"https://{HOST}{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


# Logins


def test_each_of_many_wrong_keys_is_refused_and_no_refusal_tells_anything(cloud: Cloud, home: Path) -> None:
    env = clean_environment(home, cloud.base_url, UNDERSTUDY_SPARE_PROCESSES="0")
    make = [UNDERSTUDY, "keys", "make", "ann"]
    real = subprocess.run(make, env=env, capture_output=True, text=True, timeout=GUARD_S).stdout.strip()
    with serve(env, "--client-auth", "--base-url", "127.0.0.1:0") as proxy:
        base = proxy.err.wait_for(r"OPENAI_BASE_URL=(\S+)")[1]
        with httpx.Client(base_url=base, timeout=GUARD_S) as client:

            def ask(key: str) -> httpx.Response:
                return client.post("/chat/completions", json=HELLO, headers={"authorization": f"Bearer {key}"})

            half = range(sample(100, large=500))
            wrong = [real[:-8] + f"{n:08x}" for n in half] + [f"sk-nobody-{n}" for n in half]
            answers = [ask(key) for key in wrong]
            assert {answer.status_code for answer in answers} == {401}
            assert {answer.json()["error"]["code"] for answer in answers} == {"invalid_api_key"}
            shapes = {json.dumps({**answer.json()["error"], "message": ""}) for answer in answers}
            names = {tuple(sorted(answer.headers)) for answer in answers}
            assert len(shapes) == len(names) == 1
            assert cloud.turns == []
            assert ask(real).status_code == 200


LOGINS = [
    "Basic",
    "Basic !!!",
    "Basic " + base64.b64encode(b"no colon").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
    "Bearer x",
    "Basic " + "QQ==" * 10_000,
    "Negotiate abc",
]


def test_a_proxy_login_that_is_none_is_a_407(cloud: Cloud, home: Path) -> None:
    with serve(clean_environment(home, cloud.base_url, UNDERSTUDY_SPARE_PROCESSES="0"), "--client-auth") as proxy:
        for login in LOGINS:
            head = f"CONNECT {HOST}:443 HTTP/1.1\r\nProxy-Authorization: {login}\r\nConnection: close\r\n\r\n"
            with socket.create_connection((proxy.host, proxy.port), timeout=GUARD_S) as raw:
                raw.sendall(head.encode())
                assert raw.recv(65536).split()[1] == b"407", login[:20]


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example:8081"}],
    ids=["another site's page", "a page of nowhere", "a name that was made to point here"],
)
def test_a_web_page_cannot_use_the_base_url_door(headers: dict[str, str], proxy: Proxy, cloud: Cloud) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+/v1)")[1]
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]})

    posted = httpx.post(
        f"{door}/chat/completions", content=body, headers={"content-type": "text/plain", **headers}, timeout=30
    )
    with pytest.raises(InvalidStatus) as caught:
        websocket(headers, door)

    assert (posted.status_code, caught.value.response.status_code) == (403, 403)
    assert posted.json()["error"]["code"] == "forbidden"
    assert cloud.turns == []


def websocket(headers: dict[str, str], door: str) -> None:
    """Open a WebSocket as a page would."""
    host, port = door.removeprefix("http://").partition("/")[0].split(":")
    told = {name: value for name, value in headers.items() if name != "host"}
    # The name is in the address; where it points is another matter.
    url = f"ws://{headers.get('host', f'{host}:{port}')}/v1/responses"
    with open_websocket(url, address=(host, int(port)), additional_headers=told, proxy=None):
        pass


def test_a_page_of_this_machine_may_use_it_and_read_the_answer(proxy: Proxy, cloud: Cloud) -> None:
    door = proxy.err.wait_for(r"OPENAI_BASE_URL=(http://127\.0\.0\.1:\d+/v1)")[1]
    origin = {"origin": "http://localhost:3000"}
    wish = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    cloud.script(Reply(text="Aye."))

    asked = httpx.options(f"{door}/chat/completions", headers=wish, timeout=30)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.post(f"{door}/chat/completions", json=body, headers=origin, timeout=30)

    assert (asked.status_code, answer.status_code) == (204, 200)
    assert answer.headers["access-control-allow-origin"] == origin["origin"]
