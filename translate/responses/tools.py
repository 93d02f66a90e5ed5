"""The tools, tool_choice and text.format of a response's request -> Claude's.

They mean the same as in Chat Completions, but their JSON is flatter. So they are converted to the JSON of Chat
Completions and translated by :mod:`translate.tools` and :mod:`translate.chat.response_format`. Field names in errors
are converted back.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from translate.chat.messages import invalid_type
from translate.chat.response_format import OutputFormat, translate_response_format
from translate.errors import OpenAIError
from translate.known_keys import Ignored
from translate.responses.asked import ToolSearchTool, WebSearchTool
from translate.responses.mcp import echoed_mcp, mcp_name, of_server
from translate.responses.offered import (
    TOOL_SEARCH,
    as_function,
    claude_name,
    flattened,
    has_grammar,
    is_deferred,
    search_function,
    searched_here,
)
from translate.responses.words import reworded
from translate.tools import Tools, translate_tools
from translate.web_search import CONTEXT_SIZE, NAME, web_search_tool

RUN_BY_OPENAI = "it is a tool that OpenAI runs, and nothing runs it here"
IN_OPENAIS_FORM = "it is a tool that OpenAI's models are trained on; offer Claude a function instead"

# Every refused type of tool, and the reason. Image generation is refused only if no other tool is offered. A test
# compares this table with OpenAI's document.
REFUSED_TOOLS: dict[str, str] = {
    "file_search": RUN_BY_OPENAI,
    "code_interpreter": RUN_BY_OPENAI,
    "programmatic_tool_calling": RUN_BY_OPENAI,
    "image_generation": RUN_BY_OPENAI,
    "computer": IN_OPENAIS_FORM,
    "computer_use": IN_OPENAIS_FORM,
    "computer_use_preview": IN_OPENAIS_FORM,
    "local_shell": IN_OPENAIS_FORM,
    "shell": IN_OPENAIS_FORM,
    "apply_patch": IN_OPENAIS_FORM,
}

WEB_SEARCH = ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")

FUNCTION_FIELDS = ("name", "description", "parameters", "strict")
LOCATION = {"type": "approximate", "city": None, "country": None, "region": None, "timezone": None}
CUSTOM_FIELDS = ("type", "name", "description", "format")

FORMAT_WORDS = {
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "messages": "input",
}

_PLACE = re.compile(r"tools\[(?P<index>\d+)\]")


def translate_response_tools(
    tools: Sequence[Any],
    choice: Any,
    parallel: bool | None,
    *,
    can_force: bool,
    where: Sequence[str] = (),
    web_search: bool = True,
    max_searches: int | None = None,
) -> Tools:
    """Translate ``tools`` and ``tool_choice``.

    ``where`` are the paths of the tools (default: ``tools[0]`` and so on). ``can_force`` says whether the model accepts
    a tool_choice of ``any`` or ``tool``. ``web_search`` says whether web search is allowed. ``max_searches`` is the
    largest number of web searches. Raises OpenAIError (400).
    """
    given = where or [f"tools[{index}]" for index in range(len(tools))]
    searches: list[tuple[str, WebSearchTool]] = []
    own: list[tuple[str, Any]] = []
    for path, tool in zip(given, tools, strict=True):
        if is_web_search(tool):
            searches.append((path, _typed(tool, WebSearchTool, path)))
        elif draws(tool) and not all(map(draws, tools)):
            continue  # Agents offer it beside other tools. Claude can work without it.
        elif not is_tool_search(tool) or _typed(tool, ToolSearchTool, path).execution == "client":
            own.append((path, tool))
    server_tools = [
        web_search_tool(search.user_location, search.filters, where=f"{path}.filters", max_uses=max_searches)
        for path, search in searches[-1:]
        if web_search and search.external_web_access is not False
    ]
    flat, replaced = _latest(flattened(own))
    paths = [path for path, _ in flat]
    wrapped = [_wrapped(tool, path) for path, tool in flat]
    names = [name for _, tool in flat if isinstance(tool, Mapping) and isinstance(name := tool.get("name"), str)]
    left_out = _left_out(tools, searched=bool(server_tools))
    fields = {
        "tools": wrapped,
        "tool_choice": _chat_choice(choice, names, left_out),
        "parallel_tool_calls": parallel,
    }
    try:
        translated = translate_tools(fields, can_force=can_force, server_tools=server_tools)
    except OpenAIError as error:
        # Only the path is replaced. The rest of the message may quote the app's own text.
        place = _PLACE.match(error.param or "")
        if place is None:
            raise
        right = paths[int(place["index"])]
        raise reworded(error, {place.group(): right, f"{place.group()}.function": right}) from None

    def own_path(path: str) -> str:
        place = _PLACE.match(path)
        return f"{paths[int(place['index'])]}.strict" if place else path

    strict = {name: replace(tool, path=own_path(tool.path)) for name, tool in translated.strict.items()}
    loose = tuple(map(own_path, translated.loose))
    return replace(translated, loose=loose, strict=strict, replaced=tuple(replaced))


def is_web_search(tool: Any) -> bool:
    """Whether a tool is web search."""
    return isinstance(tool, Mapping) and tool.get("type") in WEB_SEARCH


def is_tool_search(tool: Any) -> bool:
    """Whether a tool is tool search."""
    return isinstance(tool, Mapping) and tool.get("type") == TOOL_SEARCH


def draws(tool: Any) -> bool:
    """Whether a tool is image generation. It is left out beside other tools, and refused if it is the only tool."""
    return isinstance(tool, Mapping) and tool.get("type") == "image_generation"


def without_effect(tools: Sequence[Any], *, web_search: bool) -> list[str]:
    """Return the paths of tools and fields that have no effect. The tools must be valid."""
    found: list[str] = []
    for index, tool in enumerate(tools):
        path = f"tools[{index}]"
        if is_web_search(tool):
            search = _typed(tool, WebSearchTool, path)
            if not web_search or search.external_web_access is False:
                found.append(Ignored(path, "Claude may not search the web for this request"))
            elif search.search_context_size not in (None, "medium"):
                found.append(Ignored(f"{path}.search_context_size", CONTEXT_SIZE))
        elif is_tool_search(tool) and tool.get("execution") != "client":
            found.append(Ignored(path, "Claude is told of all tools at once, so there is nothing to search for"))
        elif draws(tool):
            found.append(Ignored(path, "Claude does not make images"))
        elif has_grammar(tool):
            found.append(Ignored(f"{path}.format", "Claude reads the grammar, but is not held to it"))
    return found


def _typed[T](tool: Mapping[str, Any], kind: type[T], path: str) -> T:
    try:
        return msgspec.convert(tool, kind)
    except msgspec.ValidationError as error:
        raise invalid_type(error, path) from None


def _latest(tools: Sequence[tuple[str, Any]]) -> tuple[list[tuple[str, Any]], list[str]]:
    """Return the tools, and the paths of those that are replaced by another.

    A tool from an input item replaces an earlier tool of the same name.

    Two tools of the same name in the request's ``tools`` both stay: :func:`translate_tools` refuses them.
    """
    found: list[tuple[str, Any]] = []
    replaced: list[str] = []
    places: dict[str, int] = {}
    for path, tool in tools:
        name = tool.get("name") if isinstance(tool, dict) else None
        if isinstance(name, str) and name in places and not path.startswith("tools["):
            earlier, instead = found[places[name]]
            if instead != tool:
                replaced.append(earlier)
            found[places[name]] = (path, tool)
            continue
        if isinstance(name, str):
            places[name] = len(found)
        found.append((path, tool))
    return found, replaced


def echoed_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools as a response repeats them: with defaults for what is absent. The tools must be valid.

    OpenAI shows a function that its tool search finds as a namespace with this one function.
    """
    searched = searched_here(tools)
    return [
        _alone(tool) if tool["type"] == "function" and is_deferred(tool, searched=searched) else _echoed(tool)
        for tool in tools
    ]


