"""What apps send to the Responses API, as Structs: the request, its input items, and its tools.

Source: the OpenAPI document of openai/openai-openapi, ``CreateResponse``, ``InputItem`` and ``Tool``. Only fields
that are used here are decoded. Other fields are ignored.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from translate.chat.wire import ReasoningEffort
from translate.web_search import ContextSize, Domains, Place

type Item = dict[str, Any]
"""An item of the input or of a stored conversation, as JSON."""

type ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
type Summary = Literal["auto", "concise", "detailed"]


class Reasoning(msgspec.Struct, frozen=True):
    """``reasoning``. ``generate_summary`` is the older name of ``summary``."""

    effort: ReasoningEffort | None = None
    summary: Summary | None = None
    generate_summary: Summary | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: str | None = None


class Text(msgspec.Struct, frozen=True):
    """``text``: the format of the answer, and how long it should be."""

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """``stream_options``."""

    include_obfuscation: bool | None = None


class Conversation(msgspec.Struct, frozen=True):
    """A reference to a stored conversation."""

    id: str


type Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class ResponseRequest(msgspec.Struct, frozen=True):
    """The fields of ``POST /v1/responses`` that affect the response or are repeated in it."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[Any] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | Conversation | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include: list[Any] | None = None
    max_output_tokens: Annotated[int, Meta(ge=16)] | None = None
    max_tool_calls: int | None = None
    metadata: Metadata | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    reasoning: Reasoning | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    service_tier: ServiceTier | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    text: Text | None = None
    thinking: dict[str, Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    tools: list[Any] | None = None
    top_k: Annotated[int, Meta(ge=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None

    @property
    def conversation_id(self) -> str | None:
        """The id of the stored conversation that this request continues."""
        return self.conversation.id if isinstance(self.conversation, Conversation) else self.conversation


class MessageItem(msgspec.Struct, frozen=True):
    """A message of the input. Its ``type`` may be absent."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Any]


class FunctionCallItem(msgspec.Struct, frozen=True):
    """A call that the model made earlier."""

    call_id: Annotated[str, Meta(min_length=1)]
    name: str
    arguments: str
    namespace: str | None = None


class CustomToolCallItem(msgspec.Struct, frozen=True):
    """A call of a custom tool that the model made earlier."""

    call_id: Annotated[str, Meta(min_length=1)]
    name: str
    input: str
    namespace: str | None = None


class ToolSearchCallItem(msgspec.Struct, frozen=True):
    """An earlier search for tools. If OpenAI did the search, it has no ``call_id``."""

    arguments: Any
    call_id: str | None = None
    execution: Literal["client", "server"] | None = None


class WebSearchCallItem(msgspec.Struct, frozen=True):
    """A web search in an earlier turn."""


class ToolSearchTool(msgspec.Struct, frozen=True, omit_defaults=True, tag="tool_search"):
    """A tool that searches for tools."""

    execution: Literal["client", "server"] | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class McpFilter(msgspec.Struct, frozen=True):
    """A filter for the tools of an MCP server."""

    tool_names: list[str] | None = None
    read_only: bool | None = None


class McpTool(msgspec.Struct, frozen=True):
    """An MCP server whose tools Claude may use."""

    server_label: str
    server_url: str | None = None
    server_description: str | None = None
    connector_id: str | None = None
    authorization: str | None = None
    headers: dict[str, str] | None = None
    allowed_tools: list[str] | McpFilter | None = None
    require_approval: str | dict[str, Any] | None = None


class WebSearchTool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A web search tool."""

    type: str
    filters: Domains | None = None
    user_location: Place | None = None
    search_context_size: ContextSize | None = None
    external_web_access: bool | None = None


class ToolSearchOutputItem(msgspec.Struct, frozen=True):
    """The tools that a search found."""

    tools: list[Any]
    call_id: str | None = None
    execution: Literal["client", "server"] | None = None


class CompactionSummaryItem(msgspec.Struct, frozen=True):
    """The encrypted summary of an earlier conversation."""

    encrypted_content: str


class CompactionTriggerItem(msgspec.Struct, frozen=True):
    """Asks for a summary of the items before it."""


class AgentMessageItem(msgspec.Struct, frozen=True):
    """A message from one agent to another. OpenAI's coding agent sends it."""

    content: str | list[Any]


class McpListToolsItem(msgspec.Struct, frozen=True):
    """The tools of an MCP server."""

    server_label: str
    tools: list[Any]


class McpCallItem(msgspec.Struct, frozen=True):
    """A call of an MCP server's tool in an earlier turn."""

    id: Annotated[str, Meta(min_length=1)]
    server_label: str
    name: str
    arguments: str
    output: str | None = None
    error: Any = None


class ConfigurationUpdateItem(msgspec.Struct, frozen=True):
    """New settings for the turns after this item.

    OpenAI's coding agent and the AI SDK send it. OpenAI's document lacks it.
    """

    reasoning: Reasoning | None = None
    text: Text | None = None


class FunctionCallOutputItem(msgspec.Struct, frozen=True):
    """The result of a call of the app's function or custom tool."""

    call_id: Annotated[str, Meta(min_length=1)]
    output: str | list[Any]


class ReasoningInputItem(msgspec.Struct, frozen=True):
    """Earlier thinking of the model."""

    id: str | None = None
    encrypted_content: str | None = None


class AdditionalToolsItem(msgspec.Struct, frozen=True):
    """Tools that are offered from this item on."""

    tools: list[Any]


class ItemReference(msgspec.Struct, frozen=True):
    """A reference to a stored item."""

    id: str
