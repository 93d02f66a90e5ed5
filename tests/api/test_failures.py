"""What an app is told when Claude's side fails."""

from api.failures import as_openai
from engine import ClaudeError


def test_an_app_is_told_what_it_may_know_and_nothing_of_the_rest() -> None:
    error = ClaudeError(
        "context_length_exceeded", detail="at 10.0.0.7", retry_after_s=3, request_id="req_1", reason="r."
    )

    told = as_openai(error, "input")

    assert (told.status, told.param, told.retry_after_s) == (400, "input", 3)
    assert told.message.endswith(": r.")
    assert b"10.0.0.7" not in told.body() and b"req_1" not in told.body()
