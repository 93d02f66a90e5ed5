"""Secrets stay out of the log."""

import io
import logging

import pytest

from auth.log_redaction import RedactSecrets, mask, redact, secrets_in

SECRET = "a-very-secret-value-1234"
ENVIRON = {
    "ANTHROPIC_AUTH_TOKEN": SECRET,
    "AWS_SECRET_ACCESS_KEY": "aws/secret+value",
    "CLAUDE_CODE_USE_BEDROCK": "a-setting-no-secret",
    "OPENAI_API_KEY": "short",
}


def test_secrets_are_known_by_the_names_of_their_variables() -> None:
    assert secrets_in(ENVIRON) == [SECRET, "aws/secret+value"]


@pytest.mark.parametrize(
    "text",
    [
        f"token={SECRET}",
        "x-api-key: sk-ant-api03-abcdefghijklmnop",
        "Authorization: Bearer abc.def-ghi_jklmnop",
        "aws/secret+value",
    ],
)
def test_a_secret_is_replaced_wherever_it_stands(text: str) -> None:
    result = redact(text, secrets_in(ENVIRON))

    assert "…" in result
    for piece in (SECRET, "abcdefghijkl", "def-ghi", "aws/secret"):
        assert piece not in result


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:hidden1234567@db/x is down",
        "the token glpat-hidden1234567hidden12 has expired",
        "SMTP_PASSWORD=hidden1234567",
    ],
)
def test_a_secret_that_nobody_named_is_known_by_its_looks(text: str) -> None:
    assert "hidden123" not in redact(text)


def test_a_line_that_is_too_long_is_cut_at_a_word_and_looked_through() -> None:
    line = "word " * 10_000 + "the end"

    assert len(redact(line)) < 33_000
    assert redact(line).endswith("word … (50007 characters)")


def test_the_mask_shows_the_last_four_characters_of_a_long_secret() -> None:
    assert mask(SECRET) == "…1234"
    assert mask("short") == "…"


def test_no_record_passes_with_a_secret_in_it() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactSecrets(ENVIRON))
    log = logging.Logger("test")
    log.addHandler(handler)

    log.warning("in the message: %s", {"key": SECRET})
    try:
        int(SECRET)
    except ValueError:
        log.exception("in the traceback")

    written = stream.getvalue()
    assert "in the traceback" in written
    assert "ValueError" in written
    assert SECRET not in written


def test_control_characters_are_escaped_in_messages_and_tracebacks() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactSecrets({}))
    log = logging.Logger("test")
    log.addHandler(handler)

    log.warning("GET %s", "/\x1b[2J\u202e")
    try:
        exec("\x1b")
    except SyntaxError:
        log.exception("failed")

    assert "GET /\\x1b[2J\\u202e" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
