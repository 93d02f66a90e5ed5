"""What an app may read of Claude's reasons, and that nothing else gets through."""

import pytest

from translate.reasons import SHAPES, reason

# Messages as public issues quote them, or as Claude Code words them.
KNOWN = [
    "prompt is too long: 210000 tokens > 200000 maximum",
    "max_tokens: 128001 > 64000, which is the maximum allowed number of output tokens for claude-opus-4-5-20251101",
    "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length or `max_tokens`"
    " and try again",
    "messages.2.content.0.image.source.base64: image exceeds 5 MB maximum: 8259148 bytes > 5242880 bytes",
    "messages.7.content.2.image.source.base64.data: At least one of the image dimensions exceed max allowed size for"
    " many-image requests: 2000 pixels",
    "messages.11.content.7.image.source.base64.data: Image does not match the provided media type image/png",
    "A maximum of 100 PDF pages may be provided.",
    "Too much media: 0 document pages + 101 images > 100",
    "tools.9.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
    "tools.14.custom.input_schema.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'",
    "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    "tools: Tool names must be unique.",
    "The compiled grammar is too large, which would cause performance issues. Simplify your tool schemas or reduce the"
    " number of strict tools.",
    "Schemas contains too many optional parameters (87), which would make grammar compilation inefficient. Reduce the"
    " number of optional parameters in your tool schemas (limit: 24).",
    "output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported",
    "output_format.schema: For 'integer' type, property 'minimum' is not supported",
    "output_config.format.schema: Invalid schema: Enum must be a non-empty array",
    "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    "This model does not support assistant message prefill. The conversation must end with a user message.",
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    "`temperature` is deprecated for this model",
    '"thinking.type.enabled" is not supported for this model.',
    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    "messages: text content blocks must be non-empty",
    "messages.0.content.1.type: Field required",
    "messages.0.role: Input should be 'user' or 'assistant'",
    "tool_choice.any may only be specified while providing tools",
    "temperature: range: 0..1",
    "stop_sequences: each stop sequence must contain non-whitespace",
]

CUT = [
    (
        "Request too large (max 32MB). Accumulated images and attachments in the conversation pushed the request over"
        " the limit. Remove older images or compact the conversation.",
        "Request too large (max 32MB).",
    ),
    (
        "An image in the conversation exceeds the dimension limit for many-image requests (2000px). Start a new session"
        " with fewer images.",
        "An image in the conversation exceeds the dimension limit for many-image requests (2000px).",
    ),
    (
        "tools.12.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12"
        " (https://json-schema.org/draft/2020-12). Learn more about tool use at https://docs.claude.com/en/docs/tool-use.",
        "tools.12.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12.",
    ),
    (
        "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at"
        " https://docs.claude.com/x",
        "`temperature` may only be set to 1 when thinking is enabled.",
    ),
    (
        "due to tool use concurrency issues.",
        "the tool calls and the tool results in the conversation do not match.",
    ),
]


@pytest.mark.parametrize("message", KNOWN)
def test_a_reason_about_the_request_is_passed_on(message: str) -> None:
    assert reason(message) == f"{message.removesuffix('.')}."


@pytest.mark.parametrize(("message", "told"), CUT)
def test_text_after_the_reason_is_left_out(message: str, told: str) -> None:
    assert reason(message) == told


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Error",
        "This organization has been disabled.",
        "check your inference gateway (gateway.corp.example:8443)",
        "could not reach https://10.0.0.7/v1",
        "/srv/claude/settings.json: Field required",
        "messages.0.content.0.text: Field required (while reading: the diagnosis of J. Doe is)",
        "Invalid model name passed in model=claude-prod. Key sk-ant-abc is not allowed",
        "Tool 'sk-ant-api03-abcdefgh' not found in provided tools",
        "gateway.corp.example: Field required",
        "'gateway-7.corp.example' is not supported for this model",
        "max_tokens: 9 > 8, which is the maximum allowed number of output tokens for secret-project-model",
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: my secret. Each `tool_result`"
        " block must have a corresponding `tool_use` block in the previous message",
        "Could not process image\nhttps://internal.example/picture.png",
        "Field required" * 300,
        "messages" + ".0" * 30 + ": Field required",
    ],
)
def test_an_unknown_message_stays_in_the_log(message: str) -> None:
    told = reason(message)

    # Of a sentence that is known, the known part may be told; what it names may not.
    assert told is None or told == "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks."


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_met_and_lets_no_address_through(shape: str) -> None:
    parts = {
        "n": "5",
        "model": "claude-opus-4-5",
        "path": "tools.0.name",
        "name": "object",
        "tool": "get_weather",
        "names": "'a' or 'b'",
        "id": "toolu_1",
        "mime": "image/png",
        "regex": "^[a-z]{1,64}$",
    }
    message = shape.replace("~", "")
    for name, value in parts.items():
        message = message.replace("{" + name + "}", value)

    told = reason(f"messages.0.content: {message}")
    assert told is not None and told.startswith("messages.0.content: ")
    after = reason(f"{message} at https://gateway.corp.example/v1?key=sk-ant-0123456789")
    assert after is None or ("gateway" not in after and "sk-ant" not in after)
