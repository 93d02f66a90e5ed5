"""The JSON that the Responses API returns, as Structs: output items, the response, and stream events.

Source: the OpenAPI document of openai/openai-openapi, ``OutputItem``, ``Response`` and ``ResponseStreamEvent``. Where
recorded answers of OpenAI's have other fields or null where the document has none, these classes follow the answers.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from translate.responses.asked import Conversation, ServiceTier

type ItemStatus = Literal["in_progress", "completed", "incomplete"]
type Phase = Literal["commentary", "final_answer"]
type ResponseStatus = Literal["completed", "failed", "in_progress", "cancelled", "queued", "incomplete"]


# Items.


class OutputText(msgspec.Struct, frozen=True, tag="output_text"):
    """A part of a message: text."""

    text: str
    annotations: list[dict[str, Any]] = []
    logprobs: list[dict[str, Any]] = []


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """A part of a message: the reason why the model does not answer."""

    refusal: str


class OutputMessage(msgspec.Struct, frozen=True, tag="message"):
    """A message of the model. ``phase`` is absent until it is known whether more follows."""

    id: str
    status: ItemStatus
    content: list[OutputText | Refusal]
    role: Literal["assistant"] = "assistant"
    phase: Phase | UnsetType = UNSET


class FunctionCall(msgspec.Struct, frozen=True, tag="function_call"):
    """A call of one of the app's functions: ``arguments`` is JSON as the model wrote it."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class CustomToolCall(msgspec.Struct, frozen=True, tag="custom_tool_call"):
    """A call of one of the app's custom tools: ``input`` is text."""

    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class ToolSearchCall(msgspec.Struct, frozen=True, tag="tool_search_call"):
    """A search for tools. If ``execution`` is ``client``, the app does it; else it is done and has no ``call_id``."""

    id: str
    call_id: str | None
    arguments: Any
    status: ItemStatus
    execution: Literal["client", "server"] = "client"


class ToolSearchOutput(msgspec.Struct, frozen=True, tag="tool_search_output"):
    """The tools that a search found, as the request defined them."""

    id: str
    tools: list[Mapping[str, Any]]
    status: ItemStatus
    call_id: None = None
    execution: Literal["server"] = "server"


class WebSearchCall(msgspec.Struct, frozen=True, tag="web_search_call"):
    """A web search by the model. ``action`` has the query.

    OpenAI leaves ``action`` out until the search ends, although its document and its SDKs require it. Here it is always
    there.
    """

    id: str
    status: Literal["in_progress", "searching", "completed", "failed"]
    action: dict[str, Any]


class McpListTools(msgspec.Struct, frozen=True, tag="mcp_list_tools"):
    """The tools of an MCP server."""

    id: str
    server_label: str
    tools: list[dict[str, Any]]


class McpCall(msgspec.Struct, frozen=True, tag="mcp_call"):
    """A call of an MCP server's tool, with its result."""

    id: str
    server_label: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    output: str | None = None
    error: str | None = None
    approval_request_id: None = None


class CompactionItem(msgspec.Struct, frozen=True, tag="compaction"):
    """The encrypted summary of a conversation. It is empty until the summary is complete."""

    id: str
    encrypted_content: str


class SummaryText(msgspec.Struct, frozen=True, tag="summary_text"):
    """A summary of the thinking."""

    text: str


class ReasoningItem(msgspec.Struct, frozen=True, tag="reasoning"):
    """The model's thinking. ``encrypted_content`` is Claude's encrypted block, null until it is complete."""

    id: str
    summary: list[SummaryText]
    encrypted_content: str | UnsetType | None = UNSET


type OutputItem = (
    OutputMessage
    | FunctionCall
    | CustomToolCall
    | ToolSearchCall
    | ToolSearchOutput
    | WebSearchCall
    | McpListTools
    | McpCall
    | CompactionItem
    | ReasoningItem
)


# The response.


class InputTokensDetails(msgspec.Struct, frozen=True):
    """How many input tokens were read from the cache, and how many were written to it."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(msgspec.Struct, frozen=True):
    """How many output tokens were spent on thinking. It is 0 if Claude does not report it."""

    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """OpenAI's ``usage`` of a response."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ImageTokensDetails(msgspec.Struct, frozen=True):
    """Tokens of generated images, and of what they were made from."""

    image_tokens: int = 0
    text_tokens: int = 0


class ImageUsage(msgspec.Struct, frozen=True):
    """Tokens of image generation. They are always 0, because Claude makes no images."""

    input_tokens: int = 0
    input_tokens_details: ImageTokensDetails = ImageTokensDetails()
    output_tokens: int = 0
    output_tokens_details: ImageTokensDetails = ImageTokensDetails()
    total_tokens: int = 0


class WebSearchUsage(msgspec.Struct, frozen=True):
    """The number of web searches."""

    num_requests: int = 0


class ToolUsage(msgspec.Struct, frozen=True):
    """How often the tools that OpenAI runs were used. OpenAI sends it; its document lacks it."""

    image_gen: ImageUsage = ImageUsage()
    web_search: WebSearchUsage = WebSearchUsage()


