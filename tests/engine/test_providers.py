"""Each source of credentials, through the real CLI: what the API received, and nothing that it should not have.

The clouds are asked at an address of ours, where a small server speaks as each does; what is left to them (their own
credentials' exchange, their lists of models) is not seen here.
"""

import asyncio
import base64
import contextlib
import json
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import pytest

from api.http.server import Exchange, Request, Server, render_plain_error
from auth.credentials.hosts import hosts_for
from auth.credentials.sources import PROVIDERS, SOURCES, Source, cli_settings, environment
from auth.credentials.status import find_cli
from engine.errors import ClaudeError
from engine.pool import Pool
from engine.sdk import Spawn
from rehearsal import Rehearsal, Reply, hidden
from rehearsal.script import compose
from tests.sizes import sample
from translate.models import choose_model
from translate.turn import Message, Turn

pytestmark = pytest.mark.anyio

GUARD_S = 120

KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-not-a-key",
    "ANTHROPIC_AUTH_TOKEN": "not-a-bearer-token",
    "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-not-a-token",
}
HELPERS_KEY = "sk-ant-printed-by-the-helper"
CLOUDS = [source for source in SOURCES if source.is_cloud]
BEDROCK_ID = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
VERTEX_ID = "claude-sonnet-4-5@20250929"

