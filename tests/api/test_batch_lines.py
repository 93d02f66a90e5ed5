"""Lines of input files are checked one by one, and results add up."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api import batch_lines as module
from api.batch_lines import InvalidLineError, LineReader, Usage, answered, encoded, not_answered
from storage.batches import Batch, Line

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "gpt-5"}}


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


async def test_lines_are_numbered_wherever_the_pieces_are_cut() -> None:
    reader = LineReader("/v1/responses", 100)

    found = [one async for one in reader.lines(pieces(b"on", b"e\r\n\n  \nfo", b"", b"ur\nfive"))]

    assert found == [(1, b"one\r"), (4, b"four"), (5, b"five")]


@pytest.mark.parametrize("data", [(b"x" * 101 + b"\n",), (b"x" * 60, b"x" * 60)])
async def test_a_line_is_bounded(data: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidLineError) as raised:
        async for _ in LineReader("/v1/responses", 100).lines(pieces(*data)):
            pass

    assert (raised.value.error["code"], raised.value.error["line"]) == ("request_too_large", 1)


def test_of_a_line_its_id_and_its_body_are_kept() -> None:
    reader = LineReader("/v1/responses", 100)

    read = reader.read(1, json.dumps(GOOD).encode())
    assert (read["custom_id"], bytes(read["body"])) == ("a", b'{"model":"gpt-5"}')
    assert reader.model == "gpt-5"
    reader.read(2, json.dumps({**GOOD, "custom_id": "b"}).encode())
    assert reader.model == "gpt-5"
    reader.read(3, json.dumps({**GOOD, "custom_id": "c", "body": {"model": "o3"}}).encode())
    assert reader.model is None
    reader.read(4, json.dumps({**GOOD, "custom_id": "d"}).encode())
    assert reader.model is None


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        ({**GOOD, "custom_id": None}, "invalid_custom_id", "custom_id"),
        ({**GOOD, "custom_id": ""}, "invalid_custom_id", "custom_id"),
        ({**GOOD, "custom_id": "known"}, "duplicate_custom_id", "custom_id"),
        ({**GOOD, "method": "GET"}, "invalid_method", "method"),
        ({**GOOD, "url": "/v1/chat/completions"}, "mismatched_endpoint", "url"),
        ({**GOOD, "body": "x"}, "invalid_body", "body"),
        ({**GOOD, "custom_id": "one too many"}, "too_many_requests", None),
    ],
)
def test_a_line_that_is_not_valid_is_told_by_its_number(
    line: Any, code: str, param: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = LineReader("/v1/responses", 1000)
    reader.read(1, json.dumps({**GOOD, "custom_id": "known"}).encode())
    if code == "too_many_requests":
        monkeypatch.setattr(module, "MAX_LINES", 1)

    with pytest.raises(InvalidLineError) as raised:
        reader.read(7, line if isinstance(line, bytes) else json.dumps(line).encode())

    error = raised.value.error
    assert (error["code"], error["param"], error["line"]) == (code, param, 7)


def test_results_are_lines_of_json() -> None:
    batch = Batch("b", "me", None, 0, 0, "in_progress", "/v1/responses", "f", None, None, 1, 0, 0, {})
    line = Line(batch, 0, 1, {"custom_id": "é", "body": {}})

    good, bad = answered(line, 200, "req_1", {"x": "\n"}), not_answered(line.request, "batch_expired", "Late.")

    assert json.loads(encoded(good)) == {
        "id": good["id"],
        "custom_id": "é",
        "response": {"status_code": 200, "request_id": "req_1", "body": {"x": "\n"}},
        "error": None,
    }
    assert encoded(good).count(b"\n") == 1
    assert bad["error"] == {"code": "batch_expired", "message": "Late."}
    assert bad["response"] is None
    assert good["id"] != bad["id"]


def test_the_usage_of_both_dialects_adds_up() -> None:
    usage = Usage()
    chat = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
    response = {"input_tokens": 10, "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}}
    bodies: list[Any] = [{"usage": chat}, {"usage": response}, {"usage": None}, {}, []]
    for body in bodies:
        usage.add({"response": {"body": body}})
    usage.add({"response": None})

    assert usage.object() == {
        "input_tokens": 13,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 24,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 37,
    }
