"""Errors of the shared code, in this dialect's words."""

from translate.errors import OpenAIError
from translate.responses.words import reworded


def test_words_are_replaced_in_the_message_and_the_param() -> None:
    error = reworded(OpenAIError("Invalid 'a.b.c'.", param="a.b.c", code="x", status=413), {"a.b": "d"})

    assert (error.message, error.param, error.code, error.status) == ("Invalid 'd.c'.", "d.c", "x", 413)


def test_a_replaced_text_is_not_replaced_again() -> None:
    assert reworded(OpenAIError("tools[0]"), {"tools[0]": "input[1].tools[0]"}).message == "input[1].tools[0]"


def test_the_longer_word_goes_first() -> None:
    assert reworded(OpenAIError("a.function.b"), {"a": "x", "a.function": "y"}).message == "y.b"


def test_an_error_without_a_param_stays_without() -> None:
    assert reworded(OpenAIError("a"), {"a": "b"}).param is None
