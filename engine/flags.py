"""A Turn's model and parameters as Claude Code takes them on a running process."""

import json
from typing import Any

from translate.turn import Turn


def flag_settings(turn: Turn, *, user_id: bool = True, own_tools: bool = False) -> dict[str, Any]:
    """Return the ``apply_flag_settings`` that gives a process the Turn's model and parameters (facts F10, F11).

    Everything is said each time, also what is empty: what an earlier turn on the process had must not stay.
    ``user_id`` False keeps Claude Code's own ``metadata``, which a claude.ai login is known by. ``own_tools``: Claude
    Code has tools of its own, and tells the API of them itself.
    """
    # What the process lists by itself is the park's; what the API is told is the turn's own list, also when empty.
    body: dict[str, Any] = {} if own_tools else {"tools": [dict(tool) for tool in turn.tools]}
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
