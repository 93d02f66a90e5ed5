"""The server, over real sockets."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from api.http.server import CRASHED, MAX_HELD_BYTES, Exchange, Request, Server

pytestmark = pytest.mark.anyio

PLAIN = [("content-type", "text/plain")]


def json_error(status: int, message: str) -> tuple[list[tuple[str, str]], bytes]:
    return [("content-type", "application/json")], f'{{"status":{status},"message":"{message}"}}'.encode()


async def echo(request: Request, exchange: Exchange) -> None:
    await exchange.respond(200, PLAIN, f"{request.method} {request.path} {request.query} ".encode() + request.body)


class Held:
    """A handler that starts a stream, then waits until released; it notes how it ended."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.disconnected = False

    async def __call__(self, request: Request, exchange: Exchange) -> None:
        try:
            await exchange.start(200, PLAIN)
            await exchange.send(b"first")
            self.running.set()
            await self.release.wait()
            await exchange.send(b"last")
            await exchange.finish()
        except asyncio.CancelledError:
            self.disconnected = exchange.disconnected
            self.cancelled.set()
            raise


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.addresses[0])
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


def url(server: Server, index: int = 0) -> str:
    host, port = server.addresses[index]
    return f"http://{host}:{port}"


async def read_to_the_end(reader: asyncio.StreamReader) -> None:
    """Read a chunked answer of any length, and keep nothing of it."""
    end = await reader.readuntil(b"\r\n\r\n")
    while not end.endswith(b"0\r\n\r\n"):
        piece = await reader.read(1 << 20)
        assert piece, "the stream was cut"
        end = (end + piece)[-16:]


async def read_response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one response that has a content-length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return head, await reader.readexactly(length)


async def test_a_whole_answer_has_a_length_and_the_request_arrives_as_sent() -> None:
    seen: list[Request] = []

    async def handler(request: Request, exchange: Exchange) -> None:
        seen.append(request)
        await echo(request, exchange)

    async with Server(handler) as server, httpx.AsyncClient() as client:
        answer = await client.post(
            f"{url(server)}/a%20b?x=1&y", headers=[(b"X-Name", "välue".encode("latin-1"))], content=b"body"
        )

    assert answer.text == "POST /a%20b x=1&y body"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert seen[0].header("x-name") == "välue"
    assert seen[0].header("missing") is None


async def test_every_port_answers() -> None:
    async with Server(echo, ports=3) as server, httpx.AsyncClient() as client:
        answers = [await client.get(f"{url(server, index)}/") for index in range(3)]

    assert len(set(server.addresses)) == 3
    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_the_first_port_can_be_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async with Server(echo, ports=2, port=port) as server:
        assert server.addresses[0] == ("127.0.0.1", port)
        assert server.addresses[1][1] not in (0, port)


async def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    async with Server(echo) as server:
        other = Server(echo, port=server.addresses[0][1])

        with pytest.raises(OSError, match="address already in use"):
            await other.__aenter__()


async def test_each_send_is_one_chunk_and_reaches_the_client_at_once() -> None:
    held = Held()
    async with Server(held) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readexactly(len(b"5\r\nfirst\r\n"))
        held.release.set()
        rest = await reader.readexactly(len(b"4\r\nlast\r\n0\r\n\r\n"))

    assert b"transfer-encoding: chunked" in head.lower()
    assert first == b"5\r\nfirst\r\n"
    assert rest == b"4\r\nlast\r\n0\r\n\r\n"


