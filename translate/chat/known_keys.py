"""Which keys of a chat completion's request are read, at every depth."""

from collections.abc import Mapping
from typing import Any

from translate.chat.messages import thinking_of
from translate.chat.parameters import CHAT_COMPLETION_PARAMETERS
from translate.chat.wire import (
    AssistantMessage,
    DeveloperMessage,
    FunctionMessage,
    StreamOptions,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from translate.known_keys import ByKind, Each, Ignored, Keys, Only, Shape, Unused, fields_of, keys
from translate.web_search import Place, UserLocation, WebSearchOptions

ONE_RESOLUTION = "Claude sees each image in one resolution"
CITATIONS = "Claude is told an earlier answer's text, not what it cites"

PARTS: dict[str, Shape] = {
    "text": keys("type", "text"),
    "refusal": keys("type", "refusal"),
    "image_url": keys("type", image_url=keys("url", detail=Unused(ONE_RESOLUTION, unless=("auto",)))),
    "file": keys("type", file=keys("file_data", "filename", "file_id")),
}
"""The keys of each type of content part, as :mod:`translate.content` reads them."""

CONTENT = Each(ByKind(PARTS))

FUNCTION_CALL = keys("name", "arguments")

ASSISTANT = fields_of(
    AssistantMessage,
    "role",
    content=CONTENT,
    name=Unused("Claude's own messages have no names"),
    tool_calls=Each(keys("id", "type", function=FUNCTION_CALL, index=Unused("the order of the list decides"))),
    function_call=FUNCTION_CALL,
    annotations=Unused(CITATIONS, unless=([],)),
    reasoning_details=Each(
        Only(
            lambda detail: isinstance(detail, dict) and thinking_of(detail) is not None,
            "it is not thinking that Claude has signed",
            keys("type", "index", "text", "signature", "data"),
        )
    ),
    reasoning_content=Unused("Claude gets its thinking back from `reasoning_details`", unless=("",)),
)

MESSAGES: dict[str, Shape] = {
    "system": fields_of(SystemMessage, "role", content=CONTENT),
    "developer": fields_of(DeveloperMessage, "role", content=CONTENT),
    "user": fields_of(UserMessage, "role", content=CONTENT),
    "assistant": ASSISTANT,
    "tool": fields_of(ToolMessage, "role", content=CONTENT, name=Unused("the call has the name")),
    "function": fields_of(FunctionMessage, "role"),
}

FUNCTION = keys("name", "description", "parameters", "strict")
"""A function, as :mod:`translate.tools` reads it. Its ``parameters`` reach Claude whole."""

STOP_SEQUENCE = Only(bool, "an empty stop sequence stops nothing", None)

CHOICE = keys("type", function=keys("name"))

FORMAT = keys("type", json_schema=keys("name", "description", "schema", "strict"))

_THINKS = keys("type", "budget_tokens", "display")
THINKING = ByKind({"enabled": _THINKS, "adaptive": _THINKS, "disabled": keys("type")})

INSIDE: dict[str, Shape] = {
    "messages": Each(ByKind(MESSAGES, kind=lambda message: message.get("role"))),
    "stream_options": fields_of(StreamOptions),
    "stop": Each(STOP_SEQUENCE),
    "tools": Each(ByKind({"function": keys("type", function=FUNCTION)})),
    "functions": Each(FUNCTION),
    "function_call": keys("name"),
    "tool_choice": ByKind(
        {
            "function": keys("type", "name", function=keys("name")),
            "allowed_tools": keys("type", allowed_tools=keys("mode", tools=Each(CHOICE))),
        }
    ),
    "response_format": ByKind({"text": keys("type"), "json_object": keys("type"), "json_schema": FORMAT}),
    "web_search_options": fields_of(
        WebSearchOptions, user_location=fields_of(UserLocation, "type", approximate=fields_of(Place))
    ),
    "thinking": THINKING,
}
"""What is read inside a parameter. :mod:`translate.chat.parameters` has the parameters themselves."""


REQUEST = Keys({**dict.fromkeys(CHAT_COMPLETION_PARAMETERS), **INSIDE})


def superseded(fields: Mapping[str, Any], *, legacy: bool) -> list[Ignored]:
    """Return the parameters of a chat completion's request that another parameter leaves without effect.

    ``legacy`` says whether the request has the older ``functions``.
    """
    found: list[Ignored] = []
    if _both(fields, "max_completion_tokens", "max_tokens"):
        found.append(Ignored("max_tokens", "`max_completion_tokens` wins"))
    if _both(fields, "safety_identifier", "user"):
        found.append(Ignored("user", "`safety_identifier` wins"))
    if legacy and fields.get("tool_choice") is not None:
        found.append(Ignored("tool_choice", "`functions` are chosen by `function_call`"))
    if fields.get("stop") == "":
        found.append(Ignored("stop", STOP_SEQUENCE.why))
    if not legacy and fields.get("function_call") not in (None, "none", "auto"):
        found.append(Ignored("function_call", "`tools` are chosen by `tool_choice`"))
    return found


def _both(fields: Mapping[str, Any], wins: str, loses: str) -> bool:
    return bool(fields.get(wins)) and fields.get(loses) not in (None, fields.get(wins))
