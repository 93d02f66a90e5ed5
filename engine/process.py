"""One Claude Code process, from its start to its confirmed end.

A turn on it goes: ``initialize`` with the system prompt; flags for model and parameters; the history, each message put
in as a true turn (facts F80, F81); the last message, which is the question; the events of the answer. Then, at the
first ``message_delta`` that tells the stop reason, either the process reports its result by itself (``end_turn`` and
``stop_sequence`` after visible text) or it is killed on the spot, because it would ask again (facts F40–F43).
"""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from engine.errors import ClaudeError, kind_of
from engine.sdk import AssistantMessage, Connection, ResultMessage, Spawn, StreamEvent, SystemMessage, sdk_errors
from translate.models import ALIASES
from translate.turn import Message, Turn

log = logging.getLogger(__name__)

# After these, and something visible said, Claude Code has no reason to go on by itself.
CLEAN_STOPS = frozenset({"end_turn", "stop_sequence"})

# The CLI prints what it was sent when that is malformed; the log needs no more than its beginning.
MAX_STDERR_CHARS = 500

# A delay shorter than this is the CLI's own back-off, not the API's retry-after header.
MIN_RETRY_AFTER_MS = 900


class ClaudeProcess:
    """A process for one conversation. ``how`` says what state it was in when a turn took it: ``cold`` or ``warm``."""

    def __init__(self, spawn: Spawn, *, idle_timeout_s: float) -> None:
        self._connection = Connection(spawn, self._on_stderr)
        self._messages = self._connection.messages()
        self._idle_timeout_s = idle_timeout_s
        self._closing: asyncio.Task[None] | None = None
        self._user_id = spawn.bare
        self.how = "cold"
        self.cost_usd: float | None = None
        self.cut = False

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self._closing is None and self._connection.alive

    def __repr__(self) -> str:
        return f"<ClaudeProcess pid={self._connection.pid} {self.how}{' ended' if self._closing else ''}>"

    async def start(self) -> None:
        """Start the program; it boots while nobody waits. Raises ClaudeError."""
        with sdk_errors():
            await self._connection.start()

    async def play(self, turn: Turn) -> AsyncGenerator[dict[str, Any]]:
        """Yield the answer's events up to the one that tells the stop reason. Raises ClaudeError."""
        with sdk_errors():
            await self._prepare(turn)
            await self._connection.send(_user(turn.messages[-1]))
            async for event in self._answer():
                yield event

    async def settle(self) -> None:
        """Read on to the result after a clean stop, for what it cost. Raises ClaudeError when there is none."""
        with sdk_errors():
            result = await self._until_result()
        self.cost_usd = result.total_cost_usd

    async def stop(self) -> None:
        """End the program at once and wait until it is gone. May be called often, and while it is being called."""
        self._connection.kill()
        if self._closing is None:
            self._closing = asyncio.create_task(self._connection.close(), name=f"close {self!r}")
        # A cancelled caller must not leave a process half closed.
        await asyncio.shield(self._closing)

    async def _prepare(self, turn: Turn) -> None:
        await self._connection.initialize(turn.system)
        await self._connection.control("apply_flag_settings", settings=flag_settings(turn, user_id=self._user_id))
        if turn.thinking is None:
            await self._connection.control("set_max_thinking_tokens", max_thinking_tokens=0)
        for message in turn.messages[:-1]:
            await self._remember(message, turn)

    async def _remember(self, message: Message, turn: Turn) -> None:
        if message.role == "assistant":
            await self._connection.send({"type": "assistant", "message": _said(message, turn.model)})
            return
        await self._connection.send({**_user(message), "shouldQuery": False})
        # Sent on without waiting, messages are merged and reordered (fact F81).
        await self._until_result()

    async def _answer(self) -> AsyncIterator[dict[str, Any]]:
        started = visible = False
        word: str | None = None
        while True:
            match await self._next():
                case StreamEvent(event=event):
                    if event["type"] == "message_start":
                        if started:
                            # The CLI asks again from the beginning (fact F54); what was sent cannot be unsent.
                            raise ClaudeError("stream_error", detail="a second message_start")
                        started = True
                    elif event["type"] == "message_stop":
                        continue  # made up by the CLI when the stream broke (F54): the stop reason is what counts
                    elif event["type"] == "message_delta":
                        stop_reason = event["delta"].get("stop_reason")
                        if stop_reason is None:
                            continue  # made up likewise
                        if stop_reason not in CLEAN_STOPS or not visible:
                            self._connection.kill()
                            self.cut = True
                        yield event
                        return
                    elif event["type"] == "content_block_delta":
                        visible = visible or bool(event["delta"].get("text", "").strip())
                    yield event
                case SystemMessage(subtype="api_retry", data=data):
                    raise _retry_announced(data, started)
                case AssistantMessage(error=str(error)):
                    word = error
                case ResultMessage() as result:
                    raise _failed(result, word, started)
                case _:
                    pass

    async def _until_result(self) -> ResultMessage:
        word: str | None = None
        while True:
            match await self._next():
                case ResultMessage(is_error=False) as result:
                    return result
                case ResultMessage() as result:
                    raise _failed(result, word, started=False)
                case AssistantMessage(error=str(error)):
                    word = error
                case _:
                    pass

    async def _next(self) -> Any:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                return await anext(self._messages)
        except TimeoutError:
            raise ClaudeError("timeout_error", detail=f"nothing came for {self._idle_timeout_s:g} s") from None
        except StopAsyncIteration:
            raise ClaudeError("cli_failed", detail="the process ended before its answer") from None

    def _on_stderr(self, line: str) -> None:
        log.debug("claude[%s]: %s", self._connection.pid, line[:MAX_STDERR_CHARS])


