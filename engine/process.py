"""One Claude Code process, from its start to its confirmed end, and the conversation that it holds.

A turn has these steps:

- ``initialize`` with the system prompt, once for a process;
- the settings for model and parameters;
- a rewind of the messages that the process holds and the turn does not have (fact F88);
- the missing history, message by message (F80, F81);
- the last message, which is the question;
- the events of the answer, up to the one with the stop reason.

Then the app has its answer. What follows depends on the stop reason (:meth:`ClaudeProcess.settle`):

- after ``end_turn`` and ``stop_sequence`` with visible text, Claude Code reports its result and holds the answer;
- after ``tool_use``, the calls wait in the park (:mod:`engine.park`) until the app sends their results;
- after any other reason Claude Code asks again by itself (F40, F41, F43). The valve (:mod:`engine.valve`) keeps that
  request back, and the process is interrupted. Without the valve the process is killed at once.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.aside import aside
from engine.conversation import UNKNOWN, AnswerSoFar, Held, digests_of, is_prompt, keep, results_of
from engine.cost_check import CostCheck, ProcessCosts
from engine.errors import ClaudeError
from engine.flags import flag_settings
from engine.messages import said, user
from engine.plan import How
from engine.progress import Wait, waiting_for
from engine.reports import Told, failed, retry_announced
from engine.sdk import (
    AssistantMessage,
    Connection,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
    sdk_errors,
)
from engine.spawn import VERIFIED_CLI, Spawn
from engine.transcript import Transcript, remove
from engine.valve import Valve
from translate.content import is_blank
from translate.long_work import weight
from translate.turn import Message, Turn, turn_weight
from translate.usage import UsageReader

log = logging.getLogger(__name__)

# After these stop reasons, and visible text, Claude Code does not ask again by itself.
CLEAN_STOPS = frozenset({"end_turn", "stop_sequence"})

# Claude Code prints malformed input as a whole. The beginning is enough for the log.
MAX_STDERR_CHARS = 500

# The time limit after an answer until the result is reported, or the tool calls are in the park.
SETTLE_S = 5.0

# The time limit for an interrupted process to end its turn (a few ms, fact F63). Then its connections are closed, so
# that the request to the API ends within 100 ms. Without the valve it is killed.
INTERRUPT_S = 0.06

# The time limit for a process without connections to end its turn. Then it is killed.
CUT_OFF_S = 1.0


class ClaudeProcess:
    """A process and the conversation that it holds. ``how`` says how its present or last turn got it."""

    def __init__(
        self,
        spawn: Spawn,
        *,
        idle_timeout_s: float,
        first_token_timeout_s: float = 600.0,
        cost_check: CostCheck | None = None,
        valve: Valve | None = None,
    ) -> None:
        self._connection = Connection(spawn, self._on_stderr, self._on_event, valve, self._on_held)
        self._idle_timeout_s = idle_timeout_s
        self._first_token_timeout_s = first_token_timeout_s
        self._closing: asyncio.Task[None] | None = None
        self._user_id = spawn.bare
        self._settings: dict[str, Any] | None = None
        self._thinking_off = False
        self._held: list[Held] = []
        self._answer: AnswerSoFar | None = None
        self._stop_reason = ""
        self._visible = False
        # Whether the stop reason of the present answer was read.
        self._ended = True
        # Whether a question was sent whose result has not come; None while the turn is prepared. An interruption during
        # the preparation would leave an incomplete history.
        self._asked: bool | None = False
        self._transcript: Path | None = None
        self.system: str | None = None
        self.initialized = False
        self.how: How = "cold"
        self.owner = ""
        """The owner of the conversation that it holds (:func:`engine.places.owner_in`)."""
        self.version: str | None = None
        self.turns = 0
        self.cut = False
        self._costs = ProcessCosts(cost_check or CostCheck())
        # The usage of the turns since the last result, the present turn last; and how many of its messages were
        # compared.
        self._told = [UsageReader()]
        self._compared = 0

    @property
    def alive(self) -> bool:
        """Whether the program runs."""
        return self._closing is None and self._connection.alive

    @property
    def pid(self) -> int | None:
        """The program's process id, once started."""
        return self._connection.pid

    @property
    def held(self) -> Sequence[Held]:
        """The conversation that it holds, oldest first."""
        return self._held

    @property
    def api_wait_s(self) -> float | None:
        """How long the API took from the end of the last request to the beginning of its answer, if that is known."""
        return self._connection.gate.api_wait_s

    @property
    def backlog(self) -> int:
        """How many events have come that nobody has read yet."""
        return self._connection.backlog

    def __repr__(self) -> str:
        return f"<ClaudeProcess pid={self.pid} {self.how}{' ended' if self._closing else ''}>"

    async def start(self) -> None:
        """Start the program. Raises ClaudeError."""
        with sdk_errors():
            await self._connection.start()

    async def start_with(self, history: Transcript) -> None:
        """Start the program with a history. Raises ClaudeError."""
        with sdk_errors():
            self._transcript = await self._connection.start_with(history)
        self._held = list(history.held)

    def count_anew(self) -> UsageReader:
        """Return a new reader for the usage of the next turn."""
        self._told.append(UsageReader())
        return self._told[-1]

    async def play(self, turn: Turn, digests: Sequence[bytes] | None = None) -> AsyncGenerator[dict[str, Any]]:
        """Yield the answer's events up to the one with the stop reason. Raises ClaudeError.

        ``digests`` are the digests of the turn's messages, if they are known. Afterwards call :meth:`settle`,
        :meth:`abandon` or :meth:`stop`.
        """
        self.cut, self._stop_reason, self._asked = False, "", None
        self._answer = answer = AnswerSoFar()
        if digests is None:
            digests = await aside(turn_weight(turn), digests_of, turn)
        with sdk_errors():
            async with contextlib.aclosing(self._events()) as events:
                event = await self._first(turn, digests, events)
                while event is not None:
                    answer.feed(event)
                    yield event
                    event = await anext(events, None)
        self.turns += 1

    async def _first(
        self, turn: Turn, digests: Sequence[bytes], events: AsyncGenerator[dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Send the turn, and return the first event of the answer."""
        try:
            async with asyncio.timeout(self._first_token_timeout_s) as until:
                await self._ask(turn, digests)
                waiting_for(Wait.TOKEN)
                return await anext(events, None)
        except TimeoutError:
            if not until.expired():
                raise
            detail = f"no answer began within {self._first_token_timeout_s:g} s"
            raise ClaudeError("first_token_timeout", detail=detail) from None

    async def settle(self, model: str) -> None:
        """After a complete answer, wait until the next turn can come. Raises ClaudeError if it cannot."""
        if self.cut:
            await self._interrupt(SETTLE_S)
            return
        answer, self._answer = self._answer or AnswerSoFar(), None
        with sdk_errors():
            try:
                async with asyncio.timeout(SETTLE_S):
                    calls = answer.calls() if await self._reach_rest(answer.calls()) else ()
            except TimeoutError:
                raise ClaudeError("cli_failed", detail=f"no result within {SETTLE_S:g} s") from None
        self._asked = False
        # Claude Code itself has answered calls that are not parked. So this answer must be rewound.
        self._held.append(answer.held(model, calls) if calls or self._stop_reason != "tool_use" else UNKNOWN)

    async def _reach_rest(self, calls: Sequence[str]) -> bool:
        """Wait until the turn has ended or all its calls are parked. Returns whether they are parked."""
        if self._stop_reason != "tool_use":
            await self._until_result()
            return False
        if not calls:
            raise ClaudeError("cli_failed", detail="it called a tool with arguments that are not a JSON object")
        ended = asyncio.create_task(self._until_result(ended_early=True))
        parked = asyncio.create_task(self._connection.parked(calls))
        try:
            await asyncio.wait({ended, parked}, return_when=asyncio.FIRST_COMPLETED)
            if not parked.done():
                ended.result()
            return parked.done()
        finally:
            for task in (ended, parked):
                task.cancel()
            await asyncio.gather(ended, parked, return_exceptions=True)

    async def abandon(self) -> None:
        """Interrupt a turn. Raises ClaudeError if the process must be killed instead.

        The incomplete answer stays in the conversation, and the next rewind removes it (fact F64).
        """
        if self._asked is None or not self.alive:
            raise ClaudeError("cli_failed", detail="it was interrupted during its preparation")
        if self._asked:
            await self._interrupt(INTERRUPT_S)

    async def _interrupt(self, within_s: float) -> None:
        """End the turn. Close its request if it has not ended after ``within_s`` seconds. Raises ClaudeError."""
        self._answer, self._ended = None, True
        # A turn that has not begun yet must not begin.
        self._connection.gate.shut()
        with sdk_errors():
            ending = asyncio.create_task(self._end_turn(), name=f"interrupt {self!r}")
            try:
                await asyncio.wait({ending}, timeout=within_s)
                if not ending.done() and self._connection.gate.cut_off():
                    await asyncio.wait({ending}, timeout=CUT_OFF_S)
                if not ending.done():
                    raise ClaudeError("cli_failed", detail="it did not end its turn")
                ending.result()
            finally:
                ending.cancel()
                await asyncio.gather(ending, return_exceptions=True)
        # Otherwise the next rewind would wait for ever for these calls.
        self._connection.forget_calls()
        self._held.append(UNKNOWN)
        self._asked = False

    async def _end_turn(self) -> None:
        await self._connection.control("interrupt")
        await self._until_result(ended_early=True)

    def kill(self) -> None:
        """End the program at once, without waiting."""
        self._connection.kill()

    async def stop(self) -> None:
        """Kill the program and wait until it has ended. It can be called several times, also at the same time."""
        self._connection.kill()
        if self._closing is None:
            self._closing = asyncio.create_task(self._connection.close(), name=f"close {self!r}")
        # The process must be closed completely, also if the caller is cancelled.
        await asyncio.shield(self._closing)

    async def _ask(self, turn: Turn, digests: Sequence[bytes]) -> None:
        """Send the messages that the process does not hold yet. The last one is the question."""
        kept = keep(self._held, turn.messages, digests)
        if kept is None:
            raise ClaudeError("cli_failed", detail="its conversation cannot be rewound")
        await self._prepare(turn)
        if kept == len(self._held) and self._held and self._held[-1].calls:
            await self._answer_calls(turn.messages[-1], digests[-1])
            return
        await self._rewind_to(kept)
        for message, identity in zip(turn.messages[kept:-1], digests[kept:-1], strict=True):
            await self._remember(message, identity, turn)
        question, name = turn.messages[-1], str(uuid.uuid4())
        self._held.append(Held(digests[-1], name if is_prompt(question) else None))
        await self._send_question(question, name)

    async def initialize(self, turn: Turn) -> None:
        """Set the system prompt of the program. Its answer shows that it has started."""
        with sdk_errors():
            try:
                info = await self._connection.initialize(turn.system, _names(turn))
            finally:
                if self._transcript is not None:
                    remove(self._transcript)
        self.system, self.initialized = turn.system, True
        self.version = info.get("claude_code_version")
        if self.version not in (None, VERIFIED_CLI):
            log.warning(
                "Claude Code has version %s; Understudy was verified with version %s", self.version, VERIFIED_CLI
            )

    async def _prepare(self, turn: Turn) -> None:
        if not self.initialized:
            await self.initialize(turn)
        await self._connection.offer(_names(turn))
        settings = flag_settings(turn, user_id=self._user_id)
        if settings != self._settings:
            self._settings = None
            await self._connection.control("apply_flag_settings", settings=settings)
            self._settings = settings
        if (turn.thinking is None) != self._thinking_off:
            off = turn.thinking is None
            await self._connection.control("set_max_thinking_tokens", max_thinking_tokens=0 if off else None)
            self._thinking_off = off

    async def _rewind_to(self, kept: int) -> None:
        """Remove the messages above ``kept``, prompt by prompt from the newest (fact F88)."""
        if len(self._held) > kept and self._connection.waiting:
            await self._empty_park()
        while len(self._held) > kept:
            top = self._held.pop()
            if target := top.prompt or top.trigger:
                answer = await self._connection.control("rewind_conversation", target_message_uuid=target)
                if answer.get("rewound") is not True:
                    raise ClaudeError("cli_failed", detail=f"it could not be rewound: {answer.get('reason')}")

    async def _empty_park(self) -> None:
        """Answer the waiting calls with a dummy text. The next rewind removes them."""
        for call in self._connection.waiting:
            await self._connection.resolve(call, [{"type": "text", "text": "-"}])
        await self._until_result(ended_early=True)

    async def _answer_calls(self, message: Message, identity: bytes) -> None:
        """Answer the parked calls with the app's results, and send the rest of its message.

        The process then ends its turn, because ``max_turns`` allows only one request. So a message without tool
        results, which may be empty, makes it ask again. An empty message leaves nothing in the conversation.
        """
        for result in results_of(message):
            await self._connection.resolve(result["tool_use_id"], result["content"])
            # One by one, because Claude Code keeps results in the order in which they arrive.
            if (returned := await self._until_returned()) != result["tool_use_id"]:
                raise ClaudeError("cli_failed", detail=f"{returned} came back instead of the call that was answered")
        await self._until_result(ended_early=True)
        rest = tuple(block for block in message.content if block["type"] != "tool_result")
        name = str(uuid.uuid4())
        self._held.append(Held(identity, trigger=name))
        await self._send_question(Message("user", rest), name)

    async def _send_question(self, message: Message, name: str) -> None:
        self._asked = True
        self._connection.gate.open()
        await self._connection.send(weight(message.content), lambda: _question(message, name))

    async def _remember(self, message: Message, identity: bytes, turn: Turn) -> None:
        if message.role == "assistant":
            self._held.append(Held(identity))
            await self._connection.send(
                weight(message.content), lambda: {"type": "assistant", "message": said(message, turn.model)}
            )
            return
        name = str(uuid.uuid4())
        self._held.append(Held(identity, name if is_prompt(message) else None))
        await self._connection.send(weight(message.content), lambda: {**_question(message, name), "shouldQuery": False})
        # If the next message is sent without waiting, Claude Code merges and reorders them (fact F81).
        await self._until_result()

    async def _events(self) -> AsyncGenerator[dict[str, Any]]:
        started = False
        told = Told()
        while True:
            match await self._next():
                case StreamEvent(event=event):
                    if event["type"] == "message_start":
                        if started:
                            # Claude Code has asked again (fact F54). But the app already has a part of the first
                            # answer.
                            raise ClaudeError("stream_error", detail="a second message_start")
                        started = True
                    elif event["type"] == "message_stop":
                        # Claude Code adds one when the stream breaks (F54). Only a stop reason ends an answer.
                        continue
                    elif event["type"] == "message_delta":
                        stop_reason = event["delta"].get("stop_reason")
                        if stop_reason is None:
                            continue  # also added by Claude Code
                        self._stop_reason = stop_reason
                        yield event
                        return
                    yield event
                case SystemMessage(subtype="api_retry", data=data):
                    self._connection.gate.shut()
                    raise retry_announced(data, started=started)
                case AssistantMessage(error=str(error)):
                    told = Told(error, self._connection.request_id)
                case AssistantMessage(content=blocks):
                    self._compare(blocks)
                case ResultMessage() as result:
                    self._connection.gate.shut()
                    self._held.append(UNKNOWN)
                    self._asked = False
                    raise failed(result, told, started=started)
                case _:
                    pass

    def _compare(self, blocks: Sequence[Any]) -> None:
        for block in blocks:
            if isinstance(block, ToolUseBlock) and self._answer is not None:
                self._answer.keeps(block.id, block.input)

    async def _until_result(self, *, ended_early: bool = False) -> ResultMessage:
        """Read up to the result. Raises ClaudeError if it reports a failure, unless the turn was ``ended_early``."""
        told = Told()
        while True:
            match await self._next():
                case ResultMessage() as result if ended_early or not result.is_error:
                    return result
                case ResultMessage() as result:
                    raise failed(result, told)
                case AssistantMessage(error=str(error)):
                    told = Told(error, self._connection.request_id)
                case _:
                    pass

    async def _until_returned(self) -> str:
        """Read up to a tool result, and return the id of its call."""
        while True:
            match await self._next():
                case UserMessage(content=[ToolResultBlock(tool_use_id=call)]):
                    return call
                case ResultMessage():
                    raise ClaudeError("cli_failed", detail="the turn ended before its tools had returned")
                case _:
                    pass

    async def _next(self) -> Any:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                message = await self._connection.next()
        except TimeoutError:
            raise ClaudeError("idle_timeout", detail=f"nothing came for {self._idle_timeout_s:g} s") from None
        if isinstance(message, ResultMessage):
            self._compare_costs(message)
        return message

    def _compare_costs(self, result: ResultMessage) -> None:
        messages = [message for reader in self._told for message in reader.messages][self._compared :]
        whole = all(reader.is_whole for reader in self._told)
        # A result may come during the preparation of the next turn, which then has its own reader.
        self._told = self._told[-1:]
        self._told[0].messages += self._costs.result(result.model_usage, messages, whole=whole)
        self._compared = len(self._told[0].messages)

    def _on_event(self, event: Mapping[str, Any]) -> None:
        """Keep the process from asking again by itself.

        It asks within milliseconds, and the reader of the events may be too late to prevent it. So this happens here.
        """
        self._told[-1].feed(event)
        match event:
            case {"type": "message_start"}:
                self._visible, self._ended = False, False
                self._connection.gate.shut()
            case {"type": "content_block_delta", "delta": {"text": str() as text}}:
                self._visible = self._visible or not is_blank(text)
            case {"type": "message_delta", "delta": {"stop_reason": str() as reason}}:
                self._ended = True
                if not (reason == "tool_use" or (reason in CLEAN_STOPS and self._visible)):
                    if not self._connection.gate.holds:
                        self._connection.kill()
                    self.cut = True
            case _:
                pass

    def _on_held(self) -> None:
        """End a turn whose answer broke off: the valve holds the request that would begin it again."""
        if self._asked and not self._ended:
            self._connection.fail("it asked again amid its answer")

    def _on_stderr(self, line: str) -> None:
        log.debug("claude[%s]: %s", self._connection.pid, line[:MAX_STDERR_CHARS])


def _names(turn: Turn) -> list[str]:
    # Claude Code does not call the tools that Anthropic runs. They have no schema.
    return [str(tool["name"]) for tool in turn.tools if "input_schema" in tool]


def _question(message: Message, name: str) -> dict[str, Any]:
    return {"type": "user", "uuid": name, "message": user(message)}
