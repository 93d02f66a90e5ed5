"""An engine whose turns use the tools of MCP servers. It calls the tools that Claude requests, and Claude continues.

Anthropic's API has an MCP connector that does the same on the server. Claude Code cannot read the connector's blocks
(``mcp_tool_use`` and ``mcp_tool_result``) and retries. So the loop runs here, with the engine's own tool calls. Its
events have the same form as the connector's.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from api.images import Images
from api.mcp import call_tool
from engine import Engine, Event, Outcome, Process, Running
from translate.content import text_block
from translate.responses.mcp import LISTED, ListedTool, McpCall, McpServer
from translate.responses.tool_loop import Called, Result, ToolLoop
from translate.turn import Message, Turn
from translate.usage import MessageUsage

MAX_ROUNDS = 100
"""The maximum number of turns for one response."""

NO_MORE = "No further tool may be called: the limit of max_tool_calls has been reached."


class McpLoop:
    """Run turns on another engine.

    ``servers`` are the servers that may be used. ``calls`` gives the server and the tool for each tool name that Claude
    sees. ``new`` are the tools that the response lists at its start. ``images`` scales the images in tool results. At
    most ``most`` calls are made.
    """

    def __init__(
        self,
        engine: Engine,
        servers: Sequence[McpServer],
        calls: Mapping[str, McpCall],
        new: Mapping[str, Sequence[ListedTool]],
        images: Images,
        *,
        most: int | None = None,
    ) -> None:
        self._engine = engine
        self._servers = {server.label: server for server in servers}
        self._calls = calls
        self._new = new
        self._pictures = images
        self._most = most

    def status(self) -> dict[str, Any]:
        """Return the status of the underlying engine."""
        return self._engine.status()

    @asynccontextmanager
    async def run(self, turn: Turn) -> AsyncIterator[Running]:
        """Run a turn, and the turns that follow its tool calls."""
        playing = _Playing()
        events = self._play(turn, playing)
        playing.events = events
        try:
            yield playing
        finally:
            await events.aclose()

    async def _play(self, turn: Turn, playing: "_Playing") -> AsyncGenerator[Event]:
        loop = ToolLoop(self._calls)
        left = self._most
        for number in range(MAX_ROUNDS):
            async with self._engine.run(turn) as running:
                playing.turns.append(running)
                async for event in running:
                    for told in loop.feed(event):
                        yield told
                    if number == 0 and event.get("type") == "message_start":
                        for told in self._listed(loop):
                            yield told
            playing.retries += running.retries
            mine = [call for call in loop.calls if call.mine is not None]
            if not mine:
                break
            may = mine if left is None else mine[: max(left, 0)]
            left = None if left is None else left - len(may)
            results = await asyncio.gather(*map(self._call, may))
            results += [Result((text_block(NO_MORE),), is_error=True)] * (len(mine) - len(may))
            for call, result in zip(mine, results, strict=True):
                for told in loop.told(result.told(call)):
                    yield told
            if len(mine) < len(loop.calls):
                # The app must call the other tools. It sends all results back together.
                break
            blocks = [result.given(call) for call, result in zip(mine, results, strict=True)]
            said = (Message("assistant", loop.content), Message("user", tuple(blocks)))
            # The required tool call has been made, so do not require another.
            choice = None if (turn.tool_choice or {}).get("type") in ("any", "tool") else turn.tool_choice
            turn = replace(turn, messages=(*turn.messages, *said), tool_choice=choice)
        yield loop.finish()

    async def _call(self, call: Called) -> Result:
        assert call.mine is not None  # noqa: S101 - only calls with ``mine`` are passed
        return await call_tool(self._servers[call.mine.label], call.mine.tool, call.input, self._pictures)

    def _listed(self, loop: ToolLoop) -> list[Event]:
        return [
            told
            for label, tools in self._new.items()
            for told in loop.told({"type": LISTED, "server_name": label, "tools": [tool.as_item() for tool in tools]})
        ]


class _Playing:
    """All turns of one response, with the interface of a single running turn."""

    def __init__(self) -> None:
        self.events: AsyncGenerator[Event]
        self.turns: list[Running] = []
        self.retries = 0

    @property
    def ignored(self) -> Sequence[str]:
        """The app's parameters that turned out to have no effect, in any turn."""
        return tuple(dict.fromkeys(path for running in self.turns for path in running.ignored))

    @property
    def now(self) -> Running | None:
        """The current turn. None before the first."""
        return self.turns[-1] if self.turns else None

    @property
    def process(self) -> Process:
        """Where the process of the current turn came from."""
        return self.now.process if self.now is not None else ""

    @property
    def backlog(self) -> int:
        """The number of events that have arrived but are not read yet."""
        return self.now.backlog if self.now is not None else 0

    @property
    def messages(self) -> Sequence[MessageUsage]:
        """The usage of each of Claude's messages, in all turns."""
        return [message for running in self.turns for message in running.messages]

    @property
    def complete(self) -> bool:
        """Whether the last turn was read up to its stop reason."""
        return self.now is not None and self.now.complete

    @property
    def ended(self) -> Awaitable[Outcome]:
        """How the last turn ended."""
        if self.now is None:
            raise RuntimeError("nothing has been played")
        return self.now.ended

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield the response's events."""
        return self.events
