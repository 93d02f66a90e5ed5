"""An engine that plays given events, for what is HTTP's alone; and the origin around it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from api.app import App, Parts
from api.failures import render_error
from api.http.server import Server
from api.images import Images
from api.parts import Gate, Status, Turns
from api.routes import ROUTES
from engine import Event, Outcome
from storage.database import Database
from storage.stores import Stores
from translate.turn import Turn
from translate.usage import MessageUsage, UsageReader

START: Event = {"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": {"input_tokens": 5}}}
END: Event = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}


def text(*pieces: str) -> list[Event]:
    """Return the events of one block of text."""
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces
    ]
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return [start, *deltas, {"type": "content_block_stop", "index": 0}]


class Scripted:
    """Plays one script a turn, in order: events, errors to raise, and things to wait for."""

    def __init__(self, *scripts: Sequence[Event | Exception | asyncio.Event]) -> None:
        self._scripts = list(scripts)
        self.turns: list[Turn] = []
        self.left = 0
        self.whole = 0
        """How many turns were read to their end."""

    def status(self) -> dict[str, Any]:
        return {"turns": len(self.turns)}

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Any]:
        self.turns.append(turn)
        play = _Play(self._scripts.pop(0))
        try:
            yield play
        finally:
            self.left += 1
            self.whole += play.complete


class _Play:
    process = "warm"
    backlog = 0
    retries = 0
    ignored: Sequence[str] = ()

    @property
    async def ended(self) -> Outcome:
        return Outcome("finished", "warm")

    @property
    def messages(self) -> Sequence[MessageUsage]:
        return self._told.messages

    def __init__(self, script: Sequence[Event | Exception | asyncio.Event]) -> None:
        self._script = script
        self._told = UsageReader()
        self.complete = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                self._told.feed(step)
                yield step
        self.complete = True


def parts(engine: Any, **fields: Any) -> Parts:
    """Return an application's parts: ``fields`` are fields of any of them."""
    told = {"engine": engine, "model_map": {}, "default_model": "sonnet", **fields}

    def of(kind: Any) -> dict[str, Any]:
        return {name: told[name] for name in kind.__slots__ if name in told}

    own = of(Parts)
    made = Parts(**{"turns": Turns(**of(Turns)), "status": Status(**of(Status)), "gate": Gate(**of(Gate)), **own})
    assert set(told) <= {*own, *of(Turns), *of(Status), *of(Gate)}
    return made


@asynccontextmanager
async def client(engine: Any, **fields: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the origin on an engine and yield a client for it. What is kept is kept as long as that lasts."""
    async with AsyncExitStack() as stack:
        if "stores" not in fields:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            database = stack.enter_context(Database.open(Path(folder) / "kept.db"))
            fields["stores"] = await stack.enter_async_context(Stores.on(database))
        if "images" not in fields:
            fields["images"] = await stack.enter_async_context(Images())
        server = Server(App(parts(engine, **fields), ROUTES), render_error=render_error, max_body_bytes=100_000)
        await stack.enter_async_context(server)
        host, port = server.addresses[0]
        http = httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30)
        yield await stack.enter_async_context(http)
