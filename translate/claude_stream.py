"""The order of Claude's events: the state machine that the streams of both dialects share.

What may follow what is one table. An event that is not in the table for the present state is an error of Claude's side.

The answer is complete when a ``message_delta`` has told the stop reason, because the engine may end the process at that
moment (fact F40). An answer that ends earlier is an error. It is never taken for a short answer.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import msgspec

from translate.claude_wire import (
    ClaudeEvent,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    MessageDelta,
    MessageStart,
    Ping,
    decode_event,
)
from translate.usage import merge_usage


class ClaudeProtocolError(Exception):
    """Claude's events came in an impossible order, or stopped before the end."""


class State(Enum):
    """Where the stream is."""

    IDLE = auto()
    OPEN = auto()
    IN_BLOCK = auto()
    FINISHED = auto()


TRANSITIONS: dict[tuple[State, type], State] = {
    (State.IDLE, MessageStart): State.OPEN,
    (State.OPEN, ContentBlockStart): State.IN_BLOCK,
    (State.IN_BLOCK, ContentBlockDelta): State.IN_BLOCK,
    (State.IN_BLOCK, ContentBlockStop): State.OPEN,
    (State.OPEN, MessageDelta): State.FINISHED,
    # An answer that max_tokens cuts inside a tool call ends without that block's stop.
    (State.IN_BLOCK, MessageDelta): State.FINISHED,
    **{(state, Ping): state for state in State},
}


class ClaudeStream:
    """Reads the events of one answer in order. The streams of the dialects extend it.

    After the first event ``claude_model`` is the model that answers. ``unknown_events`` counts events of unknown types.
    """

    def __init__(self) -> None:
        self.state = State.IDLE
        self.claude_model: str | None = None
        self.stop_reason: str | None = None
        self.unknown_events = 0
        self._input = ""
        """The input of the present call, as JSON, if the start of its block has it. A delta replaces it."""
        self._usage: dict[str, Any] = {}

    @property
    def complete(self) -> bool:
        """Whether the stop reason is known. Nothing that the app needs can come after it."""
        return self.state is State.FINISHED

    def feed_eof(self) -> None:
        """Note that no more events will come. Raises ClaudeProtocolError unless the answer is complete."""
        if not self.complete:
            raise ClaudeProtocolError(f"the events ended while {self.state.name}")

    def _read(self, raw: Mapping[str, Any]) -> ClaudeEvent | None:
        """Return the event if it may come now; None if its type is unknown.

        Raises ClaudeProtocolError if the event cannot come now, or has not the form of its type.
        """
        try:
            event = decode_event(raw)
        except msgspec.ValidationError as error:
            raise ClaudeProtocolError(f"{raw.get('type')}: {error}") from None
        if event is None:
            self.unknown_events += 1
            return None
        try:
            self.state = TRANSITIONS[self.state, type(event)]
        except KeyError:
            raise ClaudeProtocolError(f"{type(event).__name__} while {self.state.name}") from None
        match event:
            case MessageStart(message=message):
                self.claude_model = message.model
                self._usage = merge_usage({}, message.usage)
            case ContentBlockStart(content_block=block):
                # Anthropic sends an empty object here and the input in deltas. Some gateways send the input here.
                self._input = msgspec.json.encode(block.input).decode() if block.input else ""
            case ContentBlockDelta(delta=delta) if delta.partial_json:
                self._input = ""
            case MessageDelta(delta=delta):
                if delta.stop_reason is None:
                    raise ClaudeProtocolError("message_delta without a stop_reason")
                self.stop_reason = delta.stop_reason
                self._usage = merge_usage(self._usage, event.usage or {})
            case _:
                pass
        return event


def explanation(event: MessageDelta) -> str:
    """Return Claude's explanation of its stop reason; "" if there is none."""
    text = (event.delta.stop_details or {}).get("explanation")
    return text if isinstance(text, str) else ""
