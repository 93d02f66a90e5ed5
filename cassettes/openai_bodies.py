"""Reads JSON bodies of OpenAI's API that may be malformed: requests, answers, their messages and tools. Pure.

Recorded bodies come from any app and any server, so nothing is known of their shape. These functions never raise for a
wrong shape: a missing or malformed value is None, "", or empty. Shapes: OpenAI's API reference.
"""

import json
from collections.abc import Mapping
from typing import Any

MESSAGE_KEYS = ("messages", "input", "prompt")
"""Where a request has its messages: Chat Completions, Responses, and the legacy completions."""

_NOTHING: Mapping[str, Any] = {}


def parsed(body: str | bytes) -> Any:
    """Return a body's JSON value, None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a JSON object as it is, an empty one for any other value."""
    return value if isinstance(value, Mapping) else _NOTHING


def array(value: Any) -> list[Any]:
    """Return a JSON array as it is, an empty one for any other value."""
    return value if isinstance(value, list) else []


def model_of(body: Any) -> str | None:
    """Return the model that a request or an answer names, None if it names none."""
    model = mapping(body).get("model")
    return model if isinstance(model, str) else None


def error_in(answer: Any) -> Any:
    """Return the error in an answer, None if there is none."""
    return mapping(answer).get("error")


def usage_in(answer: Any) -> Mapping[str, Any] | None:
    """Return the token usage in an answer, None if there is none."""
    usage = mapping(answer).get("usage")
    return usage if isinstance(usage, Mapping) else None


def last_message(body: Any) -> Any:
    """Return the last message, input item or prompt of a request, None if there is none."""
    said = next((body[key] for key in MESSAGE_KEYS if body.get(key)), None) if isinstance(body, Mapping) else None
    return said[-1] if isinstance(said, list) else said


def inner(call_or_tool: Mapping[str, Any], *keys: str) -> Mapping[str, Any] | None:
    """Return the object that holds a tool's or a call's name, None if it has none.

    Chat Completions nests it: ``{"type": "function", "function": {"name": …}}``. Responses does not.
    """
    return next(
        (call_or_tool[key] for key in (*keys, "function", "custom") if isinstance(call_or_tool.get(key), Mapping)), None
    )


def tool_name(tool: Any) -> str | None:
    """Return the name of a tool that a request declares, or its type; None if it has neither."""
    if not isinstance(tool, Mapping):
        return None
    named = inner(tool) or tool
    name = named.get("name") or named.get("type")
    return name if isinstance(name, str) else None


def tools_of(body: Any) -> list[Any]:
    """Return the tools that a request declares, and the functions of the older parameter."""
    return [*array(mapping(body).get("tools")), *array(mapping(body).get("functions"))]
