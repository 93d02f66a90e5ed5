"""Claude's errors in OpenAI's words.

OpenAI's: https://platform.openai.com/docs/guides/error-codes and what its SDKs raise for each status (401
AuthenticationError, 429 RateLimitError, …). Claude's: https://docs.anthropic.com/en/api/errors.
The messages are ours, but for the words by which LiteLLM and others know an error. What Claude's side wrote may name
hosts, request ids or keys, and stays in the log.
"""

from dataclasses import dataclass

import msgspec


class OpenAIError(Exception):
    """An error as OpenAI answers it: status, and ``{"error": {message, type, param, code}}``."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """Return the JSON that goes on the wire, in a body or as an event's data."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


@dataclass(frozen=True, slots=True)
class Row:
    """What OpenAI says where Claude says something else."""

    status: int
    type: str
    code: str | None
    message: str


# Claude's error type -> OpenAI's error. The first nine are Anthropic's own words, the rest name what can go wrong
# between us and Claude Code (engine/errors.py).
ERRORS: dict[str, Row] = {
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
        "Claude has no such model, or this account has no access to it. See `understudy config` for the model map.",
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


def openai_error(claude_type: str, *, retry_after_s: int | None = None, prompt: str = "messages") -> OpenAIError:
    """Return what OpenAI would have answered where Claude's side failed with ``claude_type``.

    ``prompt`` is what the dialect calls what Claude was asked.
    """
    row = ERRORS.get(claude_type, ERRORS["api_error"])
    param = {"not_found_error": "model", "context_length_exceeded": prompt}.get(claude_type)
    return OpenAIError(
        row.message, status=row.status, type=row.type, code=row.code, param=param, retry_after_s=retry_after_s
    )
