"""Why an answer ended."""

from typing import get_args

from anthropic.types import StopReason

from translate.chat.finish_reason import FINISH_REASON, FinishReason, finish_reason


def test_every_stop_reason_of_the_vendors_has_a_row() -> None:
    assert set(get_args(StopReason)) <= set(FINISH_REASON)


def test_every_row_ends_in_a_word_of_openais() -> None:
    assert set(FINISH_REASON.values()) <= set(get_args(FinishReason.__value__))


def test_a_reason_that_nobody_knows_yet_is_an_end() -> None:
    assert finish_reason("invented") == "stop"
