"""The only file that imports the Claude Code SDK.

The SDK's client speaks to the `claude` program through a Transport. Ours (:class:`ControlTransport`) wraps the SDK's
own and adds what its client cannot say (all UNDOC, each held by a test named after its fact):

- the system prompt travels inside ``initialize`` instead of on the command line, where `ps` would show it and 128 KiB
  would be its limit (facts F8, F96), which also lets a process be started before the prompt is known;
- control requests of our own: ``apply_flag_settings`` sets model and parameters on a running process (fact F11),
  ``rewind_conversation`` takes messages off it again (F88), ``interrupt`` ends a turn (F63);
- an MCP server inside the control messages where tool calls wait for the app (:mod:`engine.park`, F70–F79).
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
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
from engine.errors import ClaudeError
from engine.inherited import inherited
from engine.park import SERVER, Park, Rpc
from engine.transcript import Transcript, remove

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
# A process that we kill is no news, and the SDK's own account of it would be an error in the log.
logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)


# The whole environment of the program that is being started; the SDK asks for its version in the same task.
_environment: ContextVar[Mapping[str, str] | None] = ContextVar("environment of claude", default=None)


class _OwnSession:
    """anyio for the SDK's transport: programs start in a session of their own, with the environment that is theirs.

    Ctrl-C in a terminal goes to everyone in the foreground, and Claude Code would break off its answers; we decide what
    ends when. The SDK adds its options to the whole environment of this process, of which the program is to have no
    more than :mod:`engine.inherited` lets through. The SDK has no option for either.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)

    async def open_process(self, *args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> Any:
        ours = _environment.get()
        if ours is None:
            ours = inherited(os.environ)
        # What the SDK itself has set is neither as we inherited it nor ours.
        sdks = {name: value for name, value in (env or {}).items() if os.environ.get(name) != value}
        if os.name == "posix":
            kwargs["start_new_session"] = True
        else:
            # Windows has no sessions; its Ctrl-C goes to the programs of one group.
            group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            kwargs["creationflags"] = kwargs.get("creationflags", 0) | group
        return await anyio.open_process(*args, env={**sdks, **ours}, **kwargs)


subprocess_cli.anyio = _OwnSession()  # type: ignore[assignment, attr-defined]

# The program that the facts were found with, and every test is run with: the one in the SDK's wheel.
VERIFIED_CLI = "2.1.332"

# One line back from the CLI holds a whole message; the default of 1 MiB would fail on a long answer (fact F28).
MAX_LINE_BYTES = 256 * 1024 * 1024

# How long the pipes of a killed program may take to end. They take longer only if something that it started holds them.
DRAIN_S = 1.0

# How much the program's processes come after ours, in the system's own measure (man 2 setpriority).
NICE = 5

# How the program's own blocks of a system prompt begin or read; and what parts such a prompt, which it takes out.
BILLING_HEADER = "x-anthropic-billing-header:"
OWN_BLOCKS = frozenset(
    {
        "You are Claude Code, Anthropic's official CLI for Claude.",
        "You are Claude Code, Anthropic's official CLI for Claude, running within the Claude Agent SDK.",
        "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
        "__SYSTEM_PROMPT_DYNAMIC_BOUNDARY__",
    }
)

# How long the program may take to ask for a list of tools that has changed; it does within a few milliseconds.
LIST_S = 1.0

# Each line's reason is in docs/claude-code.md.
ENVIRONMENT: dict[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    # One retry, which never happens: its announcement carries the API's status and retry-after, and we end the process
    # there. With 0 the CLI would report the status but not how long to wait.
    "CLAUDE_CODE_MAX_RETRIES": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "DISABLE_COMPACT": "1",
    "CLAUDE_CODE_BLOCKING_LIMIT_OVERRIDE": "100000000",
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    # Client tools keep their own names on their way to the park, and are never deferred.
    "CLAUDE_AGENT_SDK_MCP_NO_PREFIX": "1",
    "ENABLE_TOOL_SEARCH": "false",
    # A parked call waits as long as its process may stay idle, which the pool decides.
    "MCP_TOOL_TIMEOUT": "86400000",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
}


FOR_THE_PARK = frozenset({"CLAUDE_AGENT_SDK_MCP_NO_PREFIX", "MCP_TOOL_TIMEOUT"})
"""What of the environment is only there for the park."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """How to start a process.

    ``bare`` drops Claude Code's reminder blocks (fact F2); a login by OAuth does not work with it (F4). ``env`` is laid
    over what it inherits from this process's environment: the names in :mod:`engine.inherited`, those that fit one of
    the patterns ``inherits``, and none of ``not_inherited``. ``cli_path`` None means the program that the SDK brings.
    ``settings`` is a file with Claude Code's own settings. ``agent`` gives it tools of its own.
    """

    bare: bool = True
    cwd: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    env: Mapping[str, str] = field(default_factory=dict)
    cli_path: Path | None = None
    settings: Path | None = None
    agent: Agent | None = None
    inherits: Sequence[str] = ()
    not_inherited: Collection[str] = ()

    @property
    def can_resume(self) -> bool:
        """Whether its configuration folder is ours to put a transcript into."""
        return "CLAUDE_CONFIG_DIR" in self.env


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

    One that begins like its billing header would stand in the place of that, and one of its identities' very words in
    the place of its own. Coding agents whose requests were translated send both.
    """
    return f"\n{system}" if system.startswith(BILLING_HEADER) or system in OWN_BLOCKS else system


class ControlTransport(SubprocessCLITransport):
    """The SDK's transport, with our own control requests beside the client's."""

    def __init__(
        self, options: ClaudeAgentOptions, *, inherits: Mapping[str, str] | None = None, has_park: bool = True
    ) -> None:
        self._environment = {**(inherited(os.environ) if inherits is None else inherits), **options.env}
        if has_park:
            # Only the program is told of the server; the client would want an instance of its own kind.
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
        self.request_id: str | None = None
        """What the API called the request that it answered with an error; the SDK does not pass that on."""

    async def connect(self) -> None:
        """Start the program, with its own environment and nothing more of ours. Once it runs, nothing happens."""
        token = _environment.set(self._environment)
        try:
            await super().connect()
        finally:
            _environment.reset(token)

    async def connect_with(self, session: str) -> None:
        """Start the program with a session that lies in its folder."""
        self._options = replace(self._options, resume=session)
        await self.connect()

    @property
    def pid(self) -> int | None:
        """The program's process id, once started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def write(self, data: str) -> None:
        """Send a line; ``initialize`` gets the system prompt on its way."""
        if '"initialize"' in data:
            message = json.loads(data)
            if message.get("type") == "control_request" and message["request"].get("subtype") == "initialize":
                # An empty list says: no prompt of Claude Code's own either.
                message["request"]["systemPrompt"] = [apart(self.system)] if self.system else []
                data = json.dumps(message) + "\n"
        await super().write(data)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the program says, less the answers to our own control requests and what is for the park."""
        try:
            async for message in super().read_messages():
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
        """Send a control request and wait for its answer. Raises ClaudeSDKError when it is refused."""
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
        """Answer the control request that a JSON-RPC message came in."""
        response = {"subtype": "success", "request_id": request_id, "response": {"mcp_response": answer}}
        await super().write(json.dumps({"type": "control_response", "response": response}) + "\n")

    def kill(self) -> None:
        """End the program at once. The SDK's own way would wait five seconds for a turn in flight (fact F65)."""
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def terminate(self, within_s: float) -> None:
        """Ask the program to end, and wait for it; by itself it ends what it has started."""
        if self._process is not None and self._process.returncode is None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                self._process.terminate()
                async with asyncio.timeout(within_s):
                    await self._process.wait()

    async def close(self) -> None:
        """End the program and free its pipes. Nothing that it could still say is wanted.

        The pipes are read to their end first: asyncio frees a program whose pipes have ended, and one that it has not
        freed when the loop closes is complained about on the person's terminal.
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
                answer.exception()  # nobody may be waiting any more
        self._answers.clear()


class Connection:
    """One program and the SDK's client on it."""

    def __init__(
        self, spawn: Spawn, on_stderr: Callable[[str], None], on_event: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._options = ClaudeAgentOptions(
            tools=[],
            setting_sources=[],
            strict_mcp_config=True,
            include_partial_messages=True,
            verbatim_prompts=True,
            permission_mode="dontAsk",
            # After a tool call the CLI asks again within 10 ms of its stop reason, which our kill can lose to (F43).
            max_turns=1,
            # As this preset the SDK puts no prompt on the command line; initialize says which one it is (F96).
            system_prompt={"type": "preset", "preset": "claude_code"},
            max_buffer_size=MAX_LINE_BYTES,
            cwd=spawn.cwd,
            cli_path=spawn.cli_path,
            settings=str(spawn.settings) if spawn.settings else None,
            env={**ENVIRONMENT, **spawn.env},
            stderr=on_stderr,
            extra_args=dict.fromkeys(["no-session-persistence", *(["bare"] if spawn.bare else [])]),
        )
        if spawn.agent is not None:
            self._options = agent_options(self._options, spawn.agent)
        inherits = inherited(os.environ, spawn.inherits, spawn.not_inherited)
        self._transport = ControlTransport(self._options, inherits=inherits, has_park=spawn.agent is None)
        # Told of each event as soon as it is read: what must happen at once cannot wait for its turn in the queues.
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
        """Start the program with a history, and return the file that it reads it from while it initializes."""
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
        """Start the program. It boots by itself and waits for ``initialize``."""
        await self._transport.connect()
        self._yield_to_us()

    def _yield_to_us(self) -> None:
        """Let the program come after us where processors are scarce.

        When it tells a stop reason, we have a few milliseconds to end it before it asks again (fact F43).
        """
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, self._transport.pid or 0, NICE)

    @property
    def backlog(self) -> int:
        """How many events have come that nobody has taken yet."""
        return self._backlog

    @property
    def request_id(self) -> str | None:
        """What the API called the last request that it answered with an error."""
        return self._transport.request_id

    async def initialize(self, system: str | None, tools: Iterable[str] = ()) -> dict[str, Any]:
        """Tell the program who it is, and return what it says of itself. Can be done once: the prompt stays (F89)."""
        self._transport.system = system
        self._transport.park.offer(tools)
        await self._client.connect()
        self._pump = asyncio.create_task(self._take_in(), name=f"read claude[{self.pid}]")
        return await self._client.get_server_info() or {}

    async def control(self, subtype: str, **fields: Any) -> dict[str, Any]:
        """Send a control request that the SDK has no method for."""
        return await self._transport.control(subtype, **fields)

    async def offer(self, tools: Iterable[str]) -> None:
        """Let calls of these tools reach the park. Returns when the program has asked for the new list."""
        park = self._transport.park
        if park.offer(tools):
            changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            await self.control("mcp_message", server_name=SERVER, message=changed)
            # If it never asks, its calls will not be parked, which costs a rewind and nothing else.
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
        """Return a call from the park."""
        await self._transport.answer_rpc(*self._transport.park.resolve(call, content))

    def forget_calls(self) -> None:
        """Expect no answer to the calls that wait in the park: their turn was interrupted."""
        self._transport.park.forget()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a user's or an assistant's message, as it is (``client_composed``: nothing in it is a command, F29)."""
        line = {**message, "parent_tool_use_id": None, "session_id": "default", "client_composed": True}
        await self._transport.write(json.dumps(line) + "\n")

    async def next(self) -> Message:
        """Return the program's next message, typed. Raises ClaudeSDKError when it has ended.

        Whoever waits here may be cancelled, and the next one goes on where it was.
        """
        message = await self._messages.get()
        if isinstance(message, StreamEvent):
            self._backlog -= 1
        if isinstance(message, Exception):
            self._messages.put_nowait(message)
            raise message
        return message

    async def _take_in(self) -> None:
        # The SDK's iterator ends for good when the task that waits on it is cancelled; this one waits for all.
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
        """End the program at once."""
        self._transport.kill()

    async def terminate(self, within_s: float) -> None:
        """Let the program end by itself, with the commands that it runs, if it does within this time."""
        await self._transport.terminate(within_s)

    async def close(self) -> None:
        """End the program and free what it held. Returns once it is gone."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._client.disconnect()
        await self._transport.close()


def agent_options(options: ClaudeAgentOptions, agent: Agent) -> ClaudeAgentOptions:
    """Return the options of a process with tools of its own, as its agent has them and no more."""
    env = {name: value for name, value in options.env.items() if name not in FOR_THE_PARK}
    return replace(
        options,
        tools=list(agent.tools),
        allowed_tools=list(agent.allow),
        permission_mode=agent.permission_mode,
        max_turns=agent.max_turns,
        # What it is told of is the file's servers, and nothing of the person's own or the folder's.
        mcp_servers=agent.mcp_config or {},
        sandbox={"enabled": True, "autoAllowBashIfSandboxed": True}
        if agent.sandbox and "Bash" in agent.tools
        else None,
        env=env,
    )


async def _no_prompt() -> AsyncIterator[dict[str, Any]]:
    return
    yield
