"""The only file that imports the Claude Code SDK.

The SDK's client speaks to the `claude` program through a Transport. Ours (:class:`ControlTransport`) wraps the SDK's
own and adds two things that its client cannot say (both UNDOC, each held by a test named after its fact):

- the system prompt travels inside ``initialize`` instead of on the command line, where `ps` would show it and 128 KiB
  would be its limit (facts F8, F96), which also lets a process be started before the prompt is known;
- control requests of our own: ``apply_flag_settings`` sets model and parameters on a running process (fact F11).
"""

import asyncio
import contextlib
import itertools
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLINotFoundError,
    ResultMessage,
    StreamEvent,
    SystemMessage,
)
from claude_agent_sdk import __version__ as SDK_VERSION  # noqa: N812
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport
from claude_agent_sdk.types import Message

from engine.errors import ClaudeError

__all__ = [
    "SDK_VERSION",
    "AssistantMessage",
    "Connection",
    "ResultMessage",
    "Spawn",
    "StreamEvent",
    "SystemMessage",
    "sdk_errors",
]

log = logging.getLogger(__name__)
# A process that we kill is no news, and the SDK's own account of it would be an error in the log.
logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)

# One line back from the CLI holds a whole message; the default of 1 MiB would fail on a long answer (fact F28).
MAX_LINE_BYTES = 256 * 1024 * 1024

# How long the pipes of a killed program may take to end. They take longer only if something that it started holds them.
DRAIN_S = 1.0

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
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True, slots=True)
class Spawn:
    """How to start a process.

    ``bare`` drops Claude Code's reminder blocks (fact F2); a login by OAuth does not work with it (F4). ``env`` is laid
    over this process's environment. ``cli_path`` None means the program that the SDK brings.
    """

    bare: bool = True
    cwd: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    env: Mapping[str, str] = field(default_factory=dict)
    cli_path: Path | None = None


@contextlib.contextmanager
def sdk_errors() -> Iterator[None]:
    """Turn the SDK's exceptions into ClaudeError."""
    try:
        yield
    except CLINotFoundError as error:
        raise ClaudeError("cli_not_found", detail=str(error)) from error
    except (ClaudeSDKError, OSError) as error:
        raise ClaudeError("cli_failed", detail=f"{type(error).__name__}: {error}") from error


class ControlTransport(SubprocessCLITransport):
    """The SDK's transport, with our own control requests beside the client's."""

    def __init__(self, options: ClaudeAgentOptions) -> None:
        super().__init__(prompt=_no_prompt(), options=options)
        self.system: str | None = None
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._ids = (f"understudy-{n}" for n in itertools.count(1))
        self._killed = False

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
                message["request"]["systemPrompt"] = [self.system] if self.system else []
                data = json.dumps(message) + "\n"
        await super().write(data)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the program says, less the answers to our own control requests."""
        try:
            async for message in super().read_messages():
                if message.get("type") == "control_response":
                    answer = self._answers.pop(message["response"].get("request_id"), None)
                    if answer is not None:
                        if not answer.done():
                            answer.set_result(message["response"])
                        continue
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

    def kill(self) -> None:
        """End the program at once. The SDK's own way would wait five seconds for a turn in flight (fact F65)."""
        self._killed = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

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

    def __init__(self, spawn: Spawn, on_stderr: Callable[[str], None]) -> None:
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
            env={**ENVIRONMENT, **spawn.env},
            stderr=on_stderr,
            extra_args=dict.fromkeys(["no-session-persistence", *(["bare"] if spawn.bare else [])]),
        )
        self._transport = ControlTransport(self._options)
        self._client = ClaudeSDKClient(self._options, transport=self._transport)

    @property
    def pid(self) -> int | None:
        """The program's process id, once started."""
        return self._transport.pid

    @property
    def alive(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._transport.alive

    async def start(self) -> None:
        """Start the program. It boots by itself and waits for ``initialize``."""
        await self._transport.connect()

    async def initialize(self, system: str | None) -> dict[str, Any]:
        """Tell the program who it is, and return what it says of itself. Can be done once: the prompt stays (F89)."""
        self._transport.system = system
        await self._client.connect()
        return await self._client.get_server_info() or {}

    async def control(self, subtype: str, **fields: Any) -> dict[str, Any]:
        """Send a control request that the SDK has no method for."""
        return await self._transport.control(subtype, **fields)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a user's or an assistant's message, as it is (``client_composed``: nothing in it is a command, F29)."""
        line = {**message, "parent_tool_use_id": None, "session_id": "default", "client_composed": True}
        await self._transport.write(json.dumps(line) + "\n")

    def messages(self) -> AsyncIterator[Message]:
        """Yield the program's messages, typed, until it ends."""
        return self._client.receive_messages()

    def kill(self) -> None:
        """End the program at once."""
        self._transport.kill()

    async def close(self) -> None:
        """End the program and free what it held. Returns once it is gone."""
        await self._client.disconnect()
        await self._transport.close()


async def _no_prompt() -> AsyncIterator[dict[str, Any]]:
    return
    yield
