"""OpenAI's tools, tool_choice and tool calls <-> Claude's.

Sources: https://platform.openai.com/docs/guides/function-calling,
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use. Names have the same alphabet on both sides. A schema that
OpenAI refuses is refused with OpenAI's message. A schema that only Claude refuses is refused too, because without a
part of it the app would get other arguments. A strict schema that Claude's grammar cannot express is sent completely,
but not as strict.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from translate.errors import OpenAIError
from translate.json_schema import SchemaError, fit, is_beyond
from translate.turn import ContentBlock

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# Claude's API: «Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'».
PROPERTY_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")

NOTHING = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
"""The parameters of a strict function that has none. OpenAI: «omitting parameters defines an empty parameter list»."""

MAX_TOOLS = 128  # OpenAI's limit


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a Turn. ``instruction`` asks for a call, for models that cannot be forced to make one.

    ``loose`` are the paths of the ``strict`` fields that have no effect. ``replaced`` are the paths of tools in whose
    place the conversation offers another tool of the same name.
    """

    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Mapping[str, Any] | None = None
    instruction: str | None = None
    legacy: bool = False
    loose: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def translate_tools(
    fields: Mapping[str, Any], *, can_force: bool, server_tools: Sequence[Mapping[str, Any]] = ()
) -> Tools:
    """Translate ``tools`` and ``tool_choice``, or the older ``functions`` and ``function_call``.

    ``can_force`` says whether the model accepts a tool_choice of ``any`` or ``tool``. ``server_tools`` are tools that
    Anthropic runs, in the form of its API. Raises OpenAIError (400).
    """
    legacy = bool(fields.get("functions"))
    if legacy and fields.get("tools"):
        raise _invalid("functions", "'functions' and 'tools' cannot be used together.")
    if legacy:
        given, where = [{"type": "function", "function": f} for f in _list(fields, "functions")], "functions"
    else:
        given, where = _list(fields, "tools"), "tools"
    if len(given) > MAX_TOOLS:
        message = f"Invalid '{where}': array too long. Expected at most {MAX_TOOLS}, but got {len(given)} instead."
        raise OpenAIError(message, param=where, code="array_above_max_length")
    tools = [_tool(tool, f"{where}[{index}]", legacy) for index, tool in enumerate(given)]
    strict = [index for index, tool in enumerate(given) if tool["function"].get("strict") is True]
    inside = "" if legacy else ".function"
    loose = tuple(f"{where}[{index}]{inside}.strict" for index in strict if "strict" not in tools[index])
    tools += [dict(tool) for tool in server_tools]
    # Apps that collect tools from several places may offer one twice.
    tools = [tool for index, tool in enumerate(tools) if tool not in tools[:index]]
    names = [tool["name"] for tool in tools]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise _invalid(where, f"Invalid '{where}': the name {repeated!r} is used more than once.")
    param = "function_call" if legacy else "tool_choice"
    choice = _legacy_choice(fields.get(param)) if legacy else fields.get(param)
    if not tools:
        if choice not in (None, "none", "auto"):
            raise _invalid(param, f"Invalid value: '{param}' is only allowed when 'tools' are specified.")
        return Tools()
    chosen = _choose(tools, choice, param, fields.get("parallel_tool_calls"), can_force=can_force, legacy=legacy)
    return replace(chosen, loose=loose)


def _choose(
    tools: list[dict[str, Any]], choice: Any, param: str, parallel: Any, *, can_force: bool, legacy: bool
) -> Tools:
    """Translate the choice. If the model cannot be forced, offer only the allowed tools, and instruct it to call
    one."""
    tools, mode = _narrow(tools, choice, param)
    # With the older form, OpenAI's models make one call at a time.
    single = {"disable_parallel_tool_use": True} if parallel is False or legacy else {}
    if mode == "none":
        return Tools(tuple(tools), {"type": "none"}, legacy=legacy)
    if mode == "auto":
        return Tools(tuple(tools), {"type": "auto", **single} if single else None, legacy=legacy)
    named = mode if mode != "required" else None
    if can_force:
        forced = {"type": "tool", "name": named} if named else {"type": "any"}
        return Tools(tuple(tools), {**forced, **single}, legacy=legacy)
    if named:
        tools = [tool for tool in tools if tool["name"] == named]
    instruction = f"Answer by calling the tool {named}." if named else "Answer by calling at least one of the tools."
    return Tools(
        tuple(tools), {"type": "auto", **single} if single else None, f"{instruction} Do not answer in text.", legacy
    )


def _narrow(tools: list[dict[str, Any]], choice: Any, param: str) -> tuple[list[dict[str, Any]], str]:
    """Return the tools on offer and ``none``, ``auto``, ``required`` or the name of the one to call."""
    match choice:
        case None | "auto":
            return tools, "auto"
        case "none" | "required":
            return tools, choice
        case {"type": "function", "function": {"name": str() as name}} | {"type": "function", "name": str() as name}:
            if name not in [tool["name"] for tool in tools]:
                raise _invalid(param, f"Invalid value for '{param}': there is no function named {name!r}.")
            return tools, name
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(allowed)}}:
            names = [_allowed_name(tool, param) for tool in allowed]
            offered = [tool for tool in tools if tool["name"] in names]
            if len(offered) < len(set(names)):
                raise _invalid(param, f"Invalid value for '{param}': it allows a tool that is not in 'tools'.")
            return offered, mode
        case {"type": "custom"}:
            raise _unsupported(param, "custom tools are not supported")
        case _:
            raise _invalid(param, f"Invalid value for '{param}'.", code="invalid_value")


