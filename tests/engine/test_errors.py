"""What can go wrong on Claude's side, in Claude's words."""

import pytest

from engine.errors import kind_of


@pytest.mark.parametrize(
    ("status", "word", "terminal_reason", "kind"),
    [
        (401, "authentication_failed", None, "authentication_error"),
        (400, "unknown", None, "invalid_request_error"),
        (400, "billing_error", None, "billing_error"),
        (400, "unknown", "prompt_too_long", "context_length_exceeded"),
        (404, "model_not_found", None, "not_found_error"),
        (418, None, None, "invalid_request_error"),
        (529, None, None, "overloaded_error"),
        (599, None, None, "api_error"),
        (None, "authentication_failed", None, "authentication_error"),
        (None, "server_error", None, "connection_error"),
        (None, None, None, "connection_error"),
    ],
)
def test_a_failure_is_named_by_reason_then_status_then_word(
    status: int | None, word: str | None, terminal_reason: str | None, kind: str
) -> None:
    assert kind_of(status, word, terminal_reason) == kind
