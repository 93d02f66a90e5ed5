"""What a request is to be answered with."""

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
    """How a stream goes wrong."""

    DROP = "drop"
    """The connection is cut before any answer; `after` does not matter."""
    CUT = "cut"
    """The connection is cut in the middle."""
    END = "end"
    """The stream ends cleanly, but before message_stop."""
    MALFORMED = "malformed"
    """One event's data is not JSON; the stream then goes on."""
    SSE_ERROR = "sse-error"
    """An error event, then a clean end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect after `after` deltas. With None it comes before the first event, right after the headers."""

    kind: FaultKind
    after: int | None = None
    error_type: str = "overloaded_error"
    message: str = "Overloaded"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool to call. `input` None: arguments made from the tool's schema. `name` None: the first tool there is."""

    name: str | None = None
    input: Mapping[str, Any] | None = None
    input_json: str | None = None
    """The arguments as text, sent as they are, valid or not. Wins over `input`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. The default is the rehearsal's own paragraph, at the rehearsal's own pace.

    max_tokens, stop_sequences, tool_choice and the output format of the request are honoured whatever the reply says,
    unless it says the opposite: `stop_reason` given explicitly is sent as it is.
    """

    text: str | None = None
    """None: the rehearsal's own text (or a tool call, or JSON, when the request asks for it). "": no text block."""
    thinking: str | None = None
    """A thinking block before the text."""
    tool_calls: tuple[ToolCall, ...] = ()
    search: str | None = None
    """What the web is searched for before the text, if the request allows that. The text then cites what is "found"."""
    stop_reason: str | None = None
    """None: what follows from the content. Any word is allowed, also one that the API does not have."""
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    """Fields that replace those of the counted input usage, for example input_tokens."""

    status: int = 200
    """Anything but 200 makes an error body of `error_type` and `message`."""
    error_type: str | None = None
    message: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the answer."""

    delay_s: float | None = None
    """Seconds before each delta; None: the rehearsal's own."""
    gates: Mapping[int, Gate] = field(default_factory=dict)
    """What to wait for before delta k (from 0), AT_HEAD or AT_START. A key past the end holds the last events back."""
    stall_after: int | None = None
    """Hold the stream before this delta (or AT_HEAD, AT_START) until `Rehearsal.release()` or the client leaves."""
    fault: Fault | None = None

    sse: str | None = None
    """A recorded stream, played as it is."""
    body: Any = None
    """A JSON body, sent as it is whether or not a stream was asked for."""

    @classmethod
    def recorded(cls, sse: str, **fields: Any) -> Self:
        """Play recorded SSE text byte by byte as it is. A request that asks for no stream gets it folded."""
        return cls(sse=sse, **fields)

    @classmethod
    def json(cls, body: Any, *, status: int = 200, **fields: Any) -> Self:
        """Send a JSON body as it is."""
        return cls(body=body, status=status, **fields)

    @classmethod
    def error(cls, status: int, kind: str | None = None, message: str | None = None, **fields: Any) -> Self:
        """Answer with an error in Anthropic's shape; type and message follow from the status unless given."""
        return cls(status=status, error_type=kind or error_type(status), message=message, **fields)
