"""The JSON of Chat Completions, as Structs: requests and responses.

Source: the OpenAPI document of openai/openai-openapi, ``CreateChatCompletionRequest`` and its responses. Absent and
null differ there, so fields that can be absent are ``UnsetType``.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from translate.chat.finish_reason import FinishReason
from translate.usage import AnsweringTier, CompletionUsage
from translate.web_search import WebSearchOptions

type Parts = list[dict[str, Any]]
"""Content parts, not decoded. :mod:`translate.content` decodes each one, so that an error can name its index."""


class SystemMessage(msgspec.Struct, frozen=True, tag="system", tag_field="role"):
    """A message with instructions."""

    content: str | Parts
    name: str | None = None


class DeveloperMessage(msgspec.Struct, frozen=True, tag="developer", tag_field="role"):
    """A message with instructions. This is the newer name of a system message."""

    content: str | Parts
    name: str | None = None


class UserMessage(msgspec.Struct, frozen=True, tag="user", tag_field="role"):
    """A message of the user."""

    content: str | Parts
    name: str | None = None


class AssistantMessage(msgspec.Struct, frozen=True, tag="assistant", tag_field="role"):
    """A message of the model."""

    content: str | Parts | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    reasoning_details: list[dict[str, Any]] | None = None


class ToolMessage(msgspec.Struct, frozen=True, tag="tool", tag_field="role"):
    """The result of a tool call."""

    content: str | Parts
    tool_call_id: str


class FunctionMessage(msgspec.Struct, frozen=True, tag="function", tag_field="role"):
    """The result of a function call. This is the older form of a tool message."""

    content: str | None
    name: str


type ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage


class StreamOptions(msgspec.Struct, frozen=True):
    """``stream_options``."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


type ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""OpenAI's values of ``reasoning_effort``, in both dialects."""


class ChatCompletionRequest(msgspec.Struct, frozen=True):
    """The fields of ``POST /v1/chat/completions`` that have an effect.

    :mod:`translate.chat.parameters` says what happens to the other fields.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    messages: list[dict[str, Any]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    reasoning_effort: ReasoningEffort | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    service_tier: str | None = None
    response_format: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1)] | None = None
    thinking: dict[str, Any] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    web_search_options: WebSearchOptions | None = None


class FunctionDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a function call in a chunk. The name comes once, the arguments come in pieces."""

    arguments: str | UnsetType = UNSET
    name: str | UnsetType = UNSET


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a tool call in a chunk. ``id`` and ``type`` are only in the first chunk of the call."""

    index: int
    function: FunctionDelta
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class ReasoningDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """A complete block of Claude's thinking. The app sends it back unchanged in the assistant message.

    OpenAI's Chat Completions API has no such field. The shape is OpenRouter's
    (https://openrouter.ai/docs/use-cases/reasoning-tokens). Agents already store it and send it back.
    """

    type: Literal["reasoning.text", "reasoning.encrypted"]
    index: int
    text: str | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    data: str | UnsetType = UNSET


class ChunkDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of the message in a chunk. Absent fields are unchanged."""

    role: Literal["assistant"] | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET
    function_call: FunctionDelta | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    annotations: list[dict[str, Any]] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, frozen=True):
    """One choice's part of a chunk."""

    index: int
    delta: ChunkDelta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a streamed response.

    ``usage`` is absent unless the app asked for it. If it did, ``usage`` is null in every chunk but the last.
    :mod:`translate.obfuscation` says what ``obfuscation`` is.
    """

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    service_tier: AnsweringTier = "default"
    system_fingerprint: str | None = None
    choices: list[ChunkChoice]
    usage: CompletionUsage | UnsetType | None = UNSET
    obfuscation: str | UnsetType = UNSET


class Function(msgspec.Struct, frozen=True):
    """The called function. ``arguments`` is JSON text as the model wrote it."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a function."""

    id: str
    function: Function
    type: Literal["function"] = "function"


class ChatCompletionMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The answer's message."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    annotations: list[dict[str, Any]] = []
    tool_calls: list[ToolCall] | UnsetType = UNSET
    function_call: Function | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET


class Choice(msgspec.Struct, frozen=True):
    """One answer."""

    index: int
    message: ChatCompletionMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """The complete response."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    service_tier: AnsweringTier = "default"
    system_fingerprint: str | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One row of ``GET /v1/models``."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /v1/models``."""

    object: Literal["list"] = "list"
    data: list[Model]
