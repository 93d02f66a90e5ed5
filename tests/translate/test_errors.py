"""Claude's errors in OpenAI's words."""

import json

import httpx
import openai
import pytest

from engine.errors import KIND_BY_STATUS, KIND_BY_WORD
from translate.errors import ERRORS, OpenAIError, openai_error

RAISED = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
}


def test_every_kind_of_failure_has_a_row() -> None:
    assert {*KIND_BY_STATUS.values(), *KIND_BY_WORD.values(), "context_length_exceeded", "busy"} <= set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS)
def test_each_is_what_openais_client_raises_for_its_status(kind: str) -> None:
    error = openai_error(kind, retry_after_s=3)

    body = json.loads(error.body())
    response = httpx.Response(error.status, json=body, request=httpx.Request("POST", "https://api.openai.com/"))
    client = openai.OpenAI(api_key="x")
    raised = client._make_status_error_from_response(response)  # type: ignore[arg-type]
    assert isinstance(raised, RAISED.get(error.status, openai.InternalServerError))
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert error.retry_after_s == 3


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("authentication_error", "Incorrect API key provided"),
        ("context_length_exceeded", "This model's maximum context length is"),
        ("context_length_exceeded", "Please reduce the length of the messages"),
    ],
)
def test_the_words_by_which_programs_know_an_error_are_openais(kind: str, words: str) -> None:
    assert words in openai_error(kind).message


def test_an_unknown_kind_is_a_server_error() -> None:
    assert openai_error("invented").status == 500


def test_the_body_is_openais_shape() -> None:
    error = OpenAIError("Bad.", param="n", code="invalid_value")

    assert json.loads(error.body()) == {
        "error": {"message": "Bad.", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    }
