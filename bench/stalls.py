"""Measures how long an innocent stream stalls while another client attacks the proxy.

A stream with pieces 5 ms apart goes through the proxy, again and again. The longest time between two pieces is the
result. At the same time an equal stream goes to the simulated API directly. If that one stalls too, the machine is the
cause, because the attackers also use its processors. The attackers run in their own process.
"""

import asyncio
import contextlib
import http.client
import itertools
import json
import multiprocessing
import socket
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import anthropic
import openai

from bench.first_token import UNDERSTUDY, clean, line, program, proxy_at, rehearsal
from bench.load import Place, ask
from bench.stand import free_ports
from tests.attacks.test_image_bombs_are_bounded import bomb
from tests.attacks.test_websocket_messages_are_bounded import CONTINUATION, TEXT, frame
from tests.attacks.victim import MIB, chunk, flood, head_on

PIECES = 600
PROMPT = f"Count, please. [{PIECES} deltas, 0.005 s apart]"
AT_LEAST_S = 3.0
"""The stream is measured at least this long for each attack, even if the attack ends at once."""
AT_MOST_S = 60.0
"""An attack that takes longer is stopped."""
IDLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Target:
    """The attacked base-URL door, and a valid key for it."""

    port: int
    key: str

    def open(self) -> socket.socket:
        """Connect to the door."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=AT_MOST_S)

    def head(self, *lines: str, request: str = "POST /v1/chat/completions", key: bool = True) -> bytes:
        """Return the head of a request."""
        login = [f"Authorization: Bearer {self.key}"] if key else []
        return "\r\n".join([f"{request} HTTP/1.1", "Host: localhost", *lines, *login, "", ""]).encode()

    def post(self, body: bytes) -> int:
        """Request a chat completion with the key. Return the status, or 0 if there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=AT_MOST_S)
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        return 0


def chat(*messages: object, **fields: object) -> bytes:
    """Return the body of a request for a short answer."""
    return json.dumps({"model": "gpt-4o-mini", "messages": messages, "max_tokens": 20, **fields}).encode()


def user(content: object) -> dict[str, object]:
    """Return a user message."""
    return {"role": "user", "content": content}


def nothing(_: Target) -> None:
    """Do not attack."""


def keyless_bodies(to: Target) -> None:
    """Send 64 MiB without a key, once with Content-Length and once chunked."""
    for framing, piece in (
        (f"Content-Length: {64 * MIB}", b"a" * MIB),
        ("Transfer-Encoding: chunked", chunk(b"a" * MIB)),
    ):
        with contextlib.suppress(OSError), to.open() as connection:
            connection.sendall(to.head(framing, key=False))
            flood(connection, piece, 64 * MIB)


def quadratic_prompt(to: Target) -> None:
    """Send 256 KiB to record. A backtracking pattern would take a minute for them."""
    to.post(chat(user("-eyJ" * (64 * 1024) + " [2 deltas, 0 s apart]")))


def image_bombs(to: Target) -> None:
    """Send twelve images at once that unpack to 137 MiB each, and then twelve that would unpack to 337 MiB."""
    for side in (6000, 9400):
        body = chat(user([{"type": "image_url", "image_url": {"url": bomb(side)}}]))
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(to.post, [body] * 12))


