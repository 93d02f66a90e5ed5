"""Renames property names that Claude's API does not accept, and gives the app its own names back.

OpenAI accepts any name for a property of a tool: ``filter[id]``, ``$.xgafv``, ``größe``. Claude's API refuses a request
with such a name («Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'»). So Claude sees another name in the
schema and in the calls of the history, and the app sees its own name in the calls of the answer.

Claude's name is computed only from the names of the same schema. So it is the same in each turn. The prompt cache and
the conversation in a process stay valid.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from translate.turn import ContentBlock, Message, Turn

ACCEPTED = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
MAX_NAME = 64

# Keywords of JSON Schema, by the type of their values. The keys in the values of _NAMED are names, not keywords.
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_ONE = (
    *("items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains"),
    *("propertyNames", "not", "if", "then", "else"),
)
_VALUES = ("default", "const", "enum", "examples", "example")

type Names = Mapping[str, str]
"""Each name with the name that replaces it."""


def names_of_tools(tools: Sequence[Mapping[str, Any]]) -> dict[str, Names]:
    """Return, for each tool that has such names, the app's names that must be replaced, with Claude's names."""
    found = {str(tool["name"]): names_of(tool["input_schema"]) for tool in tools if "input_schema" in tool}
    return {name: names for name, names in found.items() if names}


def names_of(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return the property names of a schema that Claude's API does not accept, with the names that replace them."""
    every = dict.fromkeys(_property_names(schema))
    odd = [name for name in every if not ACCEPTED.fullmatch(name)]
    used = every.keys() - odd
    found: dict[str, str] = {}
    for name in odd:
        number, made = 0, _made(name, 0)
        while made in used:
            number, made = number + 1, _made(name, number + 1)
        used.add(made)
        found[name] = made
    return found


