"""One request a turn: Claude Code's own network goes through the valve. The real CLI against the simulated API."""

import asyncio
import base64
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.destinations import destinations
from engine.errors import ClaudeError
from engine.pool import Pool
from engine.process import ClaudeProcess
from engine.spawn import Hosts, Spawn
from engine.valve import QUIET_AFTER_ANSWER_S, Gate, UntilRead, Valve
from rehearsal import Reply
from rehearsal.reply import ToolCall
from rehearsal.server import Rehearsal
from tests.end_to_end.site import certify
from tests.engine.around_the_valve import company_proxy, serving, tls_before
from tests.engine.test_facts import GUARD_S, bare, said, text, turn
from tests.engine.test_pool import at_rest, finish

pytestmark = pytest.mark.anyio

# After each of these Claude Code asks again by itself.
ASKED_AGAIN = (
    Reply(text="cut short", stop_reason="max_tokens"),
    Reply(text="so", stop_reason="model_context_window_exceeded"),
    Reply(text=""),
    Reply(text="  \n"),
    Reply(text="", stop_reason="refusal"),
    Reply(text="Well, ", stop_reason="refusal"),
)
LARGE = os.environ.get("UNDERSTUDY_TESTS") == "large"


def over(spawn: Spawn, **env: str) -> Spawn:
    return replace(spawn, env={**spawn.env, **env})


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep the machine busy. The loops end by themselves after two minutes at most."""
    loop = "import time\nuntil = time.monotonic() + 120\nwhile time.monotonic() < until: pass"
    started = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


async def test_f109_what_claude_code_asks_by_itself_does_not_leave_and_the_process_lives_on(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        await finish(pool, turn("Hello"))
        for reply in ASKED_AGAIN:
            rehearsal.script(reply)
            assert await finish(pool, turn("Hello")) == "reused"
            await at_rest(pool)
        assert await finish(pool, turn("Hello")) == "reused"
        valve = pool.status()["valve"]

    assert [bare(asked.body) for asked in rehearsal.turns] == [[("user", [text("Hello")])]] * 8
    assert valve["requests"] == 8
    assert valve["refused"] == {}


async def test_f109_the_second_request_waits_at_the_gate_and_an_interrupt_ends_the_turn(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    rehearsal.script(ASKED_AGAIN[0], Reply(text="one"))

    async with asyncio.timeout(GUARD_S), Valve() as valve:
        process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S, valve=valve)
        try:
            await process.start()
            [_ async for _ in process.play(turn("Hello"))]
            while not valve.counts["held"]:  # noqa: ASYNC110 - the valve tells nobody
                await asyncio.sleep(0.01)
            await process.settle("haiku")
            events = [dict(event) async for event in process.play(turn("Hello"))]
        finally:
            await process.stop()

    assert said(events) == "one"
    assert [bare(asked.body) for asked in rehearsal.turns] == [[("user", [text("Hello")])]] * 2


async def test_f109_the_same_over_tls_where_a_connection_is_used_again(
    rehearsal: Rehearsal, spawn: Spawn, tmp_path: Path
) -> None:
    certified = certify(tmp_path / "tls")
    connections: list[asyncio.StreamWriter] = []
    async with tls_before(rehearsal.base_url, certified, connections) as url, asyncio.timeout(GUARD_S):
        trusting = over(spawn, ANTHROPIC_BASE_URL=url, NODE_EXTRA_CA_CERTS=str(certified.authority))
        async with Pool(trusting, spare=0) as pool:
            for reply in (Reply(text="one"), *ASKED_AGAIN, Reply(text="two")):
                rehearsal.script(reply)
                await finish(pool, turn("Hello"))
                await at_rest(pool)
            valve = pool.status()["valve"]

    assert [bare(asked.body) for asked in rehearsal.turns] == [[("user", [text("Hello")])]] * 8
    assert valve["requests"] == 8
    # The same connection is used until a turn is interrupted.
    assert len(connections) < 8


async def test_f40_to_f44_a_saturated_machine_sends_one_request_for_each_turn(
    rehearsal: Rehearsal, spawn: Spawn
) -> None:
    turns = 48 if LARGE else 12
    with busy(10):
        async with asyncio.timeout(3 * GUARD_S), Pool(spawn, spare=0, limit=2) as pool:

            async def ask(number: int) -> None:
                async with pool.run(turn(f"Hello {number}", client=f"client {number % 2}")) as running:
                    [_ async for _ in running]

            rehearsal.script(*(ASKED_AGAIN[n % len(ASKED_AGAIN)] for n in range(turns)))
            for number in range(0, turns, 2):
                await asyncio.gather(ask(number), ask(number + 1))

    assert len(rehearsal.turns) == turns


async def test_a_long_request_passes_in_many_pieces(rehearsal: Rehearsal, spawn: Spawn, tmp_path: Path) -> None:
    certified = certify(tmp_path / "tls")
    long = "word " * 600_000
    async with tls_before(rehearsal.base_url, certified) as url, asyncio.timeout(GUARD_S):
        trusting = over(spawn, ANTHROPIC_BASE_URL=url, NODE_EXTRA_CA_CERTS=str(certified.authority))
        async with Pool(trusting, spare=0) as pool:
            await finish(pool, turn(long))

    ((_, (block,)),) = bare(rehearsal.turns[0].body)
    assert block["text"] == long


async def test_an_error_that_claude_code_asks_about_again_is_told(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        rehearsal.script(Reply(status=404), Reply(status=404))
        with pytest.raises(ClaudeError) as caught:
            await finish(pool, turn("Hello"))
        await finish(pool, turn("Hello"))

    assert caught.value.kind == "not_found_error"


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_an_interrupted_turn_leaves_nothing_that_flows(
    tls: bool, rehearsal: Rehearsal, spawn: Spawn, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    rehearsal.script(Reply(text="one two three", gates={1: gate}))
    certified = certify(tmp_path / "tls")

    async with tls_before(rehearsal.base_url, certified) as secure, asyncio.timeout(GUARD_S):
        url = secure if tls else rehearsal.base_url
        trusting = over(spawn, ANTHROPIC_BASE_URL=url, NODE_EXTRA_CA_CERTS=str(certified.authority))
        async with Pool(trusting, spare=0) as pool:
            async with pool.run(turn("Count.")) as running:
                async for event in running:
                    if event["type"] == "content_block_delta":
                        break
            await rehearsal.turns[0].disconnected.wait()
            await at_rest(pool)
            # What the valve says of the closed connection comes later than this.
            await asyncio.sleep(2 * QUIET_AFTER_ANSWER_S)
            async with pool.run(turn("Hello")) as running:
                events = [dict(event) async for event in running]

    assert said(events)
    assert running.process == "reused"
    asked = [bare(asked.body)[-1] for asked in rehearsal.turns]
    assert asked == [("user", [text("Count.")]), ("user", [text("Hello")])]


async def test_parked_calls_go_on_in_the_same_process(rehearsal: Rehearsal, spawn: Spawn) -> None:
    tool = {"name": "get", "input_schema": {"type": "object"}}
    call = ToolCall("get", input_json="{}")
    rehearsal.script(Reply(tool_calls=(call,)), Reply(text="Done."))

    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        async with pool.run(turn("Hello", tools=(tool,))) as running:
            events = [dict(event) async for event in running]
        use: Any = next(e["content_block"] for e in events if e["type"] == "content_block_start")
        await at_rest(pool)
        asked = turn("Hello", tools=(tool,))
        told: Any = (
            *asked.messages,
            replace(asked.messages[0], role="assistant", content=({**use, "input": {}},)),
            replace(
                asked.messages[0],
                content=({"type": "tool_result", "tool_use_id": use["id"], "content": [text("it")]},),
            ),
        )
        how = await finish(pool, replace(asked, messages=told))

    assert how == "continued"
    assert len(rehearsal.turns) == 2


async def test_hosts_that_are_not_the_apis_are_refused_counted_and_named_once(
    rehearsal: Rehearsal, spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = replace(spawn, hosts=Hosts(("api.test:443",)))

    async with asyncio.timeout(GUARD_S), Pool(elsewhere, spare=0) as pool:
        with pytest.raises(ClaudeError):
            await finish(pool, turn("Hello"))
        with pytest.raises(ClaudeError):
            await finish(pool, turn("Hello"))
        refused = pool.status()["valve"]["refused"]

    name = rehearsal.base_url.removeprefix("http://")
    assert rehearsal.turns == []
    assert set(refused) == {name} and refused[name] >= 2
    assert sum(name in record.getMessage() and "claude_hosts" in record.getMessage() for record in caplog.records) == 1


LOGIN = "Basic bmFtZTpwQHNz"


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_the_proxy_of_a_company_is_gone_through_with_its_login(
    tls: bool, proxy_tls: bool, rehearsal: Rehearsal, spawn: Spawn, tmp_path: Path
) -> None:
    certified = certify(tmp_path / "tls")
    async with (
        asyncio.timeout(GUARD_S),
        tls_before(rehearsal.base_url, certified) as secure,
        company_proxy("name:p%40ss", LOGIN, certified if proxy_tls else None) as company,
    ):
        url = secure if tls else rehearsal.base_url
        proxies = {"HTTPS_PROXY": company.url, "HTTP_PROXY": company.url}
        behind = over(spawn, ANTHROPIC_BASE_URL=url, NODE_EXTRA_CA_CERTS=str(certified.authority), **proxies)
        async with Pool(behind, spare=0) as pool:
            await finish(pool, turn("Hello"))
            await finish(pool, turn("Hello"))

    assert len(rehearsal.turns) == 2
    assert company.asked and all(
        line.startswith("CONNECT localhost:" if tls else "POST http://127.0.0.1:") for line in company.asked
    )


async def test_hosts_in_no_proxy_are_reached_directly(rehearsal: Rehearsal, spawn: Spawn) -> None:
    behind = over(spawn, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1")

    async with asyncio.timeout(GUARD_S), Pool(behind, spare=0) as pool:
        await finish(pool, turn("Hello"))

    (asked,) = rehearsal.turns
    assert asked.path == "/v1/messages"
    assert not [name for name, _ in asked.headers if name.startswith("proxy-")]


async def test_a_proxy_that_refuses_is_a_failed_connection(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), company_proxy("name:wrong", LOGIN) as company:
        behind = over(spawn, ANTHROPIC_BASE_URL="https://api.test", HTTPS_PROXY=company.url)
        async with Pool(behind, spare=0) as pool:
            with pytest.raises(ClaudeError) as caught:
                await finish(pool, turn("Hello"))

    assert caught.value.kind == "connection_error"


async def test_a_proxy_that_the_valve_cannot_use_is_left_to_claude_code(
    rehearsal: Rehearsal, spawn: Spawn, caplog: pytest.LogCaptureFixture
) -> None:
    behind = over(spawn, HTTP_PROXY="socks5://127.0.0.1:9", NO_PROXY="127.0.0.1", HTTPS_PROXY="socks5://127.0.0.1:9")
    named = replace(behind, hosts=Hosts(("api.test:443",)))

    async with asyncio.timeout(GUARD_S), Pool(named, spare=0) as pool:
        rehearsal.script(ASKED_AGAIN[0])
        await finish(pool, turn("Hello"))
        requests = pool.status()["valve"]["requests"]

    assert requests == 0
    assert any("goes without the valve" in record.getMessage() for record in caplog.records)


async def test_a_valve_that_has_ended_fails_the_turn(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        await pool._valve.__aexit__()
        with pytest.raises(ClaudeError) as caught:
            await finish(pool, turn("Hello"))

    assert caught.value.kind == "connection_error"
    assert rehearsal.turns == []


async def test_without_the_valve_the_process_is_killed_at_the_stop_reason(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(ASKED_AGAIN[0])
    process = ClaudeProcess(spawn, idle_timeout_s=GUARD_S)
    try:
        async with asyncio.timeout(GUARD_S):
            await process.start()
            [_ async for _ in process.play(turn("Hello"))]

            assert not process.alive
            with pytest.raises(ClaudeError):
                await process.settle("haiku")
    finally:
        await process.stop()


async def test_a_process_that_offers_http_2_is_not_held(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certified = certify(tmp_path / "tls")
    client = ssl.create_default_context(cafile=str(certified.authority))
    client.set_alpn_protocols(["h2", "http/1.1"])

    async with (
        asyncio.timeout(GUARD_S),
        serving(_say_hello, certified) as port,
        through_the_valve(port) as (gate, reader, writer),
    ):
        gate.open()
        await writer.start_tls(client, server_hostname="localhost")
        writer.write(b"asked")
        hello = await reader.readexactly(5)
        gate.shut()
        writer.write(b"again")
        again = await reader.readexactly(5)
        writer.close()

    assert (hello, again, gate.holds) == (b"asked", b"again", False)
    assert sum("HTTP/2" in record.getMessage() for record in caplog.records) == 1


async def test_what_is_held_is_thrown_away_when_the_next_turn_opens_the_gate() -> None:
    held = asyncio.Event()
    async with asyncio.timeout(GUARD_S), serving(_say_hello) as port, through_the_valve(port, held) as ends:
        gate, reader, writer = ends
        gate.open()
        writer.write(b"asked")
        hello = await reader.readexactly(5)
        gate.shut()
        writer.write(b"again")
        await held.wait()
        gate.open()
        rest = b""
        with suppress(ConnectionResetError):
            rest = await reader.read()

    assert (hello, rest) == (b"asked", b"")


async def test_what_waits_for_a_report_does_not_leave_in_the_next_turn() -> None:
    received, reports = bytearray(), asyncio.Event()

    async def until_read(_: float) -> bool:
        return await reports.wait()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            received.extend(data)
            writer.write(b"answer")

    async with (
        asyncio.timeout(GUARD_S),
        serving(answer) as port,
        through_the_valve(port, until_read=until_read) as (gate, reader, writer),
    ):
        gate.open()
        writer.write(b"asked")
        await reader.readexactly(6)
        writer.write(b"again")
        await asyncio.sleep(0.05)
        gate.shut()
        gate.open()
        reports.set()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""

    assert bytes(received) == b"asked"


async def test_the_end_of_a_tls_connection_is_not_a_request(tmp_path: Path) -> None:
    certified = certify(tmp_path / "tls")
    client = ssl.create_default_context(cafile=str(certified.authority))
    held = asyncio.Event()

    async with (
        asyncio.timeout(GUARD_S),
        serving(_say_hello, certified) as port,
        through_the_valve(port, held) as (gate, reader, writer),
    ):
        gate.open()
        await writer.start_tls(client, server_hostname="localhost")
        writer.write(b"asked" * 100)
        await reader.readexactly(500)
        gate.shut()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    assert not held.is_set()


async def test_a_request_beside_a_living_answer_is_held_and_the_answer_goes_on() -> None:
    held = asyncio.Event()
    async with (
        asyncio.timeout(GUARD_S),
        serving(_say_hello) as port,
        through_the_valve(port, held) as (gate, reader, writer),
        another_connection(gate, port) as (beside_reader, beside),
    ):
        gate.open()
        writer.write(b"asked")
        await reader.readexactly(5)
        gate.shut()
        beside.write(b"beside")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await beside_reader.read()

    assert not held.is_set()


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".test"])
async def test_a_name_that_cannot_be_resolved_is_a_failed_connection(name: str) -> None:
    async with asyncio.timeout(GUARD_S), Valve() as valve:
        gate = valve.gate(destinations({}, Hosts(("*",))), _at_once, lambda: None)
        reader, writer = await _connect(valve, gate, name, 443)
        assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
        writer.close()


async def test_a_name_is_reached_by_the_first_of_its_addresses_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, stream = asyncio.get_running_loop(), socket.SOCK_STREAM

    async def addresses(host: str, port: int, **_: Any) -> list[Any]:
        # Nothing listens on 127.0.0.2.
        found = ["127.0.0.2", "127.0.0.1"] if host == "api.test" else [host]
        return [(socket.AF_INET, stream, 6, "", (address, port)) for address in found]

    async with asyncio.timeout(GUARD_S), serving(_say_hello) as port, Valve() as valve:
        monkeypatch.setattr(loop, "getaddrinfo", addresses)
        gate = valve.gate(destinations({}, Hosts(("*",))), _at_once, lambda: None)
        reader, writer = await _connect(valve, gate, "api.test", port)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_valve_that_ends_closes_connections_that_have_sent_nothing() -> None:
    async with asyncio.timeout(GUARD_S):
        async with Valve() as valve:
            reader, writer = await asyncio.open_connection("127.0.0.1", valve.port)
            while not valve.connections:  # noqa: ASYNC110 - the valve tells nobody
                await asyncio.sleep(0.01)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def _at_once(_: float) -> bool:
    await asyncio.sleep(0)
    return True


async def _connect(valve: Valve, gate: Gate, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask the valve for a tunnel, as the process of a gate does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", valve.port)
    login = base64.b64encode(f"{gate.token}:x".encode()).decode()
    writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nProxy-Authorization: Basic {login}\r\n\r\n".encode())
    return reader, writer


@asynccontextmanager
async def another_connection(gate: Gate, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a further tunnel for the process of a gate."""
    reader, writer = await _connect(gate._valve, gate, "localhost", port)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _say_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes."""
    while data := await reader.read(65536):
        writer.write(data)


@asynccontextmanager
async def through_the_valve(
    port: int, held: asyncio.Event | None = None, until_read: UntilRead = _at_once
) -> AsyncIterator[tuple[Gate, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to a server through a valve, as a process does."""
    async with Valve() as valve:
        gate = valve.gate(
            destinations({}, Hosts((f"localhost:{port}",))), until_read, held.set if held else lambda: None
        )
        async with another_connection(gate, port) as (reader, writer):
            yield gate, reader, writer


