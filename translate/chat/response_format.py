"""OpenAI's response_format -> Claude's output format.

``json_schema`` becomes ``output_config.format``, which constrains what the model can write
(https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs). ``json_object`` has no counterpart. Some
schemas are beyond Claude's grammar. For both, an instruction asks for the format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from translate.errors import OpenAIError
from translate.json_schema import SchemaError, fit, is_beyond
from translate.tools import NAME

JSON_OBJECT_INSTRUCTION = (
    "Answer with one JSON object and nothing else: no text before or after it, and no code fence around it."
)

JSON_SCHEMA_INSTRUCTION = (
    "Answer with one JSON value and nothing else: no text before or after it, and no code fence around it. It must be"
    " valid by this JSON Schema:\n"
)


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A translated response_format: Claude's ``output_config.format``, or an instruction, or neither.

    ``strict`` means that the app's schema is strict. If there is no ``format`` then, Claude is not forced to follow it.
    ``otherwise`` is the instruction that asks for the same as ``format``, for when that cannot be used.
    """

    format: Mapping[str, Any] | None = None
    instruction: str | None = None
    strict: bool = False
    otherwise: str | None = None

    @property
    def loose(self) -> bool:
        """Whether the app's schema is strict, and Claude is not forced to follow it."""
        return self.strict and self.format is None

    def by_instruction(self) -> "OutputFormat":
        """Return the same format, asked for in words only."""
        return self if self.format is None else OutputFormat(instruction=self.otherwise, strict=self.strict)


def translate_response_format(value: Any, messages: Sequence[Any]) -> OutputFormat:
    """Translate ``response_format``. ``messages`` are the app's. For ``json_object`` they must contain JSON.

    Raises OpenAIError (400).
    """
    match value:
        case None | {"type": "text"}:
            return OutputFormat()
        case {"type": "json_object"}:
            if "json" not in str(messages).lower():
                raise OpenAIError(
                    "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
                    " 'json_object'.",
                    param="messages",
                    code=None,
                )
            return OutputFormat(instruction=JSON_OBJECT_INSTRUCTION)
        case {"type": "json_schema", "json_schema": dict(wrapper)}:
            return _by_schema(wrapper)
        case {"type": "json_schema"}:
            param = "response_format.json_schema"
            raise OpenAIError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
        case {"type": kind}:
            message = f"Invalid value: {kind!r}. Supported values are: 'json_object', 'json_schema', and 'text'."
            raise OpenAIError(message, param="response_format.type", code="invalid_value")
        case _:
            message = "Invalid type for 'response_format': expected an object with a type."
            raise OpenAIError(message, param="response_format", code="invalid_type")


def _by_schema(wrapper: Mapping[str, Any]) -> OutputFormat:
    name = wrapper.get("name")
    param = "response_format.json_schema"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        message = f"Invalid '{param}.name': expected a string that matches '^[a-zA-Z0-9_-]+$', at most 64 characters."
        raise OpenAIError(message, param=f"{param}.name", code="invalid_value")
    schema = wrapper.get("schema")
    if not isinstance(schema, dict):
        message = f"Missing required parameter: '{param}.schema'."
        raise OpenAIError(message, param=f"{param}.schema", code="missing_required_parameter")
    strict = wrapper.get("strict") is True
    try:
        fitted = fit(schema, strict=strict)
    except SchemaError as error:
        message = f"Invalid schema for response_format '{name}': {error}"
        raise OpenAIError(message, param="response_format") from None
    description = wrapper.get("description")
    described = {"description": description} if isinstance(description, str) and description else {}
    words = JSON_SCHEMA_INSTRUCTION + msgspec.json.encode({**described, **schema}).decode()
    if is_beyond(schema):
        return OutputFormat(instruction=words, strict=strict)
    format = {"type": "json_schema", "schema": {**described, **fitted}}
    return OutputFormat(format=format, strict=strict, otherwise=words)