def flag_settings(turn: Turn, *, user_id: bool = True) -> dict[str, Any]:
    """Return the ``apply_flag_settings`` that gives a process the Turn's model and parameters (facts F10, F11).

    ``user_id`` False keeps Claude Code's own ``metadata``, which a claude.ai login is known by.
    """
    body: dict[str, Any] = {}
    if turn.temperature is not None:
        body["temperature"] = turn.temperature
    if turn.top_p is not None:
        body["top_p"] = turn.top_p
    if turn.stop_sequences:
        body["stop_sequences"] = list(turn.stop_sequences)
    if turn.top_k is not None:
        body["top_k"] = turn.top_k
    if turn.service_tier is not None:
        body["service_tier"] = turn.service_tier
    if turn.tools:
        # Without a server behind it a tool's name is unknown to the CLI, which can therefore run nothing; the turn is
        # cut before it would tell the model so (facts F73, F43).
        body["tools"] = [dict(tool) for tool in turn.tools]
    if turn.thinking is not None:
        body["thinking"] = dict(turn.thinking)
    if turn.tool_choice is not None:
        body["tool_choice"] = dict(turn.tool_choice)
    if turn.output_format is not None:
        body["output_config"] = {"format": dict(turn.output_format)}
    if turn.metadata and user_id:
        body["metadata"] = dict(turn.metadata)
    return {
        "model": turn.model,
        "effortLevel": turn.effort,
        "env": {
            "CLAUDE_CODE_EXTRA_BODY": json.dumps(body),
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "" if turn.max_tokens is None else str(turn.max_tokens),
        },
    }


def _user(message: Message) -> dict[str, Any]:
    return {"type": "user", "uuid": str(uuid.uuid4()), "message": _content(message)}


def _said(message: Message, model: str) -> dict[str, Any]:
    """Return an assistant's message. Its thinking is kept only if it is the current model's own (fact F36)."""
    content = _content(message)
    if not any(block["type"] in ("thinking", "redacted_thinking") for block in message.content):
        return content
    name = ALIASES.get(model, model)
    return {**content, "id": f"msg_{uuid.uuid4().hex}", "type": "message", "model": name, "stop_reason": "end_turn"}


def _content(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": [dict(block) for block in message.content]}


def _retry_announced(data: dict[str, Any], started: bool) -> ClaudeError:
    """Read the CLI's announcement of a retry, the one place where the API's retry-after shows."""
    status, delay_ms = data.get("error_status"), data.get("retry_delay_ms") or 0
    detail = f"status {status}, {data.get('error')}"
    if started:
        return ClaudeError("stream_error", detail=detail)
    # The CLI waits up to a quarter longer than the header says, never shorter: rounding down stays at or above it.
    retry_after_s = delay_ms // 1000 or 1 if delay_ms >= MIN_RETRY_AFTER_MS else None
    return ClaudeError(kind_of(status, data.get("error")), detail=detail, retry_after_s=retry_after_s)


def _failed(result: ResultMessage, word: str | None, started: bool) -> ClaudeError:
    kind = kind_of(result.api_error_status, word, result.terminal_reason)
    detail = f"status {result.api_error_status}, {word}, {result.terminal_reason}: {result.result or result.errors}"
    # An error event inside the stream has a status of its own (529, fact F54), which the answer cannot have any more.
    if started and kind not in ("overloaded_error", "rate_limit_error"):
        kind = "stream_error"
    if not result.is_error:
        kind, detail = "cli_failed", "a result without an answer"
    return ClaudeError(kind, detail=detail)