async def test_nagle_is_off() -> None:
    held = Held()
    async with Server(held) as server, connected(server) as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        transport = next(iter(server.connections))._transport
        nodelay = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    assert nodelay


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with Server(echo) as server, connected(server) as (reader, writer):
        for number in range(3):
            writer.write(f"GET /{number} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            _, body = await read_response(reader)

            assert body == f"GET /{number}  ".encode()


async def test_pipelined_requests_are_answered_in_order_and_are_no_disconnect() -> None:
    held = Held()
    order: list[str] = []

    async def handler(request: Request, exchange: Exchange) -> None:
        order.append(request.path)
        await (held(request, exchange) if request.path == "/1" else echo(request, exchange))

    async with Server(handler) as server, connected(server) as (reader, writer):
        writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        writer.write(b"GET /3 HTTP/1.1\r\nhost: x\r\n\r\n")
        held.release.set()
        await reader.readuntil(b"0\r\n\r\n")
        answers = [(await read_response(reader))[1] for _ in range(2)]

    assert order == ["/1", "/2", "/3"]
    assert answers == [b"GET /2  ", b"GET /3  "]
    assert not held.cancelled.is_set()


async def test_early_bytes_are_held_up_to_a_bound_and_not_lost() -> None:
    held = Held()

    async def handler(request: Request, exchange: Exchange) -> None:
        await (
            held(request, exchange)
            if request.path == "/1"
            else exchange.respond(200, PLAIN, str(len(request.body)).encode())
        )

    size = 40 * MAX_HELD_BYTES
    async with Server(handler) as server, connected(server) as (reader, writer):
        writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        connection = next(iter(server.connections))
        writer.write(f"POST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n".encode() + b"x" * size)
        while connection._transport.is_reading():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0)
        held_bytes = connection._held_bytes
        held.release.set()
        await reader.readuntil(b"0\r\n\r\n")
        _, body = await read_response(reader)

    assert MAX_HELD_BYTES < held_bytes < size
    assert body == str(size).encode()


async def test_http_1_0_is_answered_up_to_the_close() -> None:
    held = Held()
    held.release.set()
    async with Server(held) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()

    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\nfirstlast")


async def test_a_cut_answer_to_http_1_0_is_a_reset_because_its_close_would_be_a_clean_end() -> None:
    cut = asyncio.Event()

    async def handler(request: Request, exchange: Exchange) -> None:
        await exchange.start(200, PLAIN)
        await exchange.send(b"half")
        await cut.wait()
        exchange.abort()

    async with Server(handler) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"half")
        cut.set()

        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_connection_close_is_honoured() -> None:
    async with Server(echo) as server, connected(server) as (reader, writer):
        writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()

    assert answer.endswith(b"GET /1  ")


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on() -> None:
    async with Server(echo) as server, connected(server) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        interim = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"body")
        _, body = await read_response(reader)

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert body == b"POST /  body"


async def test_head_gets_the_length_and_no_body() -> None:
    held = Held()
    held.release.set()

    async def handler(request: Request, exchange: Exchange) -> None:
        await (held if request.path == "/stream" else echo)(request, exchange)

    async with Server(handler) as server, httpx.AsyncClient() as client:
        whole, stream = await client.head(f"{url(server)}/whole"), await client.head(f"{url(server)}/stream")

    assert whole.headers["content-length"] == str(len("HEAD /whole  "))
    assert (whole.content, stream.content) == (b"", b"")


