"""Describes the answer to one request."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from rehearsal.errors import error_type

type Gate = asyncio.Event | Callable[[], Awaitable[object]]

AT_HEAD = -2
"""As a gate's key: before the status and headers."""
AT_START = -1
"""As a gate's key: after the headers, before the first event."""


class FaultKind(StrEnum):
    """The kinds of broken streams."""

    DROP = "drop"
    """The connection is cut before any answer. `after` is ignored."""
    CUT = "cut"
    """The connection is cut in the middle."""
    END = "end"
    """The stream ends cleanly, but before message_stop."""
    MALFORMED = "malformed"
    """The data of one event is not JSON. Then the stream continues."""
    SSE_ERROR = "sse-error"
    """An error event, then a clean end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault after `after` deltas. None: before the first event, right after the headers."""

    kind: FaultKind
    after: int | None = None
    error_type: str = "overloaded_error"
    message: str = "Overloaded"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool to call. `input` None: make the arguments from the tool's schema. `name` None: the first tool."""

    name: str | None = None
    input: Mapping[str, Any] | None = None
    input_json: str | None = None
    """The arguments as text, sent unchanged, valid or not. It overrides `input`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. The default is the rehearsal's own text, at the rehearsal's own pace.

    The answer always follows max_tokens, stop_sequences, tool_choice and the output format of the request. An explicit
    `stop_reason` overrides them: it is sent unchanged.
    """

    text: str | None = None
    """None: the rehearsal's own text (or a tool call, or JSON, when the request asks for it). "": no text block."""
    thinking: str | None = None
    """A thinking block before the text."""
    tool_calls: tuple[ToolCall, ...] = ()
    search: str | None = None
    """A query for a web search before the text, if the request allows one. The text then cites a simulated page."""
    stop_reason: str | None = None
    """None: derived from the content. Any text is allowed, also one that the API does not use."""
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    """Fields that replace fields of the counted input usage, for example input_tokens."""

    status: int = 200
    """For any status except 200, the body is an error with `error_type` and `message`."""
    error_type: str | None = None
    message: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the answer."""

    delay_s: float | None = None
    """Seconds before each delta; None: the rehearsal's own."""
    gates: Mapping[int, Gate] = field(default_factory=dict)
    """What to wait for before delta k (from 0), AT_HEAD or AT_START. A key beyond the end delays the last events."""
    stall_after: int | None = None
    """Hold the stream before this delta (or AT_HEAD, AT_START) until `Rehearsal.release()` or the client leaves."""
    fault: Fault | None = None

    sse: str | None = None
    """A recorded stream, sent unchanged."""
    body: Any = None
    """A JSON body, sent unchanged, even if the request asks for a stream."""

    @classmethod
    def recorded(cls, sse: str, **fields: Any) -> Self:
        """Send recorded SSE text unchanged. A request without streaming gets it folded into one body."""
        return cls(sse=sse, **fields)

    @classmethod
    def json(cls, body: Any, *, status: int = 200, **fields: Any) -> Self:
        """Send a JSON body unchanged."""
        return cls(body=body, status=status, **fields)

    @classmethod
    def error(cls, status: int, kind: str | None = None, message: str | None = None, **fields: Any) -> Self:
        """Answer with an error in Anthropic's shape. The default type and message depend on the status."""
        return cls(status=status, error_type=kind or error_type(status), message=message, **fields)
