"""The app's tools <-> Claude's functions.

Claude's tools are functions with one flat space of names. Three of OpenAI's forms go beyond that:

- A *custom tool* takes text, not JSON (https://platform.openai.com/docs/guides/function-calling#custom-tools). To
  Claude it is a function with one string. Claude reads the grammar for the text, but is not forced to follow it.
- A *namespace* groups functions and custom tools. To Claude the group's name is the beginning of their names.
- *Tool search* (https://platform.openai.com/docs/guides/tools-tool-search) lets a model ask for more tools. If the app
  does the search, it is a function, and its output offers more tools. If OpenAI does the search, nothing is searched
  here: Claude gets all tools at once. Some apps refuse the call of a deferred tool that no search has found. So the
  answer shows a search and its result before the first such call.

OpenAI gives a function that is loaded late a namespace of its own, with the function's name. These are the functions
that OpenAI's tool search finds, and those that an item ``additional_tools`` offers (recorded answers, 2026-07 and
2026-08). Claude knows them by their plain name.

Names that are too long for Claude are cut. A digest of the full name is added.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

from translate.errors import OpenAIError
from translate.tools import NAME

FIELD = "input"
"""The one argument of the function that stands for a custom tool."""

JOINT = "__"
"""The separator between the names of a namespace and a function."""

TOOL_SEARCH = "tool_search"
"""Both the type of that tool and what Claude calls it."""

MAX_NAME = 64
MAX_OPENAI_NAME = 128

type Kind = Literal["function", "custom", "tool_search"]


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as the app knows it.

    ``deferred`` is the tool or the namespace that a search must find before the tool is called.
    """

    name: str
    namespace: str | None = None
    kind: Kind = "function"
    deferred: Mapping[str, Any] | None = None


def claude_name(name: str, namespace: str | None = None) -> str:
    """Return what Claude calls a tool."""
    full = f"{namespace}{JOINT}{name}" if namespace else name
    return full if len(full) <= MAX_NAME else with_digest(full, of=full)


def with_digest(name: str, *, of: str) -> str:
    """Return a name, cut if it is too long, with a digest of ``of`` at its end."""
    digest = sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9]}_{digest}"


def offered_tools(tools: Sequence[Any], found: Sequence[Any] = (), loaded: Collection[str] = ()) -> dict[str, Offered]:
    """Return, by Claude's names for them, the tools whose calls are not plain function calls to the app.

    ``found`` are the tools that the conversation offers. They are not deferred any more. ``loaded`` are the names of
    those functions among them that have a namespace of their own.
    """
    searched = searched_here(tools)
    plain = {tool["name"] for tool in tools if tool["type"] == "function" and not is_deferred(tool, searched=searched)}
    late = set(loaded) - plain
    every = {**_named_tools(tools, searched=searched), **_named_tools(found, searched=False, late=late)}
    return {name: tool for name, tool in every.items() if tool != Offered(name)}


def searched_here(tools: Sequence[Any]) -> bool:
    """Whether OpenAI would do the search for deferred tools."""
    return any(tool["type"] == TOOL_SEARCH and tool.get("execution") != "client" for tool in tools)


def is_deferred(tool: Mapping[str, Any], *, searched: bool) -> bool:
    """Whether a tool must be found before it is called."""
    return searched and tool.get("defer_loading") is True


def _named_tools(tools: Sequence[Any], *, searched: bool, late: Collection[str] = ()) -> dict[str, Offered]:
    """Return tools by Claude's names for them.

    ``searched`` says whether OpenAI would search for the deferred ones. ``late`` are the names of functions that have a
    namespace of their own.
    """
    found = {}
    for tool in tools:
        kind = tool["type"]
        if kind == TOOL_SEARCH:
            found[TOOL_SEARCH] = Offered(TOOL_SEARCH, kind="tool_search")
        namespace = tool["name"] if kind == "namespace" else None
        inside = tool["tools"] if kind == "namespace" else [tool] if kind in ("function", "custom") else []
        for each in inside:
            name = each["name"]
            deferred = tool if is_deferred(each, searched=searched) else None
            alone = each["type"] == "function" and namespace is None and (deferred is not None or name in late)
            shown = name if alone else namespace
            found[claude_name(name, namespace)] = Offered(name, shown, each["type"], deferred)
    return found


