"""Claude's errors -> OpenAI's errors.

Sources: https://platform.openai.com/docs/guides/error-codes, the exceptions of OpenAI's SDKs for each status (401
AuthenticationError, 429 RateLimitError, …), and https://docs.anthropic.com/en/api/errors. The messages are our own.
Some have words by which LiteLLM and other libraries recognise an error. The text of Claude's side may name hosts,
request ids or keys. So it goes only to the log, except for the reasons that :mod:`translate.reasons` allows.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

type Kind = Literal[
    # Anthropic's error types.
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
    "timeout_error",
    # Our own kinds, for failures that are not errors of Anthropic's API.
    "context_length_exceeded",
    "not_logged_in",
    "timeout",
    "first_token_timeout",
    "idle_timeout",
    "connection_error",
    "stream_error",
    "cli_not_found",
    "cli_failed",
    "busy",
    "queue_full",
    "draining",
]
"""Every kind of failure of a turn. Each has its row in :data:`ERRORS`."""


type ErrorType = Literal["invalid_request_error", "server_error", "requests", "tokens", "insufficient_quota"]
"""OpenAI's values of ``error.type`` that are used here."""


class OpenAIError(Exception):
    """An error in OpenAI's form: a status, and ``{"error": {message, type, param, code}}``."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: ErrorType = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type: ErrorType = type
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """Return the error as JSON, for a body or for the data of an event."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


@dataclass(frozen=True, slots=True)
class Row:
    """OpenAI's error for a kind of failure."""

    status: int
    type: ErrorType
    code: str | None
    message: str


ERRORS: dict[Kind, Row] = {
    "invalid_request_error": Row(
        400, "invalid_request_error", None, "Claude's API found this request invalid. The proxy's log has its words."
    ),
    "authentication_error": Row(
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided to Claude: it did not accept the credentials that Understudy runs with, which are"
        " not yours. On the proxy's machine, set ANTHROPIC_API_KEY or run `claude setup-token` and set"
        " CLAUDE_CODE_OAUTH_TOKEN.",
    ),
    # Its code is not invalid_api_key, because an app would then ask its user for another key.
    "not_logged_in": Row(
        401,
        "invalid_request_error",
        "claude_not_logged_in",
        "There are no Claude credentials on the proxy's machine. Log in there with `understudy auth login`, or set"
        " ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN and start Understudy again. Without an account, start it with"
        " --rehearsal. This is not about your own API key.",
    ),
    "billing_error": Row(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "The Claude account that Understudy runs with has no credit left, or its billing needs attention.",
    ),
    "permission_error": Row(
        403,
        "invalid_request_error",
        "permission_denied",
        "The Claude account that Understudy runs with may not do this.",
    ),
    "not_found_error": Row(
        404,
        "invalid_request_error",
        "model_not_found",
        "Claude has no such model, or this account has no access to it. `understudy models` shows which model answers"
        " for which name.",
    ),
    "request_too_large": Row(
        413, "invalid_request_error", "request_too_large", "The request is larger than Claude's API accepts."
    ),
    "rate_limit_error": Row(
        429, "requests", "rate_limit_exceeded", "Claude's rate limit for this account is reached. Try again later."
    ),
    "api_error": Row(500, "server_error", None, "Claude's API failed. Try again."),
    # 529 is Anthropic's own status. OpenAI says 503, and its SDKs retry any 5xx.
    "overloaded_error": Row(503, "server_error", "overloaded", "Claude's API is overloaded. Try again later."),
    "context_length_exceeded": Row(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is exceeded. Please reduce the length of the messages.",
    ),
    "timeout_error": Row(504, "server_error", "timeout", "Claude did not answer in time."),
    # For a run of an agent, which makes many requests to Claude.
    "timeout": Row(504, "server_error", "timeout", "The answer took longer than it may (timeout_s)."),
    "first_token_timeout": Row(
        504, "server_error", "timeout", "Claude did not begin to answer in time (first_token_timeout_s)."
    ),
    "idle_timeout": Row(
        504, "server_error", "timeout", "Claude fell silent in the midst of its answer (idle_timeout_s)."
    ),
    "connection_error": Row(502, "server_error", "upstream_unreachable", "Claude's API could not be reached."),
    "stream_error": Row(502, "server_error", "upstream_stream_broken", "Claude's answer broke off midway."),
    "cli_not_found": Row(
        500,
        "server_error",
        "claude_code_not_found",
        "Claude Code's program was not found. Reinstall Understudy, or set `cli_path`.",
    ),
    "cli_failed": Row(500, "server_error", "claude_code_failed", "The Claude Code process failed. Try again."),
    "busy": Row(
        503, "server_error", "overloaded", "Understudy has as many turns running as it may. Try again in a moment."
    ),
    "queue_full": Row(
        429, "requests", "rate_limit_exceeded", "Understudy has as many requests waiting as it may. Try again later."
    ),
    "draining": Row(503, "server_error", "shutting_down", "Understudy is being ended. Try again in a moment."),
}


# The message before Claude's own reason, for rows whose message says that the reason is elsewhere.
WITH_REASON: dict[Kind, str] = {
    "invalid_request_error": "Claude's API found this request invalid",
    "not_found_error": "Claude has no such model, or this account has no access to it; see `understudy models`",
}


def openai_error(
    kind: Kind, *, retry_after_s: int | None = None, prompt: str = "messages", reason: str | None = None
) -> OpenAIError:
    """Return OpenAI's error for a kind of failure.

    ``prompt`` is the name of the dialect's field with the prompt. ``reason`` is the reason that Claude's API gave, if
    an app may read it (:func:`translate.reasons.reason`).
    """
    row = ERRORS[kind]
    param = {"not_found_error": "model", "context_length_exceeded": prompt}.get(kind)
    message = f"{WITH_REASON.get(kind, row.message.removesuffix('.'))}: {reason}" if reason else row.message
    return OpenAIError(
        message, status=row.status, type=row.type, code=row.code, param=param, retry_after_s=retry_after_s
    )
