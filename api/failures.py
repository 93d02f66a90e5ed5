"""The errors that an app gets when something fails, in OpenAI's format."""

import logging

from api.answer_headers import JSON, common_headers
from engine import ClaudeError
from storage.database import StoreError
from translate.errors import ErrorType, OpenAIError, openai_error

log = logging.getLogger(__name__)

UNREADABLE = "What is stored cannot be read at the moment."

CODES = {413: "request_too_large", 408: "timeout"}


def as_openai(error: ClaudeError, prompt: str = "messages") -> OpenAIError:
    """Return the error that OpenAI would have answered. ``prompt`` is what the dialect calls what Claude was asked."""
    return openai_error(error.kind, retry_after_s=error.retry_after_s, prompt=prompt, reason=error.reason)


def unreadable(failure: StoreError) -> OpenAIError:
    """Return the error (503) for a store that cannot be read."""
    log.warning("the store cannot be used: %s", failure)
    return OpenAIError(UNREADABLE, status=503, type="server_error", code="unavailable")


def error_headers(error: OpenAIError) -> list[tuple[str, str]]:
    """Return the headers of an error's answer; its body is ``error.body()``."""
    headers = [JSON, *common_headers()]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    return headers


def render_error(status: int, message: str) -> tuple[list[tuple[str, str]], bytes]:
    """Render what the server itself must refuse, in OpenAI's shape."""
    kind: ErrorType = "server_error" if status >= 500 else "invalid_request_error"
    error = OpenAIError(message, status=status, type=kind, code=CODES.get(status))
    return error_headers(error), error.body()
