"""Decides which of Claude's error messages an app may read.

Messages of Claude's API and of Claude Code may name hosts, accounts, keys or files of the machine that the proxy runs
on. So a message reaches the app only if the whole message has one of the shapes below. A shape is a sentence of the
API, or Claude Code's version of it. Its variable parts may only be numbers, model names, JSON paths and short names
from the request itself. All other messages are only in the log.

Sources: https://docs.anthropic.com/en/api/errors, the limits and rules in Anthropic's guides (vision, PDF support, tool
use, structured outputs, extended thinking), and the messages that public issues quote. Claude Code changes some
messages. Its versions of them come from the version that :data:`engine.sdk.VERIFIED_CLI` names.
"""

import re

# The variable parts of a shape, in braces. The text around a part anchors it. Each has a limited length.
PARTS = {
    "n": r"\d[\d,.]{0,14}(?<![,.])",
    "model": r"claude-[a-z0-9.-]{1,60}",
    "path": (
        r"(?:container|context_management|mcp_servers|max_tokens|messages|metadata|model|output_config|output_format"
        r"|service_tier|stop_sequences|system|temperature|thinking|tool_choice|tools|top_k|top_p)"
        r"(?:\.[A-Za-z0-9_$-]{1,64}|\[\d{1,5}\]){0,20}"
    ),
    # A word of the API, or a name from the request: a parameter, a tool, a property, a type.
    "name": r"[A-Za-z0-9_$]{1,64}",
    "tool": r"[A-Za-z0-9_-]{1,128}",
    "names": r"'?[A-Za-z0-9_-]{1,64}'?(?:(?:, | or |, or )'?[A-Za-z0-9_-]{1,64}'?){0,19}",
    "id": r"(?:toolu|srvtoolu|call|mcptoolu)_[A-Za-z0-9_-]{1,64}",
    "mime": r"(?:image|application|text)/[a-z0-9.+-]{1,40}",
    "regex": r"\^\[[a-zA-Z0-9_.\\-]{1,24}\]\{\d,\d{1,4}\}\$",
}

