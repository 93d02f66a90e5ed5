"""What Claude Code reports of a failure becomes one ClaudeError."""

from dataclasses import dataclass, field

import pytest

from engine.reports import Told, api_words, cause, failed, retry_announced


@dataclass
class Result:
    """A ResultMessage's fields that count here."""

    result: str | None = None
    api_error_status: int | None = None
    terminal_reason: str | None = "api_error"
    is_error: bool = True
    subtype: str = "success"
    errors: list[str] | None = field(default=None)


def test_the_apis_words_are_for_the_log_and_what_is_safe_of_them_for_the_app() -> None:
    words = "API Error: 400 max_tokens: Field required"

    error = failed(Result(words, 400), Told("unknown", "req_1"))

    assert (error.kind, error.reason) == ("invalid_request_error", "max_tokens: Field required.")
    assert error.describe().startswith("invalid_request_error: API Error: 400 max_tokens: Field required (status 400")
    assert error.describe().endswith("(request req_1 at Anthropic)")


def test_a_message_with_a_host_name_stays_in_the_log() -> None:
    error = failed(Result("API Error: 400 gateway.corp.example does not know you", 400), Told())

    assert error.reason is None
    assert "gateway.corp.example" in error.detail


@pytest.mark.parametrize("status", [401, 402, 403, 429, 500])
def test_only_a_refusal_of_the_request_itself_gives_a_reason(status: int) -> None:
    assert failed(Result(f"API Error: {status} messages: Field required", status), Told()).reason is None


def test_no_credentials_at_all_is_another_failure_than_refused_ones() -> None:
    none = failed(Result("Not logged in · Please run /login"), Told("authentication_failed"))
    refused = failed(Result("Failed to authenticate. API Error: 401 no", 401), Told("authentication_failed"))

    assert (none.kind, refused.kind) == ("not_logged_in", "authentication_error")
    assert "understudy auth login" in none.detail and "/login" not in none.detail


def test_after_a_part_of_the_answer_a_failure_is_that_of_the_stream() -> None:
    assert failed(Result("x", 500), Told(), started=True).kind == "stream_error"
    assert failed(Result("x", 529), Told(), started=True).kind == "overloaded_error"
    assert retry_announced({"error_status": 529}, started=True).kind == "stream_error"


def test_a_result_that_is_no_error_and_no_answer_is_claude_codes_failure() -> None:
    assert failed(Result(is_error=False), Told()).kind == "cli_failed"


def test_the_announcement_of_a_retry_has_the_status_and_the_wait() -> None:
    error = retry_announced({"error_status": 429, "error": "rate_limit", "retry_delay_ms": 7400})

    assert (error.kind, error.retry_after_s, error.detail) == ("rate_limit_error", 7, "status 429, rate_limit")


@pytest.mark.parametrize("error", ["unknown", None])
def test_an_announcement_without_a_status_is_about_the_connection(error: str | None) -> None:
    told = retry_announced({"error_status": None, "error": error, "retry_delay_ms": 600})

    assert (told.kind, told.retry_after_s) == ("connection_error", None)
    assert "None" not in told.detail and "unknown" not in told.detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)", "connection refused"),
        ("API Error: Can't reach the API server — check your internet or DNS (ENOTFOUND)", "name not resolved"),
        ("API Error: Unable to connect to API (EPROTO)", "TLS failure"),
        ("API Error: (whatever) happened", None),
        ("", None),
    ],
)
def test_the_cause_of_a_failed_connection_is_in_words(text: str, words: str | None) -> None:
    assert cause(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("API Error: 400 messages: Field required", "messages: Field required"),
        (
            'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"m"},"request_id":"r"}',
            "m",
        ),
        ('API Error: 400 {"error": "no object"}', ""),
        ("API Error: 400 {not JSON", ""),
        ("API Error: 400 due to tool use concurrency issues.", "due to tool use concurrency issues."),
        ("API Error: a document could not be read", "a document could not be read"),
        ("Prompt is too long", "Prompt is too long"),
    ],
)
def test_the_apis_words_are_found_in_claude_codes(text: str, words: str) -> None:
    assert api_words(text) == words
