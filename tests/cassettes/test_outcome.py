import pytest

from cassettes.format import How
from cassettes.outcome import failed_at_the_proxy, outcome, reason

RATE = {"message": "Too fast", "type": "requests", "code": "rate_limit_exceeded"}
INVALID = {"message": "No", "type": "invalid_request_error", "code": None}
KEY = {"message": "No key", "type": "invalid_request_error", "code": "invalid_api_key"}
# What a response tells that failed: the event of the error, and the error of the response itself.
TOLD = {"code": None, "message": "No", "error": INVALID, "sequence_number": 4}
LONG = {"code": "invalid_prompt", "message": "Too long"}


@pytest.mark.parametrize(
    ("how", "status", "error", "told", "at_the_proxy"),
    [
        ("done", 200, None, "done", False),
        ("done", 101, None, "done", False),
        ("done", 400, INVALID, "failed", False),
        ("done", 404, INVALID, "failed", False),
        ("done", 413, None, "failed", False),
        ("done", 401, KEY, "failed", True),
        ("done", 403, None, "failed", True),
        ("done", 409, None, "failed", True),
        ("done", 429, RATE, "failed", True),
        ("done", 500, None, "failed", True),
        ("done", 503, None, "failed", True),
        ("done", 504, None, "failed", True),
        ("done", 200, RATE, "failed", True),
        ("failed", 200, RATE, "failed", True),
        ("failed", 200, KEY, "failed", True),
        ("failed", 200, INVALID, "failed", False),
        ("failed", 200, TOLD, "failed", False),
        ("failed", 200, LONG, "failed", False),
        ("failed", 200, None, "failed", True),
        ("failed", 200, "server disconnected", "failed", True),
        ("failed", None, None, "failed", True),
        ("cut_by_app", 200, "Client disconnected.", "cut_by_app", False),
        ("interrupted", 200, None, "interrupted", True),
    ],
)
def test_an_exchange_is_done_only_if_the_app_got_what_it_asked_for(
    how: How, status: int | None, error: object, told: str, at_the_proxy: bool
) -> None:
    assert outcome(how, status, error) == told
    assert failed_at_the_proxy(how, status, error) is at_the_proxy


def test_asking_for_what_failed_earlier_is_no_failure() -> None:
    assert outcome("done", 200, RATE, "GET") == "done"
    assert not failed_at_the_proxy("done", 200, RATE, "GET")


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (401, KEY, "401 invalid_api_key"),
        (400, INVALID, "400 invalid_request_error"),
        (200, RATE, "rate_limit_exceeded"),
        (503, None, "503"),
        (200, "Client disconnected.", "Client disconnected."),
        (200, None, "it broke off"),
        (200, {}, "an error"),
    ],
)
def test_a_reason_is_told_in_a_few_words(status: int, error: object, told: str) -> None:
    assert reason(status, error) == told


def test_an_app_that_left_before_anything_was_said_had_waited_in_vain() -> None:
    assert failed_at_the_proxy("cut_by_app", 200, "Client disconnected.", said=False)
    assert not failed_at_the_proxy("done", 200, None, said=False)
