"""Claude's ``stop_reason`` -> OpenAI's ``finish_reason``. One table."""

from typing import Literal

type FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]

FINISH_REASON: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    # The prompt and the answer together filled the model's window: to the app, an answer cut for length.
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # OpenAI has no word for a turn that would go on if asked. A client that reads "length" asks for more,
    # and more is what there is.
    "pause_turn": "length",
    # The API compacted the context and stopped there; as with pause_turn, there is more to be had.
    "compaction": "length",
}

UNKNOWN: FinishReason = "stop"
"""For stop reasons newer than the table: the message did end, and that is all we know."""


def finish_reason(stop_reason: str) -> FinishReason:
    """Return OpenAI's word for Claude's; a word we do not know yet means that the answer ended: ``stop``."""
    return FINISH_REASON.get(stop_reason, UNKNOWN)