def _alone(tool: Mapping[str, Any]) -> dict[str, Any]:
    return _echoed({"type": "namespace", **{name: tool.get(name) for name in ("name", "description")}, "tools": [tool]})


def _echoed(tool: Mapping[str, Any]) -> dict[str, Any]:
    match tool["type"]:
        case "function":
            return {
                "type": "function",
                "name": tool["name"],
                "description": tool.get("description") or None,
                "output_schema": tool.get("output_schema"),
                "parameters": tool.get("parameters"),
                "strict": tool.get("strict") is True,
            }
        case "namespace":
            described = tool.get("description")
            return {
                "type": "namespace",
                "name": tool["name"],
                "description": described if isinstance(described, str) else "",
                "tools": echoed_tools(tool["tools"]),
            }
        case "mcp":
            return echoed_mcp(tool)
        case "custom":
            given = {name: tool[name] for name in CUSTOM_FIELDS if tool.get(name) is not None}
            return {"format": {"type": "text"}, **given}
        case "image_generation":
            return dict(tool)
        case "tool_search":
            search = msgspec.to_builtins(msgspec.convert(tool, ToolSearchTool))
            return {"description": None, "parameters": None, **search}
        case _:
            search = msgspec.to_builtins(msgspec.convert(tool, WebSearchTool))
            if location := search.get("user_location"):
                search["user_location"] = {**LOCATION, **location}
            return {"filters": None, "search_context_size": "medium", "user_location": None, **search}