async def test_the_valve_serves_only_its_own_processes(rehearsal: Rehearsal, spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        answers = []
        for login in (b"", b"Proxy-Authorization: Basic Zm9yZWlnbjp4\r\n", b"Proxy-Authorization: \xff\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", pool._valve.port)
            writer.write(b"CONNECT api.test:443 HTTP/1.1\r\n" + login + b"\r\n")
            answers.append(await reader.read())
            writer.close()

    assert all(answer.startswith(b"HTTP/1.1 407 ") for answer in answers)


async def test_a_request_that_cannot_be_read_is_refused(spawn: Spawn) -> None:
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool:
        answers = []
        for line in (b"nonsense", b"GET /path HTTP/1.1", b"GET ftp://host/ HTTP/1.1", b"CONNECT host:port HTTP/1.1"):
            reader, writer = await asyncio.open_connection("127.0.0.1", pool._valve.port)
            writer.write(line + b"\r\n\r\n")
            answers.append(await reader.read())
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", pool._valve.port)
        writer.write(b"x" * 100_000)
        try:
            long = await reader.read()
        except ConnectionResetError:
            long = b""
        writer.close()

    assert all(answer.startswith(b"HTTP/1.1 400 ") for answer in answers)
    assert long == b""


async def test_an_api_that_is_slow_to_read_slows_the_process_down() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()
    received = 0

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await asked.wait()
        while data := await reader.read(65536):
            received += len(data)
            if received == size:
                ended.set()

    size = 64 * 1024 * 1024
    async with asyncio.timeout(GUARD_S), serving(read_late) as port, through_the_valve(port) as (_, _reader, writer):
        writer.write(bytes(size))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await writer.drain()
        asked.set()
        await writer.drain()
        await ended.wait()

    assert received == size
