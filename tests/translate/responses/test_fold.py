"""The body is the last event's response."""

import pytest

from tests.translate.chat.test_stream import START, end, text
from tests.translate.responses.test_stream import machine, respond
from translate.errors import openai_error
from translate.responses.fold import fold
from translate.responses.wire import ResponseEvent


@pytest.mark.parametrize(("reason", "status"), [("end_turn", "completed"), ("max_tokens", "incomplete")])
def test_the_body_is_what_the_last_event_says(reason: str, status: str) -> None:
    assert fold(respond([START, *text("Hi"), end(reason)])).status == status


def test_a_failed_response_is_a_body_too() -> None:
    assert fold(machine().failed(openai_error("api_error"))).status == "failed"


@pytest.mark.parametrize("events", [[], respond([START, *text("Hi"), end()])[:-1]], ids=["none", "cut"])
def test_a_stream_without_an_end_is_an_error(events: list[ResponseEvent]) -> None:
    with pytest.raises(ValueError, match="not a complete response"):
        fold(events)