def flattened(tools: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return tools with their paths and Claude's names, each namespace replaced by what is in it.

    Raises OpenAIError (400).
    """
    found: list[tuple[str, Any]] = []
    for path, tool in tools:
        if not isinstance(tool, Mapping) or tool.get("type") != "namespace":
            found.append((path, _named(tool, None)))
            continue
        name, inside = tool.get("name"), tool.get("tools")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            message = f"Invalid '{path}.name': a namespace's name matches '^[a-zA-Z0-9_-]{{1,64}}$'."
            raise OpenAIError(message, param=f"{path}.name", code="invalid_value")
        if not isinstance(inside, list) or not inside:
            message = f"Invalid '{path}.tools': a namespace has a list of functions and custom tools."
            raise OpenAIError(message, param=f"{path}.tools", code="invalid_value")
        tools_of = [_inside(each, name, f"{path}.tools[{i}]") for i, each in enumerate(inside)]
        tools_of[0] = _described(tools_of[0], name, tool.get("description"))
        found += [(f"{path}.tools[{i}]", each) for i, each in enumerate(tools_of)]
    return found


def _described(tool: Any, namespace: str, about: Any) -> Any:
    """Return the first tool of a namespace, with what the namespace is about in its description.

    It is not in the system prompt, because tools may be offered later in a conversation. The system prompt must not
    change then.
    """
    description = tool.get("description") or ""
    if not (isinstance(about, str) and about.strip() and isinstance(description, str)):
        return tool
    told = f"(Tools whose names begin with {namespace}{JOINT}: {about})"
    return {**tool, "description": f"{description}\n\n{told}".strip()}


def _inside(tool: Any, namespace: str, path: str) -> Any:
    if not isinstance(tool, Mapping) or tool.get("type") not in ("function", "custom"):
        message = f"Invalid '{path}': a namespace holds functions and custom tools."
        raise OpenAIError(message, param=path, code="invalid_value")
    return _named(tool, namespace)


def _named(tool: Any, namespace: str | None) -> Any:
    name = tool.get("name") if isinstance(tool, Mapping) else None
    if not isinstance(name, str) or len(name) > MAX_OPENAI_NAME:
        return tool
    return {**tool, "name": claude_name(name, namespace)}


def as_function(tool: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the function that stands for a custom tool. Raises OpenAIError (400)."""
    description = tool.get("description") or ""
    if not isinstance(description, str):
        message = f"Invalid type for '{path}.description': expected a string."
        raise OpenAIError(message, param=f"{path}.description", code="invalid_type")
    told = [description, _told_of_format(tool.get("format"), f"{path}.format")]
    schema = {
        "type": "object",
        "properties": {FIELD: {"type": "string", "description": "The tool's input, as plain text."}},
        "required": [FIELD],
        "additionalProperties": False,
    }
    function = {"name": tool.get("name"), "description": "\n\n".join(filter(None, told)), "parameters": schema}
    return {name: value for name, value in function.items() if value}


def search_function(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return the function that stands for a tool search that the app does."""
    function = {
        "name": TOOL_SEARCH,
        "description": tool.get("description") or "Finds further tools.",
        "parameters": tool.get("parameters"),
    }
    return {name: value for name, value in function.items() if value is not None}


def _told_of_format(form: Any, path: str) -> str:
    match form:
        case None | {"type": "text"}:
            return ""
        case {"type": "grammar", "syntax": "lark" | "regex" as syntax, "definition": str() as definition}:
            kind = "Lark grammar" if syntax == "lark" else "regular expression"
            return f"The text of `{FIELD}` must match this {kind}:\n{definition}"
        case _:
            message = (
                f"Invalid value for '{path}': expected text, or a grammar with a syntax (lark, regex) and a definition."
            )
            raise OpenAIError(message, param=path, code="invalid_value")


def has_grammar(tool: Any) -> bool:
    """Whether a tool is a custom one whose input must match a grammar."""
    match tool:
        case {"type": "custom", "format": {"type": "grammar"}}:
            return True
        case _:
            return False
