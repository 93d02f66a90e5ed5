"""Which keys of a response's request are read, at every depth."""

from collections.abc import Mapping
from typing import Any

from translate.chat.known_keys import CITATIONS, ONE_RESOLUTION, THINKING
from translate.known_keys import ByKind, Each, Ignored, Keys, Shape, Unused, fields_of, keys
from translate.responses.asked import (
    AgentMessageItem,
    CompactionSummaryItem,
    ConfigurationUpdateItem,
    Conversation,
    CustomToolCallItem,
    FunctionCallItem,
    FunctionCallOutputItem,
    McpCallItem,
    McpFilter,
    McpListToolsItem,
    McpTool,
    MessageItem,
    Reasoning,
    ReasoningInputItem,
    ResponseRequest,
    StreamOptions,
    Text,
    ToolSearchCallItem,
    ToolSearchOutputItem,
    ToolSearchTool,
    WebSearchTool,
)
from translate.responses.compaction import TRIGGER
from translate.responses.input_items import kind_of
from translate.responses.mcp import LISTED, is_mcp
from translate.responses.parameters import RESPONSE_PARAMETERS
from translate.responses.tools import CUSTOM_FIELDS, FUNCTION_FIELDS, WEB_SEARCH, is_web_search
from translate.web_search import Domains, Place

DETAIL = Unused(ONE_RESOLUTION, unless=("auto",))

PARTS: dict[str, Shape] = {
    "input_text": keys("type", "text"),
    "input_image": keys("type", "image_url", "file_id", detail=DETAIL),
    "input_file": keys("type", "file_url", "file_data", "filename", "file_id", detail=DETAIL),
    "output_text": keys(
        "type", "text", annotations=Unused(CITATIONS, unless=([],)), logprobs=Unused(CITATIONS, unless=([],))
    ),
    "refusal": keys("type", "refusal"),
    "encrypted_content": keys("type", "encrypted_content"),
}
"""The keys of each type of content part, as :mod:`translate.responses.input_items` reads them."""

CONTENT = Each(ByKind(PARTS))

# What every item may have. Items are stored with their ids, and given back with their status.
KEPT = ("type", "id", "status")

CALLABLE: dict[str, Shape] = {
    "function": keys("type", "allowed_callers", "defer_loading", *FUNCTION_FIELDS),
    "custom": keys("allowed_callers", "defer_loading", *CUSTOM_FIELDS, format=keys("type", "syntax", "definition")),
}

TOOLS = Each(
    ByKind(
        {
            **CALLABLE,
            "namespace": keys("type", "name", "description", tools=Each(ByKind(CALLABLE))),
            "tool_search": fields_of(ToolSearchTool, "type"),
            **dict.fromkeys(
                WEB_SEARCH,
                fields_of(WebSearchTool, filters=fields_of(Domains), user_location=fields_of(Place, "type")),
            ),
            "mcp": fields_of(
                McpTool,
                "type",
                allowed_tools=fields_of(McpFilter),
                connector_id=Unused("the server is asked at its `server_url`"),
                server_description=Unused("Claude is told the description of each tool instead"),
            ),
        }
    )
)

FORMAT = ByKind(
    {
        "text": keys("type"),
        "json_object": keys("type"),
        "json_schema": keys("type", "name", "description", "schema", "strict"),
    }
)

UPDATED_REASONING = "after a `configuration_update` only the effort changes"

ITEMS: dict[str, Shape] = {
    "message": fields_of(
        MessageItem, *KEPT, content=CONTENT, phase=Unused("Claude's messages are of one kind", unless=("final_answer",))
    ),
    "function_call": fields_of(FunctionCallItem, *KEPT),
    "function_call_output": fields_of(FunctionCallOutputItem, *KEPT, output=CONTENT),
    "custom_tool_call": fields_of(CustomToolCallItem, *KEPT),
    "custom_tool_call_output": fields_of(FunctionCallOutputItem, *KEPT, output=CONTENT),
    "tool_search_call": fields_of(ToolSearchCallItem, *KEPT),
    "tool_search_output": fields_of(ToolSearchOutputItem, *KEPT, tools=TOOLS),
    LISTED: fields_of(
        McpListToolsItem, *KEPT, tools=Each(keys("name", "description", "input_schema", annotations=keys("read_only")))
    ),
    "mcp_call": fields_of(McpCallItem, *KEPT),
    "compaction": fields_of(CompactionSummaryItem, *KEPT),
    TRIGGER: keys("type"),
    "configuration_update": fields_of(
        ConfigurationUpdateItem,
        *KEPT,
        reasoning=Keys({name: Unused(UPDATED_REASONING) for name in Reasoning.__struct_fields__} | {"effort": None}),
        text=keys(format=FORMAT, verbosity=Unused("Claude has no such knob", unless=("medium",))),
    ),
    "agent_message": fields_of(AgentMessageItem, *KEPT, content=CONTENT),
    # The summary is a part of the thinking that is sealed in `encrypted_content`.
    "reasoning": fields_of(
        ReasoningInputItem, *KEPT, summary=Each(keys("type", "text")), content=Each(keys("type", "text"))
    ),
    "additional_tools": keys(*KEPT, "role", tools=TOOLS),
    "item_reference": keys("type", "id"),
}
"""The keys of each kind of item. A ``web_search_call`` is reported as a whole."""

INPUT = Each(ByKind(ITEMS, kind=kind_of))

CHOICE = keys("type", "name", "namespace")

INSIDE: dict[str, Shape] = {
    "input": INPUT,
    "conversation": fields_of(Conversation),
    "stream_options": fields_of(StreamOptions),
    "reasoning": fields_of(Reasoning),
    "text": fields_of(Text, format=FORMAT),
    "thinking": THINKING,
    "tools": TOOLS,
    "tool_choice": ByKind(
        {
            "function": CHOICE,
            "custom": CHOICE,
            "mcp": keys("type", "name", "server_label"),
            "allowed_tools": keys("type", "mode", tools=Each(keys("type", "name", "namespace", "server_label"))),
            **dict.fromkeys(WEB_SEARCH, keys("type")),
        }
    ),
}
"""What is read inside a parameter. :mod:`translate.responses.parameters` has the parameters themselves."""

REQUEST = Keys({**dict.fromkeys(RESPONSE_PARAMETERS), **INSIDE})


def superseded(request: ResponseRequest) -> list[Ignored]:
    """Return the parameters that other parameters leave without effect."""
    found: list[Ignored] = []
    if request.safety_identifier and request.user not in (None, request.safety_identifier):
        found.append(Ignored("user", "`safety_identifier` wins"))
    reasoning = request.reasoning
    if reasoning and reasoning.summary and reasoning.generate_summary not in (None, reasoning.summary):
        found.append(Ignored("reasoning.generate_summary", "`reasoning.summary` wins"))
    if request.max_tool_calls is not None and not any(is_mcp(tool) or is_web_search(tool) for tool in _tools(request)):
        found.append(Ignored("max_tool_calls", "it limits web searches and calls of MCP servers, and there are none"))
    return found


def _tools(request: ResponseRequest) -> list[Mapping[str, Any]]:
    return [tool for tool in request.tools or () if isinstance(tool, dict)]
