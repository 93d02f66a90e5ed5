"""What the judge says of recordings of the real API: nothing. A check that finds something there is wrong."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from conform.document import document
from conform.exchange import Exchange
from conform.judge import SHAPE, judge
from conform.wire import Wire, wire
from tests.corpus import CORPUS, NO_CORPUS, exchange_of, recordings

SINCE = "2025-10"
"""The keys of older answers are those of their time; the table knows them, and the document does not."""


def exchanges() -> Iterator[Any]:
    files = sorted(CORPUS.glob("openai.*/*.json"))
    for path in files:
        exchange = exchange_of(json.loads(path.read_text(encoding="utf-8")), path.stem)
        if exchange.date is None or exchange.date >= SINCE:
            yield pytest.param(exchange, id=f"{path.parent.name}/{path.stem[:80]}")
    if not files:
        yield pytest.param(None, id="none", marks=pytest.mark.skip(reason=NO_CORPUS))


@pytest.mark.parametrize("exchange", list(exchanges()))
def test_nothing_is_found_in_a_recording_of_the_real_api(exchange: Any) -> None:
    assert judge(exchange, document(), wire(), recorded=True) == []


@pytest.mark.skipif(not CORPUS.is_dir(), reason=NO_CORPUS)
@pytest.mark.parametrize("half", [0, 1])
def test_little_is_found_in_recordings_that_the_table_is_not_made_of(half: int) -> None:
    """The table of one half is held to the other half: a key that half the recordings have by chance is seldom."""
    every = [exchange for _, exchange in recordings()]
    known = Wire()
    for exchange in every[half::2]:
        known.learn(exchange, document())

    found = [
        finding
        for exchange in every[1 - half :: 2]
        if exchange.date is None or exchange.date >= SINCE
        for finding in judge(exchange, document(), known, recorded=True)
        if finding.check == "wire"
    ]

    assert len(found) <= 1, found


def test_findings_that_repeat_in_a_stream_are_joined() -> None:
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": "now", "model": "m", "choices": []}
    text = f"data: {json.dumps(chunk)}\n\n" * 9
    exchange = Exchange(name="x", dialect="chat", headers={"content-type": "text/event-stream"}, text=text)

    found = judge(exchange, document(), Wire())

    (created,) = [one for one in found if "created" in one.place]
    assert (created.check, created.place, created.came) == ("document", "event 0 $.created, and 8 more", '"now"')


def chat(**fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": None, "refusal": None, **fields}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def chunk(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"role": "assistant", **fields}}]}


ODD: dict[str, tuple[Any, Any]] = {
    "calls that are a number": ("chat", chat(tool_calls=1)),
    "calls that are numbers": ("chat", chat(tool_calls=[1])),
    "ids that are lists": ("chat", chat(tool_calls=[{"id": [1]}, {"id": [1]}])),
    "a function that is a text": ("chat", chat(tool_calls=[{"function": "f"}])),
    "a content that is a number": ("chat", chat(content=1)),
    "an output that is a number": ("responses", {"object": "response", "output": 1}),
    "item ids that are lists": ("responses", {"object": "response", "output": [{"id": [1]}]}),
    "a content of an item that is a number": ("responses", {"object": "response", "output": [{"content": 1}]}),
    "an index that is a list": ("chat", [{"choices": [{"index": [1], "delta": {}}]}]),
    "an index of a call that is a list": ("chat", [chunk(tool_calls=[{"index": [1]}])]),
    "indexes of two types": ("chat", [{"choices": [{"index": 0}, {"index": "a"}]}]),
    "an item that is a text": ("responses", [{"type": "response.output_item.added", "item": "a"}]),
    "an index of an item that is a list": ("responses", [{"type": "response.output_item.done", "output_index": [1]}]),
    "an index of a delta that is a list": (
        "responses",
        [{"type": "response.output_text.delta", "output_index": [1], "delta": "a"}],
    ),
    "an output at the end that is a number": (
        "responses",
        [{"type": "response.completed", "response": {"output": 1}}],
    ),
    "a number": ("chat", 1),
    "a type that is a list": ("responses", [{"type": [1]}]),
}


@pytest.mark.parametrize("name", ODD)
def test_an_answer_of_other_types_is_a_finding_and_no_exception(name: str) -> None:
    dialect, value = ODD[name]
    asked: dict[str, Any] = {"response_format": {"type": "json_object"}}
    if isinstance(value, list):
        text = "".join(f"data: {json.dumps(one)}\n\n" for one in value)
        exchange = Exchange(name="x", dialect=dialect, headers={"content-type": "text/event-stream"}, text=text)
    else:
        exchange = Exchange(name="x", dialect=dialect, request=asked, text=json.dumps(value))

    assert judge(exchange, document(), wire()) != []


def test_what_a_check_cannot_read_is_told_beside_the_findings_of_the_others() -> None:
    exchange = Exchange(name="x", dialect="chat", text=json.dumps(chat(tool_calls=1)))

    found = judge(exchange, document(), wire())

    (odd,) = [one for one in found if one.check == SHAPE]
    assert (odd.request, odd.came) == ("x", "what the check «answer» cannot read (TypeError)")
    assert {"headers", "document"} <= {one.check for one in found}