def translate_text_format(value: Mapping[str, Any] | None, said: Sequence[Any]) -> OutputFormat:
    """Translate ``text.format``. ``said`` is the app's input. For ``json_object`` it must contain the word JSON.

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
    """Return ``text.format`` as a response repeats it. It must be valid."""
    if not value or value["type"] != "json_schema":
        return {"type": value["type"] if value else "text"}
    described = value.get("description")
    return {
        "type": "json_schema",
        "name": value["name"],
        "description": described if isinstance(described, str) else None,
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
        case {"type": "tool_search"}:
            return {"type": "function", "function": search_function(tool)}
        case {"type": str() as kind} if kind in REFUSED_TOOLS:
            message = f"Unsupported value: '{path}.type': {kind!r} is not supported here: {REFUSED_TOOLS[kind]}."
            raise OpenAIError(message, param=f"{path}.type", code="unsupported_value")
        case _:
            return tool


def _check_callers(callers: Any, path: str) -> None:
    if isinstance(callers, list) and callers and "direct" not in callers:
        message = f"Unsupported value: '{path}.allowed_callers': only the model itself calls functions here."
        raise OpenAIError(message, param=f"{path}.allowed_callers", code="unsupported_value")


def _left_out(tools: Sequence[Any], *, searched: bool) -> set[str]:
    """Return the types of tools that are not offered to Claude. ``allowed_tools`` may still name them."""
    kinds = {tool["type"] for tool in tools if draws(tool)}
    return kinds if searched else kinds | {tool["type"] for tool in tools if is_web_search(tool)}


def _allowed(tool: Any, names: Sequence[str], left_out: Collection[str]) -> list[Any]:
    """Return the tools that one entry of ``allowed_tools`` allows. An MCP server's entry may allow all its tools."""
    match tool:
        case {"type": "mcp", "server_label": str() as label} if tool.get("name") is None:
            return [{"type": "function", "function": {"name": name}} for name in of_server(label, names)]
        case {"type": str() as kind} if kind in left_out:
            return []
        case {}:
            return [_chat_choice(tool)]
        case _:
            return [tool]


def _chat_choice(choice: Any, names: Sequence[str] = (), left_out: Collection[str] = ()) -> Any:
    match choice:
        case {"type": "function" | "custom", "name": str() as name}:
            namespace = choice.get("namespace")
            full = claude_name(name, namespace if isinstance(namespace, str) else None)
            # A deferred function has a namespace of its own, which Claude does not know.
            name = claude_name(name) if namespace == name and full not in names else full
            return {"type": "function", "function": {"name": name}}
        case {"type": "mcp", "server_label": str() as label, "name": str() as name}:
            return {"type": "function", "function": {"name": mcp_name(label, name)}}
        case {"type": "mcp"}:
            message = "Unsupported value: 'tool_choice': of a server, one tool can be forced, by its 'name'."
            raise OpenAIError(message, param="tool_choice.name", code="unsupported_value")
        case {"type": "function" | "custom"}:
            message = "Missing required parameter: 'tool_choice.name'."
            raise OpenAIError(message, param="tool_choice.name", code="missing_required_parameter")
        case {"type": "allowed_tools", "mode": mode, "tools": list(tools)}:
            allowed = [each for tool in tools for each in _allowed(tool, names, left_out)]
            # If only image generation is allowed, it is refused, as in ``tools``. Other such tools are dropped.
            allowed += map(_chat_choice, tools if all(map(draws, tools)) else ())
            mode = mode if allowed or not tools else "auto"
            return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
        case {"type": "allowed_tools"}:
            message = "Invalid value for 'tool_choice': allowed_tools has a mode and a list of tools."
            raise OpenAIError(message, param="tool_choice", code="invalid_value")
        case {"type": str() as kind} if kind in WEB_SEARCH:
            return {"type": "function", "function": {"name": NAME}}
        case {"type": str() as kind} if kind in REFUSED_TOOLS:
            message = f"Unsupported value: 'tool_choice.type': {kind!r} is not supported here: {REFUSED_TOOLS[kind]}."
            raise OpenAIError(message, param="tool_choice.type", code="unsupported_value")
        case _:
            return choice