def _made(name: str, number: int) -> str:
    """Return Claude's name for a name. ``number`` is above 0 if other properties use the names with lower numbers."""
    digest = sha256(f"{name}{number or ''}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    readable = re.sub(r"[^a-zA-Z0-9_.-]+", "_", name)[: MAX_NAME - 9]
    return f"{readable}_{digest}"


def _property_names(schema: Any) -> Iterator[str]:
    left = [schema]
    while left:
        node = left.pop()
        if not isinstance(node, dict):
            continue
        properties = node.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for word, value in node.items():
            match value:
                case dict() if word in _NAMED:
                    left += value.values()
                case list() if word in _LISTS or word in _ONE:
                    left += value
                case dict() if word in _ONE:
                    left.append(value)
                case _:
                    pass


def renamed_schema(schema: Any, names: Names) -> Any:
    """Return a schema with other property names. The description of a renamed property contains the app's name."""
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for word, value in schema.items():
        match value:
            case dict() if word == "properties":
                result[word] = {
                    names.get(key, key): _described(renamed_schema(inside, names), key, names)
                    for key, inside in value.items()
                }
            case dict() if word in _NAMED:
                result[word] = {key: renamed_schema(inside, names) for key, inside in value.items()}
            case list() if word in _LISTS or word in _ONE:
                result[word] = [renamed_schema(inside, names) for inside in value]
            case dict() if word in _ONE:
                result[word] = renamed_schema(value, names)
            case list() if word == "required":
                result[word] = _renamed_list(value, names)
            case dict() if word == "dependentRequired":
                result[word] = {names.get(key, key): _renamed_list(inside, names) for key, inside in value.items()}
            case str() if word == "$ref":
                result[word] = _renamed_reference(value, names)
            case _:
                result[word] = renamed_keys(value, names) if word in _VALUES else value
    return result


def _renamed_list(value: Any, names: Names) -> Any:
    if not isinstance(value, list):
        return value
    return [names.get(key, key) if isinstance(key, str) else key for key in value]


def _described(schema: Any, key: str, names: Names) -> Any:
    # The grammar does not accept a description beside a reference.
    if key not in names or not isinstance(schema, dict) or "$ref" in schema:
        return schema
    told = [schema["description"]] if isinstance(schema.get("description"), str) else []
    return {**schema, "description": " ".join([*told, f"(name: {key})"])}


def _renamed_reference(reference: str, names: Names) -> str:
    """Return a reference such as ``#/properties/a/items`` with other property names in it."""
    if not reference.startswith("#/"):
        return reference
    steps = reference.split("/")
    for place in range(1, len(steps)):
        name = unquote(steps[place]).replace("~1", "/").replace("~0", "~")
        if steps[place - 1] == "properties" and name in names:
            steps[place] = names[name]
    return "/".join(steps)


def renamed_keys(value: Any, names: Names) -> Any:
    """Return a JSON value with other keys, at any depth. The order of the keys stays the same."""
    if isinstance(value, Mapping):
        return {names.get(key, key): renamed_keys(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [renamed_keys(item, names) for item in value]
    return value


def renamed_tools(tools: Sequence[Mapping[str, Any]], names: Mapping[str, Names]) -> tuple[Mapping[str, Any], ...]:
    """Return tools with Claude's property names. ``names`` comes from :func:`names_of_tools`."""
    return tuple(
        {**tool, "input_schema": renamed_schema(tool["input_schema"], names[tool["name"]])}
        if tool["name"] in names
        else tool
        for tool in tools
    )


def renamed_message(message: Message, names: Mapping[str, Names]) -> Message:
    """Return a message of the history with Claude's property names in its tool calls."""
    if message.role != "assistant" or not any(_calls(block, names) for block in message.content):
        return message
    blocks = [
        {**block, "input": renamed_keys(block["input"], names[block["name"]])} if _calls(block, names) else block
        for block in message.content
    ]
    return Message(message.role, tuple(blocks))


def _calls(block: ContentBlock, names: Mapping[str, Names]) -> bool:
    return block["type"] == "tool_use" and block["name"] in names


def reversed_names(names: Names) -> dict[str, str]:
    """Return the names in the other direction: Claude's name -> the app's name."""
    return {after: before for before, after in names.items()}


class KeyRenamer:
    """Renames the keys of a JSON text that arrives in pieces. Feed it the pieces.

    A key is held back until its closing quote has arrived. All other text is returned at once and unchanged, even if it
    is not valid JSON.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._key: list[str] | None = None  # the key that is held back, with its opening quote
        self._in_value = False
        self._escaped = False
        self._inside: list[bool] = []  # for each open object or list: whether it is an object
        self._key_is_next = False

    def feed(self, piece: str) -> str:
        """Return the text that is complete: all but a key that has not ended."""
        out: list[str] = []
        for char in piece:
            if self._key is not None:
                self._key.append(char)
                if self._ends_string(char):
                    out.append(self._renamed("".join(self._key)))
                    self._key, self._key_is_next = None, False
                continue
            if not self._in_value and char == '"' and self._key_is_next:
                self._key = [char]
                continue
            out.append(char)
            if self._in_value:
                self._in_value = not self._ends_string(char)
            else:
                self._outside(char)
        return "".join(out)

    def finish(self) -> str:
        """Return the text that is still held back, if the JSON has ended within a key."""
        left, self._key = self._key, None
        return "".join(left or ())

    def _ends_string(self, char: str) -> bool:
        if self._escaped:
            self._escaped = False
            return False
        self._escaped = char == "\\"
        return char == '"'

    def _outside(self, char: str) -> None:
        match char:
            case "{" | "[":
                self._inside.append(char == "{")
                self._key_is_next = char == "{"
            case "}" | "]":
                if self._inside:
                    self._inside.pop()
                self._key_is_next = False
            case ",":
                self._key_is_next = bool(self._inside) and self._inside[-1]
            case '"':
                self._in_value = True
            case _:
                pass

    def _renamed(self, key: str) -> str:
        try:
            name = json.loads(key)
        except ValueError:
            return key
        return json.dumps(self._names[name], ensure_ascii=False) if name in self._names else key


def renamed_turn(turn: Turn, names: Mapping[str, Names]) -> Turn:
    """Return a Turn in which all property names are accepted by Claude's API."""

    return replace(
        turn,
        tools=renamed_tools(turn.tools, names),
        messages=tuple(renamed_message(message, names) for message in turn.messages),
    )
