"""A Turn's model and parameters -> settings of a running Claude Code process."""

import json
from typing import Any

from translate.turn import Turn


def flag_settings(turn: Turn, *, user_id: bool = True, own_tools: bool = False) -> dict[str, Any]:
    """Return the settings for ``apply_flag_settings`` that give a process the Turn's model and parameters.

    Each call sets everything, also empty values, so that nothing of an earlier turn remains (facts F10, F11).
    ``user_id`` False keeps Claude Code's own ``metadata``, which identifies a claude.ai login. ``own_tools`` says that
    Claude Code uses its own tools and sends them to the API itself.
    """
    # The process itself would send the park's list of tools. The API must get the turn's list, also if it is empty.
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