def idle_connections(to: Target) -> None:
    """Open a thousand connections, and send nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            with contextlib.suppress(OSError):
                stack.enter_context(to.open())
        time.sleep(IDLE_S)


def websocket_fragments(to: Target) -> None:
    """Send 300,000 fragments of one byte in one message, and a megabyte of frames in large ones."""
    upgrade = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: " + "A" * 22 + "==",
               "Sec-WebSocket-Version: 13")  # fmt: skip
    for size, count in ((1, 10_000), (65536, 16)):
        with contextlib.suppress(OSError), to.open() as opened:
            opened.sendall(to.head(*upgrade, request="GET /v1/responses"))
            head_on(opened)
            opened.sendall(frame(TEXT, 1, last=False) + b"a")
            piece = (frame(CONTINUATION, size, last=False) + b"a" * size) * count
            flood(opened, piece, 30 * len(piece))


def small_messages(to: Target) -> None:
    """Send ten MiB of messages to record, of 64 bytes each."""
    each = user("a" * 30)
    count = 10 * MIB // len(json.dumps(each))
    to.post(chat(*[each] * count, user("[2 deltas, 0 s apart]")))


def deep_json(to: Target) -> None:
    """Send deeply nested JSON: a schema with 5,000 levels, and 1,000,000 brackets."""
    schema = '{"type":"object","properties":{"a":' * 5000 + "{}" + "}}" * 5000
    tools = f'[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]'.encode()
    to.post(chat(user("[2 deltas, 0 s apart]"))[:-1] + b', "tools": ' + tools + b"}")
    to.post(b'{"model":' + b"[" * 1_000_000)


def not_found(to: Target) -> None:
    """Cause long log lines: each of four connections asks for a thousand unknown paths of one KiB."""

    def ask_on(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", to.port, timeout=AT_MOST_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            for each in range(256):
                path = f"/v1/{number}-{each}-".ljust(1024, "x")
                connection.request("GET", path, headers={"authorization": f"Bearer {to.key}"})
                connection.getresponse().read()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask_on, range(4)))


ATTACKS: dict[str, Callable[[Target], None]] = {
    "none": nothing,
    "64 MiB bodies without a key": keyless_bodies,
    "256 KiB of -eyJ, recorded": quadratic_prompt,
    "image bombs, 2 × 12 at once": image_bombs,
    "1,000 idle connections": idle_connections,
    "WebSocket fragments": websocket_fragments,
    "10 MiB of small messages, recorded": small_messages,
    "deep JSON": deep_json,
    "1 MiB of 404s in the log": not_found,
    "none, again": nothing,
}


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest times between two pieces during an attack, in ms: through the proxy, and from the API directly.

    ``failed`` is the number of innocent streams that failed. ``over`` is False if the attack had to be stopped.
    """

    attack: str
    proxy_ms: float
    direct_ms: float
    failed: int
    attack_s: float
    over: bool


async def measure(names: Sequence[str] = tuple(ATTACKS)) -> list[Stall]:
    """Run each attack once, together with the innocent streams."""
    attackers = multiprocessing.get_context("spawn")
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-bench-")))
        api, base_url = await stack.enter_async_context(rehearsal(clean(home / "api")))
        environment = clean(home / "proxy") | {
            "ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal", "UNDERSTUDY_CLIENT_AUTH": "1",
        }  # fmt: skip
        innocent, hostile = [await made_key(environment, name) for name in ("innocent", "hostile")]
        (port,) = free_ports(1)
        options = ("--base-url", f"127.0.0.1:{port}", "--record", str(home / "cassette.jsonl"))
        proxy, _ = await stack.enter_async_context(proxy_at(environment, *options))
        through = openai.AsyncOpenAI(api_key=innocent, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
        direct = anthropic.AsyncAnthropic(base_url=base_url, api_key="rehearsal", max_retries=0)
        place = Place(proxy, await stack.enter_async_context(through), await stack.enter_async_context(direct), {}, {})
        reading = asyncio.create_task(drained(api))
        try:
            await ask(place, "warm up [2 deltas, 0.01 s apart]")
            return [await beside(name, place, Target(port, hostile), attackers) for name in names]
        finally:
            reading.cancel()


async def beside(name: str, place: Place, target: Target, context: SpawnContext) -> Stall:
    """Run an attack, and measure the innocent streams until the attack and the streams have ended."""
    attacker = context.Process(target=ATTACKS[name], args=(target,), name=name)
    began = time.monotonic()
    attacker.start()
    watching = [asyncio.create_task(longest_gap(place, direct, attacker, began)) for direct in (False, True)]
    try:
        await asyncio.to_thread(attacker.join, AT_MOST_S)
        attack_s, over = time.monotonic() - began, not attacker.is_alive()
        attacker.kill()
        (proxy, failed), (direct, _) = await asyncio.gather(*watching)
    finally:
        attacker.kill()
        attacker.join()
    return Stall(name, proxy * 1000, direct * 1000, failed, attack_s, over)


async def longest_gap(place: Place, direct: bool, attacker: BaseProcess, began: float) -> tuple[float, int]:
    """Request streams during the attack. Return the longest time between two pieces, and the number of failures."""
    longest, failed = 0.0, 0
    while attacker.is_alive() or time.monotonic() - began < AT_LEAST_S:
        try:
            _, pieces = await ask(place, PROMPT, direct=direct)
        except (openai.APIError, anthropic.APIError):
            failed += 1
            await asyncio.sleep(0.1)
        else:
            longest = max([longest, *(later - earlier for (earlier, _), (later, _) in itertools.pairwise(pieces))])
    return longest, failed


async def made_key(environment: Mapping[str, str], name: str) -> str:
    """Make a key for the proxy, and return it."""
    command = [UNDERSTUDY, "keys", "make", name]
    async with program(command, environment, Path(environment["HOME"]), stdout=PIPE) as process:
        return await line(process)


async def drained(api: Process) -> None:
    """Read the output of the API, so that its pipe never fills."""
    while True:
        await line(api)