USAGE = {"input_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}

by_name = {source.name: source for source in PROVIDERS}


def turn(model: str = "claude-sonnet-4-5") -> Turn:
    message = Message("user", ({"type": "text", "text": "Hello"},))
    return Turn(model=model, messages=(message,), system="SYSTEM")


async def play(spawn: Spawn, wanted: Turn) -> str:
    """Play a turn on a pool of its own and return what was said."""
    async with asyncio.timeout(GUARD_S), Pool(spawn, spare=0) as pool, pool.run(wanted) as running:
        events = [event async for event in running]
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def blocks(body: dict[str, Any]) -> list[str]:
    """Return the texts of a one-message conversation as the API received it."""
    (message,) = body["messages"]
    return [block["text"] for block in message["content"]]


@pytest.fixture
def everything(spawn: Spawn) -> Spawn:
    """How to start a process with every credential in its environment that can be used on loopback."""
    return replace(spawn, env={**spawn.env, **KEYS})


def given(spawn: Spawn, source: Source, folder: Path) -> Spawn:
    """Return how the source's process is started, its competitors taken away."""
    env = {**spawn.env, **environment(source, spawn.env)}
    found = replace(spawn, bare=source.bare, env=env, hosts=hosts_for(source, env))
    settings = cli_settings(source, f"echo {HELPERS_KEY}")
    return replace(found, cli_path=launcher(folder, settings)) if settings else found


def launcher(folder: Path, settings: dict[str, str]) -> Path:
    """Return a program that starts the CLI with these settings."""
    file, program = folder / "settings.json", folder / "claude-with-settings"
    file.write_text(json.dumps(settings))
    program.write_text(f'#!/bin/sh\nexec "{find_cli(None)}" --settings "{file}" "$@"\n')
    program.chmod(0o700)
    return program


@pytest.mark.parametrize(
    ("name", "key", "authorization"),
    [
        ("api-key", KEYS["ANTHROPIC_API_KEY"], None),
        ("auth-token", None, KEYS["ANTHROPIC_AUTH_TOKEN"]),
        ("oauth-token", None, KEYS["CLAUDE_CODE_OAUTH_TOKEN"]),
        # Claude Code cannot know which of the two the helper prints, and sends it as both (fact F2).
        ("api-key-helper", HELPERS_KEY, HELPERS_KEY),
    ],
)
async def test_the_api_receives_the_sources_own_credential_and_no_other(
    name: str, key: str | None, authorization: str | None, rehearsal: Rehearsal, everything: Spawn, tmp_path: Path
) -> None:
    await play(given(everything, by_name[name], tmp_path), turn())

    (received,) = rehearsal.requests
    assert received.header("x-api-key") == (hidden(key) if key else None)
    assert received.header("authorization") == (f"Bearer {hidden(authorization)}" if authorization else None)


@pytest.mark.parametrize("name", ["api-key", "auth-token", "oauth-token", "api-key-helper"])
async def test_f2_the_api_receives_no_reminders_but_with_oauth(
    name: str, rehearsal: Rehearsal, everything: Spawn, tmp_path: Path
) -> None:
    source = by_name[name]

    await play(given(everything, source, tmp_path), turn())

    texts = blocks(rehearsal.turns[0].body)
    assert texts[-1] == "Hello"
    assert len(texts) == (1 if source.bare else 4)


async def test_left_to_itself_the_cli_sends_two_credentials(rehearsal: Rehearsal, everything: Spawn) -> None:
    await play(everything, turn())

    (received,) = rehearsal.requests
    assert received.header("x-api-key") == hidden(KEYS["ANTHROPIC_API_KEY"])
    assert received.header("authorization") == f"Bearer {hidden(KEYS['ANTHROPIC_AUTH_TOKEN'])}"


async def test_f4_an_oauth_token_does_not_work_with_bare(
    rehearsal: Rehearsal, everything: Spawn, tmp_path: Path
) -> None:
    spawn = replace(given(everything, by_name["oauth-token"], tmp_path), bare=True)

    with pytest.raises(ClaudeError) as caught:
        await play(spawn, turn())

    assert caught.value.kind == "not_logged_in"
    assert rehearsal.requests == []


class Cloud:
    """A server that answers as each cloud does, with one sentence, and keeps what it received."""

    def __init__(self) -> None:
        self.received: list[Request] = []
        self._server = Server(
            self._answer, host="127.0.0.1", port=0, max_body_bytes=1 << 20, render_error=render_plain_error
        )

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._server.__aexit__(*error)

    @property
    def base_url(self) -> str:
        host, port = self._server.addresses[0]
        return f"http://{host}:{port}"

    @property
    def turns(self) -> list[Request]:
        """The requests that ask for a streamed answer."""
        return [
            request for request in self.received if "stream" in request.path.lower() or b'"stream":' in request.body
        ]

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        self.received.append(request)
        if request not in self.turns:
            # The list of Bedrock's profiles, and one-token questions about which models there are.
            await exchange.respond(400, [("content-type", "application/json")], b'{"message":"not here"}')
            return
        body = {"model": "claude-sonnet-4-5", **json.loads(request.body), "stream": True}
        events = [step.data for step in compose(body, Reply(text="From the cloud."), USAGE, 1).steps]
        aws = "invoke-with-response-stream" in request.path
        kind = "application/vnd.amazon.eventstream" if aws else "text/event-stream"
        await exchange.respond(200, [("content-type", kind)], b"".join(map(aws_frame, events) if aws else events))


def aws_frame(event: bytes) -> bytes:
    """Return an SSE event as a message of AWS's event stream.

    https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html has the layout.
    """
    data = next(line.removeprefix(b"data: ") for line in event.split(b"\n") if line.startswith(b"data: "))
    payload = json.dumps({"bytes": base64.b64encode(data).decode()}).encode()
    pairs = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in pairs.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


# What each cloud needs beside its switch and its address.
PLACES = {
    "bedrock": {"AWS_REGION": "us-east-1"},
    "foundry": {},
    "anthropic-aws": {"AWS_REGION": "us-east-1", "ANTHROPIC_AWS_WORKSPACE_ID": "workspace"},
    "anthropic-google-cloud": {
        "ANTHROPIC_GOOGLE_CLOUD_PROJECT": "project",
        "ANTHROPIC_GOOGLE_CLOUD_LOCATION": "us-east5",
        "ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID": "workspace",
    },
    "mantle": {"AWS_REGION": "us-east-1"},
    "vertex": {"ANTHROPIC_VERTEX_PROJECT_ID": "project", "CLOUD_ML_REGION": "us-east5"},
}


def in_cloud(spawn: Spawn, source: Source, cloud: Cloud, **more: str) -> Spawn:
    """Return how a cloud's process is started, with every other credential in its environment, then taken away."""
    own = {str(source.variable): "1", source.base_url: cloud.base_url, **PLACES[source.name]}
    env = {**spawn.env, "ANTHROPIC_BASE_URL": "", **KEYS, "AWS_EC2_METADATA_DISABLED": "true", **own, **more}
    env |= environment(source, env)
    return replace(spawn, bare=source.bare, env=env, hosts=hosts_for(source, env))


@pytest.mark.parametrize(
    ("name", "model", "path", "in_body"),
    [
        ("bedrock", BEDROCK_ID, f"/model/{BEDROCK_ID}/invoke-with-response-stream", None),
        (
            "vertex",
            VERTEX_ID,
            f"/projects/project/locations/us-east5/publishers/anthropic/models/{VERTEX_ID}:streamRawPredict",
            None,
        ),
        ("foundry", "claude-sonnet-4-5", "/v1/messages", "claude-sonnet-4-5"),
        ("anthropic-aws", "claude-sonnet-4-5", "/v1/messages", "claude-sonnet-4-5"),
        ("anthropic-google-cloud", "claude-sonnet-4-5", "/v1/messages", "claude-sonnet-4-5"),
        ("mantle", "anthropic.claude-sonnet-4-5-20250929-v1:0", "/v1/messages", None),
    ],
)
async def test_a_cloud_behind_a_gateway_is_asked_for_the_model_by_its_own_name(
    name: str, model: str, path: str, in_body: str | None, spawn: Spawn
) -> None:
    source = by_name[name]
    async with Cloud() as cloud:
        said = await play(
            in_cloud(spawn, source, cloud, **{str(source.skip_auth): "1"}), turn(choose_model(model).model)
        )

    assert said == "From the cloud."
    (received,) = cloud.turns
    assert unquote(received.path) == path
    body = json.loads(received.body)
    assert body.get("model") == (in_body or (model if path == "/v1/messages" else None))
    assert blocks(body) == ["Hello"]


@pytest.mark.parametrize("source", CLOUDS, ids=lambda source: source.name)
async def test_a_gateway_before_a_cloud_gets_the_bearer_token_and_nothing_else(source: Source, spawn: Spawn) -> None:
    async with Cloud() as cloud:
        await play(in_cloud(spawn, source, cloud, **{str(source.skip_auth): "1"}), turn(BEDROCK_ID))

    (received,) = cloud.turns
    token = KEYS["ANTHROPIC_AUTH_TOKEN"]
    assert received.header("authorization") == f"Bearer {token}"
    # Claude Platform on AWS is sent the same token as a key, too.
    assert received.header("x-api-key") in (None, token)


@pytest.mark.parametrize(
    ("name", "own", "header", "expected"),
    [
        ("bedrock", {"AWS_BEARER_TOKEN_BEDROCK": "token"}, "authorization", "Bearer token"),
        (
            "bedrock",
            {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example"},
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/",
        ),
        ("foundry", {"ANTHROPIC_FOUNDRY_API_KEY": "key"}, "x-api-key", "key"),
        ("foundry", {"ANTHROPIC_FOUNDRY_AUTH_TOKEN": "token"}, "authorization", "Bearer token"),
        ("anthropic-aws", {"ANTHROPIC_AWS_API_KEY": "key"}, "x-api-key", "key"),
    ],
)
async def test_a_clouds_own_credentials_are_used_and_anthropics_are_not(
    name: str, own: dict[str, str], header: str, expected: str, spawn: Spawn
) -> None:
    async with Cloud() as cloud:
        await play(in_cloud(spawn, by_name[name], cloud, **own), turn(BEDROCK_ID))

    (received,) = cloud.turns
    assert str(received.header(header)).startswith(expected)
    assert not any(key in value for key in KEYS.values() for _, value in received.headers)


async def test_a_gateway_is_asked_at_its_path_with_the_persons_headers(spawn: Spawn) -> None:
    async with Cloud() as gateway:
        more = {"ANTHROPIC_BASE_URL": f"{gateway.base_url}/claude", "ANTHROPIC_CUSTOM_HEADERS": "X-Team: seven"}
        said = await play(replace(spawn, env={**spawn.env, **more}), turn())

    (received,) = gateway.received
    assert said == "From the cloud."
    assert (received.path, received.header("x-team")) == ("/claude/v1/messages", "seven")
    assert received.header("x-api-key") == spawn.env["ANTHROPIC_API_KEY"]


@pytest.mark.parametrize("name", [BEDROCK_ID, BEDROCK_ID.removeprefix("us."), f"eu.{BEDROCK_ID[3:]}", VERTEX_ID])
def test_a_providers_model_name_passes_the_map_unchanged(name: str) -> None:
    assert choose_model(name, {"*": "haiku"}).model == name


def test_every_cloud_has_its_place_here() -> None:
    assert {source.name for source in CLOUDS} == set(PLACES)


def descendants() -> dict[int, str]:
    """Return the programs that this one has started, and those that they have, by process id."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text()
            names[int(folder.name)] = stat[stat.index("(") + 1 : stat.rindex(")")]
            parents[int(folder.name)] = int(stat[stat.rindex(")") + 2 :].split()[1])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: names[pid] for pid in ours - {os.getpid()}}


def listening_sockets() -> set[str]:
    """Return the inodes of all TCP sockets that listen."""
    tables = [Path("/proc/net", name) for name in ("tcp", "tcp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    rows = [line.split() for line in lines]
    return {row[9] for row in rows if row[3] == "0A"}


def open_sockets(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


TURNS = sample(16, large=50)
"""Four at a time."""


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has open is read from /proc")
async def test_f56_turns_without_credentials_all_fail_and_leave_nothing(rehearsal: Rehearsal, spawn: Spawn) -> None:
    nobody = replace(spawn, env={**spawn.env, "ANTHROPIC_API_KEY": ""})
    before = set(descendants())
    seen: set[int] = set()
    listened: set[int] = set()
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            alive = set(descendants()) - before
            seen.update(alive)
            listening = listening_sockets()
            listened.update(pid for pid in alive if listening.intersection(open_sockets(pid)))
            await asyncio.sleep(0.05)

    async def one(pool: Pool) -> str:
        try:
            async with pool.run(turn()) as running:
                return f"{len([event async for event in running])} events"
        except ClaudeError as error:
            return error.kind

    watcher = asyncio.create_task(watch())
    async with asyncio.timeout(GUARD_S), Pool(nobody, limit=4, spare=0) as pool:
        kinds = await asyncio.gather(*(one(pool) for _ in range(TURNS)))
    done.set()
    await watcher

    assert kinds == ["not_logged_in"] * TURNS
    assert rehearsal.requests == []
    assert seen
    assert listened == set()
    assert set(descendants()) - before == set()