# Before each may stand a JSON path and a colon. At a tilde the app's text ends: any text that follows is left out.
SHAPES = (
    # Limits.
    "prompt is too long: {n} tokens > {n} maximum",
    "input length and `max_tokens` exceed context limit: {n} + {n} > {n}, decrease input length or `max_tokens` and try"
    " again",
    "{n} > {n}, which is the maximum allowed number of output tokens for {model}",
    "Request exceeds the maximum size",
    "Request exceeds the maximum allowed number of bytes",
    "Request too large (max {n}MB)~",
    "String should have at most {n} characters",
    "String should have at least {n} character",
    "String should have at least {n} characters",
    "List should have at most {n} items after validation, not {n}",
    "List should have at least {n} item after validation, not {n}",
    "array too long. Expected an array with maximum length {n}, but got an array with length {n} instead",
    # Images and documents.
    "Too much media: {n} document pages + {n} images > {n}",
    "Too many images and documents: {n} + {n} > {n}",
    "A maximum of {n} PDF pages may be provided",
    "At least one of the image dimensions exceed max allowed size: {n} pixels",
    "At least one of the image dimensions exceed max allowed size for many-image requests: {n} pixels",
    "image exceeds {n} MB maximum: {n} bytes > {n} bytes",
    "image exceeds {n} MB maximum",
    "Image does not match the provided media type {mime}",
    "Could not process image",
    "Could not process PDF",
    "Unable to download the file. Please verify the URL and try again",
    "This URL is disallowed by the website's robots.txt file",
    "The PDF specified was not valid",
    "The PDF specified is password protected",
    "PDF cannot be empty",
    "image cannot be empty",
    "Invalid base64 data",
    "An image in the conversation exceeds the dimension limit for many-image requests ({n}px)~",
    "Image was too large~",
    "PDF too large (max {n} pages, {n}MB)~",
    "PDF is password protected~",
    "The PDF file was not valid~",
    # Schemas of tools and of the answer.
    "input_schema does not support oneOf, allOf, or anyOf at the top level",
    "JSON schema is invalid. It must match JSON Schema draft 2020-12~",
    "JSON schema is invalid - please consult our documentation~",
    "Property keys should match pattern '{regex}'",
    "String should match pattern '{regex}'",
    "Schema is too complex~",
    "Schema is too complex for compilation~",
    "The compiled grammar is too large, which would cause performance issues. Simplify your tool schemas or reduce the"
    " number of strict tools",
    "Grammar compilation timed out~",
    "Too many strict tools ({n}). The maximum number of strict tools supported is {n}~",
    "Too many strict tools ({n}). Maximum number of strict tools supported is {n}~",
    "Too many strict tools~",
    "Schemas contains too many optional parameters ({n}), which would make grammar compilation inefficient. Reduce the"
    " number of optional parameters in your tool schemas (limit: {n})",
    "Schemas contains too many parameters with union types ({n} parameters with type arrays or anyOf)~",
    "For '{name}' type, property '{name}' is not supported",
    "For '{name}' type, properties {names} are not supported",
    "For '{name}' type, '{name}' must be explicitly set to false",
    "For '{name}' type, '{name}' object must be explicitly set to false",
    "For '{name}' type, '{name}' must be set to false",
    "For '{name}' type, '{name}' values other than {n} or {n} are not supported",
    "Invalid schema: Enum must be a non-empty array",
    "Invalid schema~",
    "Schema type '{name}' is not supported",
    "Keyword '{name}' is not supported",
    "Recursive schemas are not supported",
    "Circular reference detected~",
    "External $ref is not supported~",
    "Unsupported schema~",
    # Tools and their calls.
    "Tool names must be unique",
    "Tool '{tool}' not found in provided tools",
    "{path} may only be specified while providing tools",
    "tool_choice may only be specified while providing tools",
    "`tool_use` ids were found without `tool_result` blocks immediately after: {id}. Each `tool_use` block must have a"
    " corresponding `tool_result` block in the next message",
    "`tool_use` ids were found without `tool_result` blocks immediately after~",
    "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a corresponding"
    " `tool_use` block in the previous message",
    "unexpected `tool_use_id` found in `tool_result` blocks~",
    "`tool_use` ids must be unique",
    "each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}",
    "Requests which include `tool_use` or `tool_result` blocks must define tools",
    "Web search is not enabled for this organization~",
    # Messages.
    "at least one message is required",
    "text content blocks must be non-empty",
    "text content blocks must contain non-whitespace text",
    "all messages must have non-empty content except for the optional final assistant message",
    "user messages must have non-empty content",
    "final assistant content cannot end with trailing whitespace",
    'first message must use the "user" role',
    'roles must alternate between "user" and "assistant", but found multiple "{name}" roles in a row',
    "This model does not support assistant message prefill. The conversation must end with a user message",
    "A maximum of {n} blocks with cache_control may be provided. Found {n}",
    "each stop sequence must contain non-whitespace",
    # Thinking and sampling.
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one",
    "`temperature` may only be set to 1 when thinking is enabled~",
    "`top_p` must be greater than or equal to {n} or unset when thinking is enabled~",
    "`top_k` must be unset when thinking is enabled~",
    "`max_tokens` must be greater than `thinking.budget_tokens`~",
    "`{name}` is deprecated for this model",
    "`{name}` is not supported for this model",
    "`{name}` is not supported on this model",
    "Thinking may not be enabled when tool_choice forces tool use~",
    "adaptive thinking is not supported on this model",
    "thinking is not supported on this model",
    "thinking is not supported for this model",
    '"{path}" is not supported for this model~',
    "'{path}' is not supported for this model~",
    "This model does not support the {name} parameter",
    "This model does not support {name}",
    "This model does not support effort level '{name}'~",
    "Expected `thinking` or `redacted_thinking`, but found `{name}`~",
    "Invalid `signature` in `thinking` block",
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified~",
    "thinking or redacted_thinking blocks in the latest assistant message cannot be modified~",
    # The form of the request.
    "Field required",
    "Extra inputs are not permitted",
    "Input should be {names}",
    "Input should be a valid {name}",
    "Input should be a valid list of content blocks",
    "Input should be a valid dictionary or object to extract fields from",
    "Input should be greater than or equal to {n}",
    "Input should be greater than {n}",
    "Input should be less than or equal to {n}",
    "Input should be less than {n}",
    "Input tag '{name}' found using 'type' does not match any of the expected tags~",
    "Input does not match the expected shape",
    "must be greater than or equal to {n}",
    "must be less than or equal to {n}",
    "range: {n}..{n}",
    "`{name}`: range: {n}..{n}",
    "Output blocked by content filtering policy",
)

# Messages that Claude Code sends in place of the API's, and the texts that the app gets for them.
INSTEAD = {
    "due to tool use concurrency issues": "the tool calls and the tool results in the conversation do not match",
    "a document in the conversation could not be processed and was removed. Re-read the file with a different approach"
    " if you still need it": "a document could not be processed, or there are too many images and document pages",
    "an image in the conversation could not be processed and was removed. Re-read the file with a different approach"
    " if you still need it": "an image could not be processed",
}

# The app never gets a text with one of these: a URL, a mail address, a key, a request id, an IP address.
NEVER = re.compile(
    r"://|@|\bsk-|\bbearer\b|\breq_|\beyJ|\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{44,}",
    re.IGNORECASE,
)

MAX_CHARS = 600


def _pattern(shape: str) -> str:
    told, tilde, _ = shape.partition("~")
    pieces = re.split(r"\{(\w+)\}", told)
    # Every second piece is the name of a part.
    body = "".join(f"(?:{PARTS[piece]})" if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))
    return f"(?:{body})(?:\\b|(?<=\\W))(?P<rest>.*)" if tilde else body + r"\.?"


_FITS = tuple(
    re.compile(rf"(?P<told>(?:(?:{PARTS['path']}): ){{0,2}}{_pattern(shape)})", re.DOTALL) for shape in SHAPES
)


def reason(message: str) -> str | None:
    """Return the part of an error message that an app may read, or None if it may read nothing.

    ``message`` is Anthropic's ``error.message``, or Claude Code's message in its place.
    """
    message = " ".join(message.split())
    if len(message) > MAX_CHARS * 4:
        return None
    if told := INSTEAD.get(message.removesuffix(".")):
        return f"{told}."
    for fits in _FITS:
        if match := fits.fullmatch(message):
            rest = match.groupdict().get("rest") or ""
            told = match["told"].removesuffix(rest).rstrip(" .:(")
            return f"{told}." if len(told) <= MAX_CHARS and not NEVER.search(told) else None
    return None
