"""The tools, tool_choice and text.format of a response's request -> Claude's.

What they mean is Chat Completions' (:mod:`translate.tools`, :mod:`translate.response_format`); only the shapes are
flatter. So they are put into those shapes, and errors from there into these words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from translate.errors import OpenAIError
from translate.response_format import OutputFormat, translate_response_format
from translate.responses.offered import as_function, claude_name, flattened, told_of_namespaces
from translate.responses.words import reworded
from translate.tools import Tools, translate_tools

RUN_BY_OPENAI = "it is a tool that OpenAI runs, and nothing runs it here"
IN_OPENAIS_FORM = "it is a tool that OpenAI's models are trained on; offer Claude a function instead"

# Every type of tool that is refused, and why. A test holds this to OpenAI's document.
REFUSED_TOOLS: dict[str, str] = {
    "file_search": RUN_BY_OPENAI,
    "web_search": RUN_BY_OPENAI,
    "web_search_2025_08_26": RUN_BY_OPENAI,
    "web_search_preview": RUN_BY_OPENAI,
    "web_search_preview_2025_03_11": RUN_BY_OPENAI,
    "mcp": RUN_BY_OPENAI,
    "code_interpreter": RUN_BY_OPENAI,
    "programmatic_tool_calling": RUN_BY_OPENAI,
    "image_generation": RUN_BY_OPENAI,
    "tool_search": RUN_BY_OPENAI,
    "computer": IN_OPENAIS_FORM,
    "computer_use": IN_OPENAIS_FORM,
    "computer_use_preview": IN_OPENAIS_FORM,
    "local_shell": IN_OPENAIS_FORM,
    "shell": IN_OPENAIS_FORM,
    "apply_patch": IN_OPENAIS_FORM,
}

FUNCTION_FIELDS = ("name", "description", "parameters", "strict")
CUSTOM_FIELDS = ("type", "name", "description", "format")

FORMAT_WORDS = {
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "messages": "input",
}

_PLACE = re.compile(r"tools\[(?P<index>\d+)\]")


def translate_response_tools(
    tools: Sequence[Any], choice: Any, parallel: bool | None, *, can_force: bool, where: Sequence[str] = ()
) -> Tools:
    """Make Claude's tools of ``tools`` and ``tool_choice``.

    ``where`` are the tools' paths, if other than ``tools[0]`` and so on. ``can_force`` says whether the model takes a
    tool_choice of ``any`` or ``tool``. Raises OpenAIError (400).
    """
    given = where or [f"tools[{index}]" for index in range(len(tools))]
    flat = flattened(list(zip(given, tools, strict=True)))
    paths = [path for path, _ in flat]
    wrapped = [_wrapped(tool, path) for path, tool in flat]
    fields = {"tools": wrapped, "tool_choice": _chat_choice(choice), "parallel_tool_calls": parallel}
    try:
        result = translate_tools(fields, can_force=can_force)
    except OpenAIError as error:
        # Only the place that the error names is put right: all else may be the app's own words.
        place = _PLACE.match(error.param or "")
        if place is None:
            raise
        right = paths[int(place["index"])]
        raise reworded(error, {place.group(): right, f"{place.group()}.function": right}) from None
    told = "\n\n".join(filter(None, [told_of_namespaces(tools), result.instruction]))
    return replace(result, instruction=told or None)


def echoed_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools as a response repeats them. They are known to be translatable."""
    return [_echoed(tool) for tool in tools]


def _echoed(tool: Mapping[str, Any]) -> dict[str, Any]:
    match tool["type"]:
        case "function":
            return {
                "type": "function",
                "name": tool["name"],
                "description": tool.get("description") or None,
                "parameters": tool.get("parameters"),
                "strict": tool.get("strict") is True,
            }
        case "custom":
            return {name: tool[name] for name in CUSTOM_FIELDS if tool.get(name) is not None}
        case _:
            described = tool.get("description")
            return {
                "type": "namespace",
                "name": tool["name"],
                "description": described if isinstance(described, str) else "",
                "tools": echoed_tools(tool["tools"]),
            }


def translate_text_format(value: Mapping[str, Any] | None, said: Sequence[Any]) -> OutputFormat:
    """Translate ``text.format``. ``said`` is the app's input, in which ``json_object`` wants the word JSON.

    Raises OpenAIError (400).
    """
    chat: Any = value
    if value and value.get("type") == "json_schema":
        chat = {"type": "json_schema", "json_schema": {key: value[key] for key in value if key != "type"}}
    try:
        return translate_response_format(chat, said)
    except OpenAIError as error:
        if error.message.startswith("Invalid schema"):
            error.param, error.code = "text.format.schema", "invalid_json_schema"
            raise
        raise reworded(error, FORMAT_WORDS) from None


def echoed_format(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``text.format`` as a response repeats it. It is known to be translatable."""
    if not value or value["type"] != "json_schema":
        return {"type": value["type"] if value else "text"}
    described = {"description": value["description"]} if isinstance(value.get("description"), str) else {}
    return {
        "type": "json_schema",
        "name": value["name"],
        **described,
        "schema": value["schema"],
        "strict": value.get("strict") is True,
    }


def _wrapped(tool: Any, path: str) -> Any:
    match tool:
        case {"type": "function"}:
            _check_callers(tool.get("allowed_callers"), path)
            return {"type": "function", "function": {name: tool[name] for name in FUNCTION_FIELDS if name in tool}}
        case {"type": "custom"}:
            _check_callers(tool.get("allowed_callers"), path)
            return {"type": "function", "function": as_function(tool, path)}
        case {"type": str() as kind} if kind in REFUSED_TOOLS:
            message = f"Unsupported value: '{path}.type': {kind!r} is not supported here: {REFUSED_TOOLS[kind]}."
            raise OpenAIError(message, param=f"{path}.type", code="unsupported_value")
        case _:
            return tool


def _check_callers(callers: Any, path: str) -> None:
    if isinstance(callers, list) and callers and "direct" not in callers:
        message = f"Unsupported value: '{path}.allowed_callers': only the model itself calls functions here."
        raise OpenAIError(message, param=f"{path}.allowed_callers", code="unsupported_value")


def _chat_choice(choice: Any) -> Any:
    match choice:
        case {"type": "function" | "custom", "name": str() as name}:
            namespace = choice.get("namespace")
            name = claude_name(name, namespace if isinstance(namespace, str) else None)
            return {"type": "function", "function": {"name": name}}
        case {"type": "function" | "custom"}:
            message = "Missing required parameter: 'tool_choice.name'."
            raise OpenAIError(message, param="tool_choice.name", code="missing_required_parameter")
        case {"type": "allowed_tools", "mode": mode, "tools": list(tools)}:
            allowed = [_chat_choice(tool) if isinstance(tool, dict) else tool for tool in tools]
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
        case {"type": "allowed_tools"}:
            message = "Invalid value for 'tool_choice': allowed_tools has a mode and a list of tools."
            raise OpenAIError(message, param="tool_choice", code="invalid_value")
        case {"type": str() as kind} if kind in REFUSED_TOOLS:
            message = f"Unsupported value: 'tool_choice.type': {kind!r} is not supported here: {REFUSED_TOOLS[kind]}."
            raise OpenAIError(message, param="tool_choice.type", code="unsupported_value")
        case _:
            return choice