class Billing(msgspec.Struct, frozen=True):
    """Who pays: the account that answers. OpenAI sends it in bodies, not in events; its document lacks it."""

    payer: Literal["developer"] = "developer"


type ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]


class ResponseError(msgspec.Struct, frozen=True):
    """Why a response failed. OpenAI's document has a closed list of codes. Only these are used here."""

    code: ErrorCode
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    """Why a response is incomplete."""

    reason: Literal["max_output_tokens", "content_filter"]


REASONING: dict[str, Any] = {"context": None, "effort": None, "mode": "standard", "summary": None}
"""OpenAI's defaults of ``reasoning``."""


class Echo(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the request that the response repeats, with OpenAI's defaults for absent fields."""

    model: str
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: Conversation | UnsetType = UNSET
    store: bool = True
    background: bool = False
    frequency_penalty: float = 0.0
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    moderation: None = None
    parallel_tool_calls: bool = True
    presence_penalty: float = 0.0
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning: dict[str, Any] = msgspec.field(default_factory=lambda: dict(REASONING))
    safety_identifier: str | None = None
    service_tier: ServiceTier = "auto"
    temperature: float | None = 1.0
    text: dict[str, Any] = msgspec.field(default_factory=lambda: {"format": {"type": "text"}, "verbosity": "medium"})
    tool_choice: str | dict[str, Any] = "auto"
    tools: list[dict[str, Any]] = []
    top_logprobs: int = 0
    top_p: float | None = 1.0
    truncation: str = "disabled"
    user: str | None = None


class Response(Echo, frozen=True, kw_only=True):
    """The response, complete or still in progress. Times are in Unix seconds.

    ``usage`` is null and ``tool_usage`` absent until the response ends. ``billing`` is only in bodies.
    """

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    output: list[OutputItem] = []
    usage: ResponseUsage | None = None
    tool_usage: ToolUsage | UnsetType = UNSET
    billing: Billing | UnsetType = UNSET


# Events. ``sequence_number`` is the position of the event in the stream, from 0. :mod:`translate.obfuscation` says what
# ``obfuscation`` is.


class Created(msgspec.Struct, frozen=True, tag="response.created"):
    """The response begins."""

    response: Response
    sequence_number: int


class InProgress(msgspec.Struct, frozen=True, tag="response.in_progress"):
    """The model is working."""

    response: Response
    sequence_number: int


class Completed(msgspec.Struct, frozen=True, tag="response.completed"):
    """The response is complete."""

    response: Response
    sequence_number: int


class Incomplete(msgspec.Struct, frozen=True, tag="response.incomplete"):
    """The response ended early. ``response.incomplete_details`` says why."""

    response: Response
    sequence_number: int


class Failed(msgspec.Struct, frozen=True, tag="response.failed"):
    """The response failed; ``response.error`` says why."""

    response: Response
    sequence_number: int


class ErrorEvent(msgspec.Struct, frozen=True, tag="error"):
    """An error.

    OpenAI's document has the fields at the top level. OpenAI sends them inside ``error``, and its SDKs raise an
    exception if they see ``error``. This event has both.
    """

    code: str | None
    message: str
    param: str | None
    error: dict[str, str | None]
    sequence_number: int


class OutputItemAdded(msgspec.Struct, frozen=True, tag="response.output_item.added"):
    """An item begins."""

    output_index: int
    item: OutputItem
    sequence_number: int


class OutputItemDone(msgspec.Struct, frozen=True, tag="response.output_item.done"):
    """An item is complete, or nothing more will be added to it."""

    output_index: int
    item: OutputItem
    sequence_number: int


class ContentPartAdded(msgspec.Struct, frozen=True, tag="response.content_part.added"):
    """A part of a message begins."""

    item_id: str
    output_index: int
    content_index: int
    part: OutputText | Refusal
    sequence_number: int


class ContentPartDone(msgspec.Struct, frozen=True, tag="response.content_part.done"):
    """A part of a message is complete."""

    item_id: str
    output_index: int
    content_index: int
    part: OutputText | Refusal
    sequence_number: int


class OutputTextDelta(msgspec.Struct, frozen=True, tag="response.output_text.delta"):
    """More text."""

    item_id: str
    output_index: int
    content_index: int
    delta: str
    sequence_number: int
    logprobs: list[dict[str, Any]] = []
    obfuscation: str | UnsetType = UNSET


class OutputTextDone(msgspec.Struct, frozen=True, tag="response.output_text.done"):
    """The text is complete."""

    item_id: str
    output_index: int
    content_index: int
    text: str
    sequence_number: int
    logprobs: list[dict[str, Any]] = []


class RefusalDelta(msgspec.Struct, frozen=True, tag="response.refusal.delta"):
    """More of a refusal."""

    item_id: str
    output_index: int
    content_index: int
    delta: str
    sequence_number: int
    obfuscation: str | UnsetType = UNSET


class RefusalDone(msgspec.Struct, frozen=True, tag="response.refusal.done"):
    """The refusal is complete."""

    item_id: str
    output_index: int
    content_index: int
    refusal: str
    sequence_number: int


class FunctionCallArgumentsDelta(msgspec.Struct, frozen=True, tag="response.function_call_arguments.delta"):
    """More of the arguments of a call."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int
    obfuscation: str | UnsetType = UNSET


class FunctionCallArgumentsDone(msgspec.Struct, frozen=True, tag="response.function_call_arguments.done"):
    """The arguments of a call are complete."""

    item_id: str
    output_index: int
    name: str
    arguments: str
    sequence_number: int


class CustomToolCallInputDelta(msgspec.Struct, frozen=True, tag="response.custom_tool_call_input.delta"):
    """More of the input of a custom tool."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int
    obfuscation: str | UnsetType = UNSET


class CustomToolCallInputDone(msgspec.Struct, frozen=True, tag="response.custom_tool_call_input.done"):
    """The input of a custom tool is complete."""

    item_id: str
    output_index: int
    input: str
    sequence_number: int


class WebSearchCallInProgress(msgspec.Struct, frozen=True, tag="response.web_search_call.in_progress"):
    """The model begins a search."""

    item_id: str
    output_index: int
    sequence_number: int


class WebSearchCallSearching(msgspec.Struct, frozen=True, tag="response.web_search_call.searching"):
    """The query is complete."""

    item_id: str
    output_index: int
    sequence_number: int


class WebSearchCallCompleted(msgspec.Struct, frozen=True, tag="response.web_search_call.completed"):
    """The search is complete. It may have found nothing."""

    item_id: str
    output_index: int
    sequence_number: int


class McpListToolsInProgress(msgspec.Struct, frozen=True, tag="response.mcp_list_tools.in_progress"):
    """The list of tools is requested from an MCP server."""

    item_id: str
    output_index: int
    sequence_number: int


class McpListToolsCompleted(msgspec.Struct, frozen=True, tag="response.mcp_list_tools.completed"):
    """The MCP server has returned its tools."""

    item_id: str
    output_index: int
    sequence_number: int


class McpCallInProgress(msgspec.Struct, frozen=True, tag="response.mcp_call.in_progress"):
    """The model begins a call."""

    item_id: str
    output_index: int
    sequence_number: int


class McpCallArgumentsDelta(msgspec.Struct, frozen=True, tag="response.mcp_call_arguments.delta"):
    """More of the arguments of a call."""

    item_id: str
    output_index: int
    delta: str
    sequence_number: int
    obfuscation: str | UnsetType = UNSET


class McpCallArgumentsDone(msgspec.Struct, frozen=True, tag="response.mcp_call_arguments.done"):
    """The arguments of a call are complete."""

    item_id: str
    output_index: int
    arguments: str
    sequence_number: int


class McpCallCompleted(msgspec.Struct, frozen=True, tag="response.mcp_call.completed"):
    """The MCP server has returned the result."""

    item_id: str
    output_index: int
    sequence_number: int


class McpCallFailed(msgspec.Struct, frozen=True, tag="response.mcp_call.failed"):
    """The call failed."""

    item_id: str
    output_index: int
    sequence_number: int


class OutputTextAnnotationAdded(msgspec.Struct, frozen=True, tag="response.output_text.annotation.added"):
    """A citation of the text."""

    item_id: str
    output_index: int
    content_index: int
    annotation_index: int
    annotation: dict[str, Any]
    sequence_number: int


class ReasoningSummaryPartAdded(msgspec.Struct, frozen=True, tag="response.reasoning_summary_part.added"):
    """A part of a summary begins."""

    item_id: str
    output_index: int
    summary_index: int
    part: SummaryText
    sequence_number: int


class ReasoningSummaryPartDone(msgspec.Struct, frozen=True, tag="response.reasoning_summary_part.done"):
    """A part of a summary is complete."""

    item_id: str
    output_index: int
    summary_index: int
    part: SummaryText
    sequence_number: int


class ReasoningSummaryTextDelta(msgspec.Struct, frozen=True, tag="response.reasoning_summary_text.delta"):
    """More of a summary."""

    item_id: str
    output_index: int
    summary_index: int
    delta: str
    sequence_number: int
    obfuscation: str | UnsetType = UNSET


class ReasoningSummaryTextDone(msgspec.Struct, frozen=True, tag="response.reasoning_summary_text.done"):
    """The text of a part of a summary is complete."""

    item_id: str
    output_index: int
    summary_index: int
    text: str
    sequence_number: int


type ResponseEvent = (
    Created
    | InProgress
    | Completed
    | Incomplete
    | Failed
    | ErrorEvent
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | RefusalDelta
    | RefusalDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | CustomToolCallInputDelta
    | CustomToolCallInputDone
    | WebSearchCallInProgress
    | WebSearchCallSearching
    | WebSearchCallCompleted
    | OutputTextAnnotationAdded
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpCallInProgress
    | McpCallArgumentsDelta
    | McpCallArgumentsDone
    | McpCallCompleted
    | McpCallFailed
    | ReasoningSummaryPartAdded
    | ReasoningSummaryPartDone
    | ReasoningSummaryTextDelta
    | ReasoningSummaryTextDone
)
