"""The only file that imports the Claude Code SDK.

The SDK's client talks to the `claude` program through a Transport. :class:`ControlTransport` extends the SDK's own
transport by functions that the client does not have. They are undocumented, and each has a test named after its fact:

- The system prompt is sent inside ``initialize`` and not on the command line, where `ps` would show it and its limit
  would be 128 KiB (facts F8, F96). So a process can also be started before the prompt is known.
- Further control requests: ``apply_flag_settings`` sets model and parameters of a running process (fact F11),
  ``rewind_conversation`` removes messages (F88), ``interrupt`` ends a turn (F63).
- An MCP server inside the control messages, where tool calls wait for the app (:mod:`engine.park`, F70–F79).
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLINotFoundError,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
    project_key_for_directory,
)
from claude_agent_sdk import __version__ as SDK_VERSION  # noqa: N812
from claude_agent_sdk._internal.transport import subprocess_cli
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport
from claude_agent_sdk.types import Message

from engine.agents import Agent
from engine.aside import aside
from engine.destinations import UnusableProxyError, destinations
from engine.errors import ClaudeError
from engine.inherited import inherited
from engine.park import SERVER, Park, Rpc
from engine.spawn import VERIFIED_CLI, Spawn
from engine.transcript import Transcript, remove
from engine.valve import Gate, NoGate, Valve
from translate import large_json

__all__ = [
    "SDK_VERSION",
    "VERIFIED_CLI",
    "AssistantMessage",
    "Connection",
    "ResultMessage",
    "Spawn",
    "StreamEvent",
    "SystemMessage",
    "ToolResultBlock",
    "ToolUseBlock",
    "UserMessage",
    "sdk_errors",
]

log = logging.getLogger(__name__)
# The SDK would log an error for each process that is killed on purpose.
logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)


_ENCODER = json.JSONEncoder()

# The environment of the program that is being started. The SDK also runs it once for its version, in the same task.
_environment: ContextVar[Mapping[str, str] | None] = ContextVar("environment of claude", default=None)


class _OwnSession:
    """Replaces anyio in the SDK's transport: programs start in a session and with an environment of their own.

    Ctrl-C in a terminal goes to all programs in the foreground, and Claude Code would break off its answers. And the
    SDK passes on the whole environment of this process, while the program must get no more than :mod:`engine.inherited`
    allows. The SDK has no option for either.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)

    async def open_process(self, *args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> Any:
        ours = _environment.get()
        if ours is None:
            ours = inherited(os.environ)
        # The variables that the SDK itself has set.
        sdks = {name: value for name, value in (env or {}).items() if os.environ.get(name) != value}
        if os.name == "posix":
            kwargs["start_new_session"] = True
        else:
            # Windows has no sessions. There Ctrl-C goes to the programs of one group.
            group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            kwargs["creationflags"] = kwargs.get("creationflags", 0) | group
        return await anyio.open_process(*args, env={**sdks, **ours}, **kwargs)


subprocess_cli.anyio = _OwnSession()  # type: ignore[assignment, attr-defined]

# One line from the program holds a whole message. The default of 1 MiB is too small for a long answer (fact F28).
MAX_LINE_BYTES = 256 * 1024 * 1024

# The time limit for the pipes of a killed program to end. Only a program that it started could keep them open longer.
DRAIN_S = 1.0

# The lower priority of the program's processes (man 2 setpriority).
NICE = 5

# Beginnings and texts of blocks that the program takes for its own blocks of a system prompt, and its separator.
BILLING_HEADER = "x-anthropic-billing-header:"
OWN_BLOCKS = frozenset(
    {
        "You are Claude Code, Anthropic's official CLI for Claude.",
        "You are Claude Code, Anthropic's official CLI for Claude, running within the Claude Agent SDK.",
        "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
        "__SYSTEM_PROMPT_DYNAMIC_BOUNDARY__",
    }
)

# The time limit for the program to ask for a changed list of tools. Usually it takes a few milliseconds.
LIST_S = 1.0

# How late a timer may fire on an event loop that has read all that was there, and how often a busy one is asked.
LATE_S = 0.02
QUIET_TRIES = 100

# docs/claude-code.md has the reason for each line.
ENVIRONMENT: dict[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    # The announcement of the retry has the API's status and retry-after. The process is ended then, so the retry never
    # happens. With 0, the status is reported without the retry-after.
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "DISABLE_COMPACT": "1",
    "CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": "100000000",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    # Calls reach the park under the tools' own names, and tools are never deferred.
    "CLAUDE_AGENT_SDK_MCP_NO_PREFIX": "1",
    "ENABLE_TOOL_SEARCH": "false",
    # A parked call must not time out. The pool decides how long its process may be idle.
    "MCP_TOOL_TIMEOUT": "86400000",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
}


FOR_THE_PARK = frozenset({"CLAUDE_AGENT_SDK_MCP_NO_PREFIX", "MCP_TOOL_TIMEOUT"})
"""The variables that only the park needs."""


@contextlib.contextmanager
def sdk_errors() -> Iterator[None]:
    """Turn the SDK's exceptions into ClaudeError."""
    try:
        yield
    except CLINotFoundError as error:
        raise ClaudeError("cli_not_found", detail=str(error)) from error
    except (ClaudeSDKError, OSError) as error:
        raise ClaudeError("cli_failed", detail=f"{type(error).__name__}: {error}") from error


def apart(system: str) -> str:
    """Return a system prompt that Claude Code does not take for a block of its own.

    Claude Code uses a prompt that begins like its billing header in place of the header, and a prompt that has the text
    of one of its identities in place of its own. Some coding agents send such prompts.
    """
    return f"\n{system}" if system.startswith(BILLING_HEADER) or system in OWN_BLOCKS else system


class ControlTransport(SubprocessCLITransport):
    """The SDK's transport, extended by further control requests."""

    def __init__(
        self, options: ClaudeAgentOptions, *, inherits: Mapping[str, str] | None = None, has_park: bool = True
    ) -> None:
        self._environment = {**(inherited(os.environ) if inherits is None else inherits), **options.env}
        if has_park:
            # Only the program gets this configuration. The SDK's client would need a server object of its own kind.
            servers: dict[str, Any] = {SERVER: {"type": "sdk", "name": SERVER}}
            options = replace(options, mcp_servers=servers, allowed_tools=[f"mcp__{SERVER}__*"])
        super().__init__(prompt=_no_prompt(), options=options)
        self.system: str | None = None
        self.park = Park()
        self.park_changed = asyncio.Event()
        self.on_event: Callable[[Mapping[str, Any]], None] | None = None
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ids = (f"understudy-{n}" for n in itertools.count(1))
        self._killed = False
        self.read = 0
        """How many messages of the program were read."""
        self.request_id: str | None = None
        """The API's id of the request that it answered with an error. The SDK does not pass it on."""

    async def connect(self) -> None:
        """Start the program with its own environment, unless it runs."""
        token = _environment.set(self._environment)
        try:
            await super().connect()
        finally:
            _environment.reset(token)

    async def connect_with(self, session: str) -> None:
        """Start the program with a session from its configuration folder."""
        self._options = replace(self._options, resume=session)
        await self.connect()

    @property
    def pid(self) -> int | None:
        """The program's process id, once started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the program was started, and was neither killed nor has ended."""
        return self._process is not None and self._process.returncode is None and not self._killed

    async def write(self, data: str) -> None:
        """Send a line. The system prompt is added to ``initialize``."""
        if '"initialize"' in data:
            message = json.loads(data)
            if message.get("type") == "control_request" and message["request"].get("subtype") == "initialize":
                # An empty list means that there is no prompt of Claude Code either.
                message["request"]["systemPrompt"] = [apart(self.system)] if self.system else []
                data = json.dumps(message) + "\n"
        await super().write(data)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the program's messages, without the answers to our control requests and without messages to the
        park."""
        try:
            async for message in super().read_messages():
                self.read += 1
                if message.get("type") == "control_response" and self._is_ours(message["response"]):
                    continue
                if message.get("type") == "control_request" and message["request"].get("subtype") == "mcp_message":
                    await self._receive_rpc(message["request_id"], message["request"]["message"])
                    continue
                if message.get("type") == "assistant" and message.get("error"):
                    self.request_id = message.get("request_id")
                if message.get("type") == "stream_event" and self.on_event is not None:
                    self.on_event(message["event"])
                yield message
        except ClaudeSDKError as error:
            if not self._killed:
                self._fail_answers(error)
                raise
        finally:
            self._fail_answers(ClaudeSDKError("the process ended"))

    async def control(self, subtype: str, **fields: Any) -> dict[str, Any]:
        """Send a control request and wait for its answer. Raises ClaudeSDKError if it is refused."""
        request_id = next(self._ids)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        line = json.dumps(
            {"type": "control_request", "request_id": request_id, "request": {"subtype": subtype, **fields}}
        )
        await super().write(line + "\n")
        response = await answer
        if response.get("subtype") == "error":
            raise ClaudeSDKError(f"{subtype}: {response.get('error')}")
        payload: dict[str, Any] = response.get("response") or {}
        return payload

    def _is_ours(self, response: dict[str, Any]) -> bool:
        answer = self._answers.pop(str(response.get("request_id")), None)
        if answer is not None and not answer.done():
            answer.set_result(response)
        return answer is not None

    async def _receive_rpc(self, request_id: str, message: dict[str, Any]) -> None:
        answer = self.park.receive(request_id, message)
        if answer is not None:
            await self.answer_rpc(request_id, answer)
        self.park_changed.set()

    async def answer_rpc(self, request_id: str, answer: Rpc) -> None:
        """Answer the control request that contained a JSON-RPC message."""
        response = {"subtype": "success", "request_id": request_id, "response": {"mcp_response": answer}}
        await super().write(json.dumps({"type": "control_response", "response": response}) + "\n")

    def kill(self) -> None:
        """Kill the program. The SDK itself would wait five seconds for a running turn (fact F65)."""
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def terminate(self, within_s: float) -> None:
        """Ask the program to end, and wait for it. Then it also ends the commands that it has started."""
        if self._process is not None and self._process.returncode is None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                self._process.terminate()
                async with asyncio.timeout(within_s):
                    await self._process.wait()

    async def close(self) -> None:
        """Kill the program and close its pipes. Its remaining output is thrown away.

        The pipes are read to their end first, because only then does asyncio release the program. Otherwise asyncio
        would print a warning when the event loop closes.
        """
        self.kill()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(DRAIN_S):
                if self._stderr_task is not None:
                    await self._stderr_task.wait()
                if self._stdout_stream is not None:
                    while await self._stdout_stream.receive():
                        pass
        await super().close()

    def _fail_answers(self, error: Exception) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # marks the exception as seen, because nobody may wait for it any more
        self._answers.clear()


class Connection:
    """One program, and the SDK's client for it."""

    def __init__(
        self,
        spawn: Spawn,
        on_stderr: Callable[[str], None],
        on_event: Callable[[Mapping[str, Any]], None],
        valve: Valve | None = None,
        on_held: Callable[[], None] = lambda: None,
    ) -> None:
        inherits = inherited(os.environ, spawn.inherits, spawn.not_inherited)
        env = {**ENVIRONMENT, **spawn.env}
        self.gate = _gate(valve, spawn, {**inherits, **env}, self._until_read, on_held)
        """What the program may send to the API."""
        env |= self.gate.environment
        self._options = ClaudeAgentOptions(
            tools=[],
            setting_sources=[],
            strict_mcp_config=True,
            include_partial_messages=True,
            verbatim_prompts=True,
            permission_mode="dontAsk",
            # After a tool call Claude Code would ask again within 10 ms, which can be faster than the kill (fact F43).
            max_turns=1,
            # With this preset the SDK puts no prompt on the command line. The prompt is sent with initialize (fact
            # F96).
            system_prompt={"type": "preset", "preset": "claude_code"},
            max_buffer_size=MAX_LINE_BYTES,
            cwd=spawn.cwd,
            cli_path=spawn.cli_path,
            settings=str(spawn.settings) if spawn.settings else None,
            env=env,
            stderr=on_stderr,
            extra_args=dict.fromkeys(["no-session-persistence", *(["bare"] if spawn.bare else [])]),
        )
        if spawn.agent is not None:
            self._options = agent_options(self._options, spawn.agent)
        self._transport = ControlTransport(self._options, inherits=inherits, has_park=spawn.agent is None)
        # Called for each event as soon as it is read, before the event waits in queues.
        self._transport.on_event = on_event
        self._client = ClaudeSDKClient(self._options, transport=self._transport)
        self._messages: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self._backlog = 0
        self._pump: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The program's process id, once started."""
        return self._transport.pid

    @property
    def alive(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._transport.alive

    async def start_with(self, history: Transcript) -> Path:
        """Start the program with a history. Returns the file, which the program reads while it initializes."""
        config = Path(self._options.env["CLAUDE_CONFIG_DIR"])
        folder = config / "projects" / project_key_for_directory(str(self._options.cwd))
        path = await asyncio.to_thread(history.write, folder)
        try:
            await self._transport.connect_with(history.session)
            self._yield_to_us()
        except BaseException:
            remove(path)
            raise
        return path

    async def start(self) -> None:
        """Start the program. It then waits for ``initialize``."""
        await self._transport.connect()
        self._yield_to_us()

    def _yield_to_us(self) -> None:
        """Give the program a lower priority than this process.

        Without the valve there are only a few milliseconds after a stop reason to kill it before it asks again (fact
        F43).
        """
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, self._transport.pid or 0, NICE)

    @property
    def backlog(self) -> int:
        """How many events have come and are not read yet."""
        return self._backlog

    @property
    def request_id(self) -> str | None:
        """The API's id of the last request that it answered with an error."""
        return self._transport.request_id

    async def initialize(self, system: str | None, tools: Iterable[str] = ()) -> dict[str, Any]:
        """Send the system prompt, and return the program's information. Only once: the prompt cannot change (F89)."""
        self._transport.system = system
        self._transport.park.offer(tools)
        await self._client.connect()
        self._pump = asyncio.create_task(self._take_in(), name=f"read claude[{self.pid}]")
        return await self._client.get_server_info() or {}

    async def control(self, subtype: str, **fields: Any) -> dict[str, Any]:
        """Send a control request that the SDK has no method for."""
        return await self._transport.control(subtype, **fields)

    async def offer(self, tools: Iterable[str]) -> None:
        """Offer these tools in the park. Returns when the program has asked for the new list."""
        park = self._transport.park
        if park.offer(tools):
            changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            await self.control("mcp_message", server_name=SERVER, message=changed)
            # If it never asks, its calls are not parked. That only costs a rewind.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIST_S):
                    await self._until_park(lambda: park.listed == park.names)

    async def parked(self, calls: Sequence[str]) -> None:
        """Wait until all these calls wait in the park."""
        await self._until_park(lambda: self._transport.park.waits_for(calls))

    async def _until_park(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._transport.park_changed.clear()
            await self._transport.park_changed.wait()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The tool_use ids of the calls that wait in the park."""
        return self._transport.park.waiting

    async def resolve(self, call: str, content: Sequence[Mapping[str, Any]]) -> None:
        """Answer a call in the park."""
        await self._transport.answer_rpc(*self._transport.park.resolve(call, content))

    def forget_calls(self) -> None:
        """Forget the calls in the park, because their turn was interrupted."""
        self._transport.park.forget()

    async def send(self, size: int, make: Callable[[], Mapping[str, Any]]) -> None:
        """Send the user or assistant message that ``make`` returns, which is about ``size`` bytes long.

        A long one is made and encoded in a thread.
        """
        await self._transport.write(await aside(size, _line_of, make))

    async def _until_read(self, quiet_s: float) -> bool:
        """Wait until the program has reported nothing for ``quiet_s`` seconds. Return False if that does not happen.

        A timer that fires late says nothing: the event loop was busy, so there may be reports that it has not read.
        """
        loop = asyncio.get_running_loop()
        for _ in range(QUIET_TRIES):
            before, began = self._transport.read, loop.time()
            await asyncio.sleep(quiet_s)
            if self._transport.read == before and loop.time() - began < quiet_s + LATE_S:
                return True
        return False

    def fail(self, why: str) -> None:
        """End the turn with an error, after the messages that were read."""
        self._messages.put_nowait(ClaudeSDKError(why))

    async def next(self) -> Message:
        """Return the program's next message. Raises ClaudeSDKError if the program has ended.

        If the caller is cancelled, no message is lost.
        """
        message = await self._messages.get()
        if isinstance(message, StreamEvent):
            self._backlog -= 1
        if isinstance(message, Exception):
            self._messages.put_nowait(message)
            raise message
        return message

    async def _take_in(self) -> None:
        # The SDK's iterator is closed if its task is cancelled. So one task reads all messages and is never cancelled.
        try:
            async for message in self._client.receive_messages():
                if isinstance(message, StreamEvent):
                    self._backlog += 1
                self._messages.put_nowait(message)
        except Exception as error:
            self._messages.put_nowait(error)
        else:
            self._messages.put_nowait(ClaudeSDKError("the program has ended"))

    def kill(self) -> None:
        """Kill the program."""
        self._transport.kill()
        self.gate.close()

    async def terminate(self, within_s: float) -> None:
        """Ask the program to end with the commands that it runs, and wait for up to ``within_s`` seconds."""
        await self._transport.terminate(within_s)

    async def close(self) -> None:
        """Kill the program and release its resources. Returns when it has ended."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._client.disconnect()
        await self._transport.close()
        self.gate.close()


def _gate(
    valve: Valve | None,
    spawn: Spawn,
    environ: Mapping[str, str],
    until_read: Callable[[float], Awaitable[bool]],
    on_held: Callable[[], None],
) -> Gate | NoGate:
    """Return the program's gate in the valve, or one that holds nothing if it cannot use the valve."""
    if valve is None:
        return NoGate()
    to = destinations(environ, spawn.hosts)
    try:
        to.check_proxy()
    except UnusableProxyError as error:
        log.warning("Claude Code goes without the valve, which cannot use the proxy of the environment: %s", error)
        return NoGate()
    return valve.gate(to, until_read, on_held)


def agent_options(options: ClaudeAgentOptions, agent: Agent) -> ClaudeAgentOptions:
    """Return the options of a process with the tools and permissions of its agent."""
    env = {name: value for name, value in options.env.items() if name not in FOR_THE_PARK}
    return replace(
        options,
        tools=list(agent.tools),
        allowed_tools=list(agent.allow),
        permission_mode=agent.permission_mode,
        max_turns=agent.max_turns,
        # Only the servers in this file, and not those of the user or of the folder.
        mcp_servers=agent.mcp_config or {},
        sandbox={"enabled": True, "autoAllowBashIfSandboxed": True}
        if agent.sandbox and "Bash" in agent.tools
        else None,
        env=env,
    )


def _line_of(make: Callable[[], Mapping[str, Any]]) -> str:
    """Return a message as a line. ``client_composed`` means that its text is never a command (fact F29)."""
    line = {**make(), "parent_tool_use_id": None, "session_id": "default", "client_composed": True}
    return large_json.write(_ENCODER, line) + "\n"


async def _no_prompt() -> AsyncIterator[dict[str, Any]]:
    return
    yield