def _allowed_name(tool: Any, param: str) -> str:
    match tool:
        case {"type": "function", "function": {"name": str() as name}}:
            return name
        case _:
            raise _invalid(param, f"Invalid value for '{param}': only functions can be allowed.", code="invalid_value")


def _legacy_choice(choice: Any) -> Any:
    return {"type": "function", "function": choice} if isinstance(choice, dict) else choice


def _tool(tool: Any, where: str, legacy: bool) -> dict[str, Any]:
    match tool:
        case {"type": "function", "function": dict(function)}:
            pass
        case {"type": "custom"}:
            raise _unsupported(where, "custom tools are not supported: Claude's tools take JSON")
        case {"type": str() as kind} if kind != "function":
            raise _invalid(f"{where}.type", f"Invalid value: {kind!r}. Supported values are: 'function'.")
        case _:
            raise _invalid(where, f"Invalid type for '{where}': expected a function.", code="invalid_type")
    path = where if legacy else f"{where}.function"
    name = function.get("name")
    if not isinstance(name, str):
        message = f"Missing required parameter: '{path}.name'."
        raise OpenAIError(message, param=f"{path}.name", code="missing_required_parameter")
    if not NAME.fullmatch(name):
        raise OpenAIError(
            f"Invalid '{path}.name': string does not match pattern. Expected a string that matches the pattern"
            " '^[a-zA-Z0-9_-]+$' with at most 64 characters.",
            param=f"{path}.name",
            code="invalid_value",
        )
    given = function.get("parameters")
    if given is None and function.get("strict") is True:
        given = NOTHING
    result: dict[str, Any] = {"name": name, "input_schema": _schema(given, path, name)}
    if description := function.get("description"):
        if not isinstance(description, str):
            message = f"Invalid type for '{path}.description': expected a string."
            raise OpenAIError(message, param=f"{path}.description", code="invalid_type")
        result["description"] = description
    if function.get("strict") is True:
        try:
            fitted = fit(result["input_schema"], strict=True)
        except SchemaError as error:
            raise _schema_error(f"Invalid schema for function '{name}': {error}", f"{path}.parameters") from None
        # A schema that the grammar cannot express is sent like one that is not strict.
        if not is_beyond(result["input_schema"]):
            result |= {"strict": True, "input_schema": fitted}
    return result


def _schema(schema: Any, path: str, name: str) -> dict[str, Any]:
    param = f"{path}.parameters"
    if schema is None:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, dict):
        raise OpenAIError(f"Invalid type for '{param}': expected an object.", param=param, code="invalid_type")
    if (kind := schema.get("type", "object")) != "object":
        message = (
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', got {kind!r}."
        )
        raise _schema_error(message, param)
    if top := [word for word in ("oneOf", "anyOf", "allOf", "enum", "not") if word in schema]:
        message = f"Invalid schema for function '{name}': schema must not have {top[0]!r} at the top level."
        raise _schema_error(message, param)
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise _schema_error(f"Invalid schema for function '{name}': 'properties' must be an object.", param)
    if odd := next((key for key in properties if not PROPERTY_NAME.fullmatch(key)), None):
        message = f"Invalid schema for function '{name}': Claude takes no property named {odd!r}."
        raise _schema_error(f"{message} Names match '^[a-zA-Z0-9_.-]{{1,64}}$'.", param)
    return {**schema, "type": "object"}


class ToolUseIds:
    """Ids of tool calls that Claude accepts: they have a fixed alphabet, and each is used once in a conversation.

    Ids that came from Claude stay unchanged. Other ids are changed, always in the same way. Claude Code takes the call
    ``a_2`` for a part of the call ``a`` and loses its result. So two such ids are not used together.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._whole: set[str] = set()

    def claim(self, given: str) -> str:
        """Return Claude's id for a call whose id in the app's history is ``given``."""
        base = re.sub(r"[^a-zA-Z0-9_-]", "_", given) or "call"
        fitted, number = base, 1
        while fitted in self._used or fitted in self._whole or _whole(fitted) in self._used:
            number += 1
            fitted = f"{base}-{number}"
        self._used.add(fitted)
        self._whole.add(_whole(fitted))
        return fitted


def _whole(id: str) -> str:
    """Return the id of the call that Claude Code takes this to be a part of; none has the id ''."""
    part = re.fullmatch(r"(.+)_\d+", id)
    return part[1] if part else ""


def tools_for_history(names: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    """Return declarations for tools that only the history calls. The Messages API needs them."""
    return tuple({"name": name, "input_schema": {"type": "object"}} for name in dict.fromkeys(names))


def tool_names(blocks: Sequence[ContentBlock]) -> list[str]:
    """Return the names of the tools that these blocks call."""
    return [block["name"] for block in blocks if block["type"] == "tool_use"]


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name) or []
    if not isinstance(value, list):
        raise OpenAIError(f"Invalid type for '{name}': expected an array.", param=name, code="invalid_type")
    return value


def _schema_error(message: str, param: str) -> OpenAIError:
    return OpenAIError(message, param=param, code="invalid_function_parameters")


def _invalid(param: str, message: str, code: str | None = "invalid_value") -> OpenAIError:
    return OpenAIError(message, param=param, code=code)


def _unsupported(param: str, why: str) -> OpenAIError:
    return OpenAIError(f"Unsupported value: '{param}': {why}.", param=param, code="unsupported_value")