async def test_the_absolute_form_of_a_target_gives_path_and_query() -> None:
    async with Server(echo) as server, connected(server) as (reader, writer):
        for target in (b"http://api.example/v1?a=1", b"http://api.example"):
            writer.write(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        bodies = [(await read_response(reader))[1] for _ in range(2)]

    assert bodies == [b"GET /v1 a=1 ", b"GET /  "]


# What the server itself refuses.


@pytest.mark.parametrize(
    "garbage",
    [
        b"what is this\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=["no request line", "no header", "no host", "TLS", "no address"],
)
async def test_malformed_http_gets_400_in_the_given_shape_and_the_end(garbage: bytes) -> None:
    async with Server(echo, render_error=json_error) as server, connected(server) as (reader, writer):
        writer.write(garbage)
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'{"status":400,' in answer


async def test_a_head_without_end_is_refused() -> None:
    async with Server(echo) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 100_000)
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_body_too_large_by_its_own_word_is_refused_before_it_is_read() -> None:
    async with (
        Server(echo, max_body_bytes=100, render_error=json_error) as server,
        connected(server) as (reader, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\nexpect: 100-continue\r\n\r\n")
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 100 bytes" in answer


async def test_a_client_that_sends_a_large_body_first_still_reads_its_413() -> None:
    async with Server(echo, max_body_bytes=100, render_error=json_error) as server, httpx.AsyncClient() as client:
        answer = await client.post(url(server), content=b"x" * 30_000_000)

    assert answer.status_code == 413
    assert answer.json()["status"] == 413


async def test_a_chunked_body_is_refused_when_it_has_grown_too_large() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 100_000

    async with Server(echo, max_body_bytes=1_000_000, render_error=json_error) as server, httpx.AsyncClient() as client:
        answer = await client.post(url(server), content=body())

    assert answer.status_code == 413


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    async with Server(echo, max_body_bytes=100) as server, httpx.AsyncClient() as client:
        answer = await client.post(url(server), content=b"x" * 100)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "part",
    [b"GET / HTTP/1.1\r\nhost:", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbo"],
    ids=["a head", "a body"],
)
async def test_a_request_that_does_not_arrive_in_time_gets_408(part: bytes) -> None:
    async with Server(echo, read_timeout_s=0.01) as server, connected(server) as (reader, writer):
        writer.write(part)
        answer = await reader.read()

    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_and_a_running_handler_are_not_slow_requests() -> None:
    held = Held()
    async with Server(held, read_timeout_s=0.01) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        connection = next(iter(server.connections))
        during = connection._timer
        held.release.set()
        await reader.readuntil(b"0\r\n\r\n")
        after = connection._timer

    assert (during, after) == (None, None)


# A handler that fails.


async def test_a_crash_before_the_answer_is_a_500_with_a_fixed_text(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        raise ValueError("secret detail")

    async with Server(handler, render_error=json_error) as server, httpx.AsyncClient() as client:
        answers = [await client.get(url(server)) for _ in range(2)]

    assert [answer.json() for answer in answers] == [{"status": 500, "message": CRASHED}] * 2
    assert "secret detail" in caplog.text


async def test_a_handler_that_gives_no_answer_is_a_crash() -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        return

    async with Server(handler) as server, httpx.AsyncClient() as client:
        answer = await client.get(url(server))

    assert answer.status_code == 500


async def crash_in_a_stream(request: Request, exchange: Exchange) -> None:
    await exchange.start(200, PLAIN)
    await exchange.send(b"half")
    raise ValueError("secret detail")


async def stop_in_a_stream(request: Request, exchange: Exchange) -> None:
    await exchange.start(200, PLAIN)
    await exchange.send(b"half")


async def abort_a_stream(request: Request, exchange: Exchange) -> None:
    await exchange.start(200, PLAIN)
    await exchange.send(b"half")
    exchange.abort()


@pytest.mark.parametrize("handler", [crash_in_a_stream, stop_in_a_stream, abort_a_stream])
async def test_a_stream_that_is_not_finished_never_looks_finished(
    handler: Callable[[Request, Exchange], object],
) -> None:
    async with Server(handler) as server, httpx.AsyncClient() as client:  # type: ignore[arg-type]
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await client.get(url(server))


async def test_a_header_that_cannot_be_sent_is_a_crash_and_not_a_broken_answer() -> None:
    async def handler(request: Request, exchange: Exchange) -> None:
        await exchange.respond(200, [("x-bad", "a\r\nb")], b"")

    async with Server(handler) as server, httpx.AsyncClient() as client:
        answer = await client.get(url(server))

    assert answer.status_code == 500


# A client that leaves.


@pytest.mark.parametrize("leave", ["eof", "reset"])
async def test_the_handler_is_cancelled_when_the_client_leaves(leave: str) -> None:
    held = Held()
    async with Server(held) as server, connected(server) as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        if leave == "reset":
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await held.cancelled.wait()

    assert held.disconnected


async def test_a_client_that_leaves_in_the_middle_of_its_request_starts_nothing() -> None:
    started: list[Request] = []

    async def handler(request: Request, exchange: Exchange) -> None:
        started.append(request)

    async with Server(handler) as server:
        async with connected(server) as (_, writer):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
            while not server.connections:  # noqa: ASYNC110  (there is no event to wait for)
                await asyncio.sleep(0)
            (connection,) = server.connections
        await connection.closed

    assert not started


async def test_a_handler_that_tidies_up_after_its_answer_is_left_in_peace() -> None:
    gone, tidied = asyncio.Event(), asyncio.Event()

    async def handler(request: Request, exchange: Exchange) -> None:
        await exchange.respond(200, PLAIN, b"done")
        await gone.wait()
        tidied.set()

    async with asyncio.timeout(20), Server(handler) as server:
        async with connected(server) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await read_response(reader)
            (connection,) = server.connections
        await connection.closed
        gone.set()
        await tidied.wait()


async def test_writing_after_the_client_left_raises_connection_reset() -> None:
    raised = asyncio.Event()
    running = asyncio.Event()

    async def handler(request: Request, exchange: Exchange) -> None:
        await exchange.start(200, PLAIN)
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with pytest.raises(ConnectionResetError):
                await exchange.send(b"more")
            raised.set()
            raise

    async with Server(handler) as server:
        async with connected(server) as (_, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await running.wait()
        async with asyncio.timeout(20):
            await raised.wait()


async def test_send_waits_for_a_client_that_does_not_read_and_goes_on_when_it_does() -> None:
    waiting, done = asyncio.Event(), asyncio.Event()
    chunks = 400

    async def handler(request: Request, exchange: Exchange) -> None:
        await exchange.start(200, PLAIN)
        for _ in range(chunks):
            sending = asyncio.ensure_future(exchange.send(b"x" * 65536))
            await asyncio.sleep(0)
            if not sending.done():
                waiting.set()
            await sending
        await exchange.finish()
        done.set()

    async with Server(handler) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await waiting.wait()
        early = done.is_set()
        await read_to_the_end(reader)
        await done.wait()

    assert not early


async def test_one_of_several_waiting_writers_can_be_cancelled() -> None:
    waiting, done = asyncio.Event(), asyncio.Event()

    async def handler(request: Request, exchange: Exchange) -> None:
        await exchange.start(200, PLAIN)
        while True:
            beating = asyncio.ensure_future(exchange.send(b"x" * 65536))
            await asyncio.sleep(0)
            if not beating.done():
                break
        sending = asyncio.ensure_future(exchange.send(b"last"))
        await asyncio.sleep(0)
        beating.cancel()
        waiting.set()
        await sending
        await exchange.finish()
        done.set()

    async with Server(handler) as server, connected(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await waiting.wait()
        await read_to_the_end(reader)
        await done.wait()


# The end.


async def test_closing_cancels_handlers_and_leaves_no_task_behind() -> None:
    held = Held()
    before = asyncio.all_tasks()
    server = await Server(held).__aenter__()
    async with connected(server) as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        names = {task.get_name() for task in asyncio.all_tasks() - before}
        await server.aclose()
        rest = await reader.read()

    assert "GET /slow" in names
    assert held.cancelled.is_set()
    assert not held.disconnected
    assert asyncio.all_tasks() == before
    assert not server.connections
    assert not rest.endswith(b"0\r\n\r\n")


async def test_closing_with_time_to_drain_lets_an_answer_end() -> None:
    held = Held()
    server = await Server(held, drain_s=20).__aenter__()
    async with connected(server) as (reader, writer), connected(server) as (idle, _):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await held.running.wait()
        closing = asyncio.create_task(server.__aexit__(None, None, None))
        dropped = await idle.read()
        held.release.set()
        answer = await reader.read()
        writer.close()
        await closing

    assert dropped == b""
    assert answer.endswith(b"4\r\nlast\r\n0\r\n\r\n")


async def test_nothing_is_logged_when_all_goes_well_or_the_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    held = Held()
    with caplog.at_level(logging.DEBUG, "api.http.server"):
        async with Server(held) as server, connected(server) as (_, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await held.running.wait()
            writer.transport.abort()
            await held.cancelled.wait()

    assert [record for record in caplog.records if record.name == "api.http.server"] == []
