"""The lines of batches: what a line of the input file must be, and what a line of the results is.

Source: https://platform.openai.com/docs/guides/batch.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.aside import aside
from storage.batches import Line
from translate.errors import OpenAIError
from translate.request_body import decode_object

MAX_LINES = 50_000
"""How many lines OpenAI accepts."""

MAX_ERRORS = 100
MAX_CUSTOM_ID = 512


class InvalidLineError(Exception):
    """A line of an input file is not valid. :attr:`error` is in the form of ``BatchError``."""

    def __init__(self, number: int | None, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "param": param, "line": number}


class LineReader:
    """Reads the lines of one input file, and remembers their ids."""

    def __init__(self, endpoint: str, max_bytes: int) -> None:
        self._endpoint = endpoint
        self._max_bytes = max_bytes
        self._ids: set[str] = set()
        self._number = 0
        self.model: str | None = None
        """The model of all requests. None if there are several."""

    async def lines(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
        """Yield the number and the bytes of each line that is not empty. Raises InvalidLineError for a long one."""
        rest, size = list[bytes](), 0
        async for piece in pieces:
            head, newline, tail = piece.rpartition(b"\n")
            if newline:
                size += len(head)
                for one in await aside(size, self._numbered, [*rest, head]):
                    yield self._checked(*one)
                rest, size = [], 0
            rest.append(tail)
            size += len(tail)
            if size > self._max_bytes:
                raise self._too_long(self._number + 1)
        for one in self._numbered(rest):
            yield self._checked(*one)

    def read(self, number: int, line: bytes) -> dict[str, Any]:
        """Return what is stored of a line. The body is JSON in bytes. Raises InvalidLineError."""
        try:
            fields = decode_object(line)
        except OpenAIError:
            raise InvalidLineError(number, "invalid_json_line", "This line is not a JSON object.") from None
        id, body = fields.get("custom_id"), fields.get("body")
        if not isinstance(id, str) or not 0 < len(id) <= MAX_CUSTOM_ID:
            raise InvalidLineError(number, "invalid_custom_id", "A 'custom_id' is required.", "custom_id")
        if id in self._ids:
            raise InvalidLineError(number, "duplicate_custom_id", "Another line has this 'custom_id'.", "custom_id")
        if fields.get("method") != "POST":
            raise InvalidLineError(number, "invalid_method", "The 'method' must be POST.", "method")
        if fields.get("url") != self._endpoint:
            message = f"The 'url' must be the endpoint of the batch, {self._endpoint}."
            raise InvalidLineError(number, "mismatched_endpoint", message, "url")
        if not isinstance(body, dict):
            raise InvalidLineError(number, "invalid_body", "The 'body' must be an object.", "body")
        if len(self._ids) >= MAX_LINES:
            raise InvalidLineError(number, "too_many_requests", f"A batch has up to {MAX_LINES} requests.")
        model = body.get("model")
        self.model = model if isinstance(model, str) and (not self._ids or model == self.model) else None
        self._ids.add(id)
        # As bytes, a body needs less memory than as values, and it is not encoded again when it is stored.
        return {"custom_id": id, "body": msgspec.Raw(msgspec.json.encode(body))}

    def _numbered(self, data: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Return the lines in whole pieces of the file with their numbers, without those that are empty."""
        lines = b"".join(data).split(b"\n")
        first = self._number + 1
        self._number += len(lines)
        return [(number, line) for number, line in enumerate(lines, start=first) if line.strip()]

    def _checked(self, number: int, line: bytes) -> tuple[int, bytes]:
        if len(line) > self._max_bytes:
            raise self._too_long(number)
        return number, line

    def _too_long(self, number: int) -> InvalidLineError:
        return InvalidLineError(number, "request_too_large", f"A line has up to {self._max_bytes} bytes.")


def answered(line: Line, status: int, request_id: str, body: Any) -> dict[str, Any]:
    """Return the line of the results for a request that got an answer."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    return _result(line.request, response, None)


def not_answered(request: Mapping[str, Any], code: str, message: str) -> dict[str, Any]:
    """Return the line of the results for a request that was not answered."""
    return _result(request, None, {"code": code, "message": message})


def encoded(result: Mapping[str, Any]) -> bytes:
    """Return a line as it is written to a file."""
    return json.dumps(result, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _result(request: Mapping[str, Any], response: Any, error: Any) -> dict[str, Any]:
    id = f"batch_req_{secrets.token_hex(16)}"
    return {"id": id, "custom_id": request["custom_id"], "response": response, "error": error}


class Usage:
    """The sum of the tokens that the answers of a batch report."""

    def __init__(self) -> None:
        self._input = self._cached = self._output = self._reasoning = 0

    def add(self, result: Mapping[str, Any]) -> None:
        """Add the usage in a line of the results, if it has one."""
        match result:
            case {"response": {"body": {"usage": {} as used}}}:
                self._input += _number(used, "input_tokens", "prompt_tokens")
                self._output += _number(used, "output_tokens", "completion_tokens")
                self._cached += _number(_inside(used, "input_tokens_details", "prompt_tokens_details"), "cached_tokens")
                details = _inside(used, "output_tokens_details", "completion_tokens_details")
                self._reasoning += _number(details, "reasoning_tokens")

    def object(self) -> dict[str, Any]:
        """Return the sum in OpenAI's form."""
        return {
            "input_tokens": self._input,
            "input_tokens_details": {"cached_tokens": self._cached},
            "output_tokens": self._output,
            "output_tokens_details": {"reasoning_tokens": self._reasoning},
            "total_tokens": self._input + self._output,
        }


def _inside(used: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((used[name] for name in names if isinstance(used.get(name), dict)), {})


def _number(used: Mapping[str, Any], *names: str) -> int:
    return next((used[name] for name in names if isinstance(used.get(name), int)), 0)
