"""Compressed request bodies are read as if they were not compressed, within the limit."""

import gzip
import json
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard

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


async def test_a_request_without_a_body_needs_no_known_encoding() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1/models", headers={"content-encoding": "compress"})

    assert answer.status_code == 200
