"""Claude's ``stop_reason`` -> OpenAI's ``finish_reason``. One table."""

from typing import Literal

type FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]

FINISH_REASON: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    # The prompt and the answer filled the context window, so the answer was cut because of its length.
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # Claude would continue if it were asked. OpenAI has no such reason. A client that gets "length" may ask for more.
    "pause_turn": "length",
    # The API compacted the context and stopped. Claude would continue here too.
    "compaction": "length",
}

UNKNOWN: FinishReason = "stop"
"""For stop reasons that are newer than the table. The message has ended, and nothing else is known."""


def finish_reason(stop_reason: str) -> FinishReason:
    """Return OpenAI's finish_reason for Claude's stop_reason; ``stop`` for an unknown one."""
    return FINISH_REASON.get(stop_reason, UNKNOWN)
