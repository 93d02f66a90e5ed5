"""What OpenAI's own answers have although OpenAI's document has not, taken away before a check against the document.

The corpus's README counts these deviations: null for a field that the document does not let be null.
"""

import json
from typing import Any

NOT_NULL = {"response": ("user", "usage"), "json_schema": ("description",), "mcp": ("server_description",)}
"""The ``object`` or ``type`` of an object -> fields that OpenAI sends as null although its document forbids it."""


def as_documented(value: Any) -> Any:
    """Return JSON without OpenAI's deviations from its document."""
    if isinstance(value, list):
        return [as_documented(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("object") or value.get("type")
    dropped = NOT_NULL.get(kind, ()) if isinstance(kind, str) else ()
    return {name: as_documented(item) for name, item in value.items() if item is not None or name not in dropped}


class Document:
    """A check against OpenAI's document, with no deviation forgiven but those above."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    def body(self, name: str, value: Any) -> list[str]:
        """Return the problems of a body."""
        return list(self._validator.body(name, as_documented(value)))

    def sse(self, name: str, text: str) -> list[str]:
        """Return the problems of the text of a stream."""
        return list(self._validator.sse(name, "\n".join(map(_documented_line, text.split("\n")))))


def _documented_line(line: str) -> str:
    if not line.startswith("data: {"):
        return line
    return f"data: {json.dumps(as_documented(json.loads(line.removeprefix('data: '))))}"
