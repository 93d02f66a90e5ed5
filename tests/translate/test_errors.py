"""Claude's errors in OpenAI's words."""

import json
from typing import get_args

import httpx
import openai
import pytest

from translate.errors import ERRORS, Kind, OpenAIError, openai_error

RAISED = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
}


def test_every_kind_of_failure_has_a_row() -> None:
    assert set(get_args(Kind.__value__)) == set(ERRORS)


@pytest.mark.parametrize("kind", ERRORS)
def test_each_is_what_openais_client_raises_for_its_status(kind: Kind) -> None:
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
def test_the_words_by_which_programs_know_an_error_are_openais(kind: Kind, words: str) -> None:
    assert words in openai_error(kind).message


@pytest.mark.parametrize(("kind", "status"), [("timeout", 504), ("not_logged_in", 401)])
def test_errors_outside_the_api_have_a_status(kind: Kind, status: int) -> None:
    assert openai_error(kind).status == status


def test_without_credentials_an_app_is_told_that_there_are_none_and_which_command_helps() -> None:
    error = openai_error("not_logged_in")

    assert "There are no Claude credentials" in error.message
    assert "`understudy auth login`" in error.message
    assert "Incorrect API key" not in error.message
    # Apps that read this code ask their person for another key of OpenAI's.
    assert error.code != "invalid_api_key"


def test_claudes_reason_stands_in_the_message_where_there_is_one() -> None:
    told = openai_error("invalid_request_error", reason="max_tokens: Field required.")
    longer = openai_error("context_length_exceeded", reason="prompt is too long: 2 tokens > 1 maximum.")

    assert told.message == "Claude's API found this request invalid: max_tokens: Field required."
    assert longer.message.endswith("reduce the length of the messages: prompt is too long: 2 tokens > 1 maximum.")


def test_the_body_is_openais_shape() -> None:
    error = OpenAIError("Bad.", param="n", code="invalid_value")

    assert json.loads(error.body()) == {
        "error": {"message": "Bad.", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}
    }
