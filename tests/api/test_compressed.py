"""Compressed request bodies are read as if they were not compressed, within the limit."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import brotli  # type: ignore[import-untyped]
import httpx
import pytest
import zstandard

from api.access import Access
from auth.keys.budgets import Budgets
from auth.keys.clients import Clients
from storage.database import Database
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
        ("gzip, zstd", lambda body: zstandard.compress(gzip.compress(body))),
    ],
)
async def test_a_compressed_body_is_read(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    engine = Scripted([START, *text("Hello."), END])
    async with client(engine) as http:
        answer = await http.post(CHAT, content=pack(BODY), headers={"content-encoding": encoding})

    assert answer.status_code == 200
    assert engine.turns[0].messages[0].content == ({"type": "text", "text": "Hi"},)


async def test_an_unknown_encoding_is_415_and_the_known_ones_are_listed() -> None:
    async with client(Scripted()) as http:
        answer = await http.post(CHAT, content=BODY, headers={"content-encoding": "compress"})

    error = answer.json()["error"]
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert (error["type"], error["code"]) == ("invalid_request_error", "unsupported_content_encoding")
    assert "'compress'" in error["message"]


async def test_a_body_that_is_not_so_compressed_is_400_and_says_so() -> None:
    async with client(Scripted()) as http:
        answer = await http.post(CHAT, content=BODY, headers={"content-encoding": "gzip"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_content_encoding")


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
async def test_a_small_body_that_becomes_a_large_one_is_413(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b" " * 10_000_000 + BODY)
    async with client(Scripted(), max_message_bytes=100_000) as http:
        answer = await http.post(CHAT, content=bomb, headers={"content-encoding": encoding})

    assert len(bomb) < 100_000
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


LARGE = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "a" * 200_000}]}).encode()
ANSWER = [START, *text("Hello."), END]


async def post(http: httpx.AsyncClient, key: str = "any") -> httpx.Response:
    headers = {"content-encoding": "gzip", "authorization": f"Bearer {key}"}
    return await http.post(CHAT, content=gzip.compress(LARGE), headers=headers)


class Gate(asyncio.Event):
    """A place in a script that tells when a turn has come to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        return await super().wait()


async def test_decompressed_bodies_count_together_until_their_requests_are_answered() -> None:
    go_on = Gate()
    engine = Scripted([START, go_on, *ANSWER[1:]], ANSWER)
    async with client(engine, max_bodies_bytes=300_000) as http:
        first = asyncio.create_task(post(http))
        await go_on.reached.wait()
        refused = await post(http)
        plain = await http.get("/v1/models")
        go_on.set()
        answered = await first
        again = await post(http)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert (refused.json()["error"]["type"], "max_bodies_mb" in refused.text) == ("server_error", True)
    assert [one.status_code for one in (plain, answered, again)] == [200, 200, 200]


async def test_a_key_has_a_share_of_all_decompressed_bodies(tmp_path: Path) -> None:
    go_on = Gate()
    engine = Scripted([START, go_on, *ANSWER[1:]], ANSWER)
    with Database.open(tmp_path / "keys.db") as database:
        clients = Clients(database)
        ann, bob = clients.make("ann"), clients.make("bob")
        async with (
            Budgets(database) as budgets,
            client(engine, max_bodies_bytes=650_000, access=Access(clients, budgets)) as http,
        ):
            first = asyncio.create_task(post(http, ann))
            await go_on.reached.wait()
            refused, others = await post(http, ann), await post(http, bob)
            go_on.set()
            answered = await first

    assert (refused.status_code, "its share" in refused.text) == (503, True)
    assert [one.status_code for one in (others, answered)] == [200, 200]


async def test_a_request_without_a_body_needs_no_known_encoding() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1/models", headers={"content-encoding": "compress"})

    assert answer.status_code == 200
