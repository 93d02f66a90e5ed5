"""The failures of Claude's side.

Claude Code reports most failures as messages (:mod:`engine.reports`) and some as exceptions (fact F57). Both become a
ClaudeError. Its ``kind`` is Anthropic's error type (https://docs.anthropic.com/en/api/errors), or a kind of our own if
the API has no such error. :data:`translate.errors.Kind` lists all kinds.
"""

from translate.errors import Kind

KIND_BY_STATUS: dict[int, Kind] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# The `error` of an AssistantMessage or of an `api_retry` message -> kind, if there is no status.
KIND_BY_WORD: dict[str, Kind] = {
    "authentication_failed": "authentication_error",
    "cloud_credential_error": "authentication_error",
    "billing_error": "billing_error",
    "invalid_request": "invalid_request_error",
    "model_not_found": "not_found_error",
    "rate_limit": "rate_limit_error",
    "server_error": "connection_error",
    "overloaded": "overloaded_error",
}


NO_CREDENTIALS = (
    "no Claude credentials were found: requests will get 401. Run `understudy auth login` or set ANTHROPIC_API_KEY."
    " Without an account: --rehearsal"
)
"""The log line without a login. Claude Code's own text names a command (/login) that does not exist here."""


class ClaudeError(Exception):
    """A turn failed.

    ``detail`` is the text of Claude Code or the API. It is only for the log, because it may name hosts and request ids.
    ``reason`` is the part of it that an app may read, None if there is none. ``request_id`` is the API's id of the
    request.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        detail: str = "",
        retry_after_s: int | None = None,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind: Kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.reason = reason
        self.request_id = request_id

    def describe(self) -> str:
        """Return the failure as one line for the log."""
        asked = f" (request {self.request_id} at Anthropic)" if self.request_id else ""
        return f"{self.kind}: {self.detail}{asked}" if self.detail else f"{self.kind}{asked}"


def kind_of(status: int | None, word: str | None = None, terminal_reason: str | None = None) -> Kind:
    """Return the kind of a failure that Claude Code reported.

    ``status`` is the API's HTTP status, None if the API did not answer. ``word`` is Claude Code's name for the failure.
    ``terminal_reason`` is the field of the result.
    """
    if terminal_reason == "prompt_too_long":
        return "context_length_exceeded"
    if word == "billing_error":
        return "billing_error"
    if status in KIND_BY_STATUS:
        return KIND_BY_STATUS[status]
    if status is not None:
        return "invalid_request_error" if 400 <= status < 500 else "api_error"
    return KIND_BY_WORD.get(word or "", "connection_error")
