"""What the judge says of recordings of the real API: nothing. A check that finds something there is wrong."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from conform.document import document
from conform.exchange import Exchange
from conform.judge import judge
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
