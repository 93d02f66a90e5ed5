"""What can go wrong on Claude's side, in Claude's words.

Claude Code reports most failures as values (:mod:`engine.reports`), some as exceptions (fact F57). Both become one
ClaudeError. Its ``kind`` is Anthropic's error type (https://docs.anthropic.com/en/api/errors), or one of ours where no
API error exists; :data:`translate.errors.Kind` has them all.
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

# The `error` of an AssistantMessage or of an `api_retry` message, where no status came with it.
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
"""What the log says where nobody is logged in. Claude Code's own words name a command (/login) that is not there."""


class ClaudeError(Exception):
    """A turn failed.

    ``detail`` is Claude's side's own text, for the log only: it may name hosts and request ids. ``reason`` is that part
    of it which an app may read, None for nothing. ``request_id`` is the API's own name for the request.
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
        """Return it as one line for the log."""
        asked = f" (request {self.request_id} at Anthropic)" if self.request_id else ""
        return f"{self.kind}: {self.detail}{asked}" if self.detail else f"{self.kind}{asked}"


def kind_of(status: int | None, word: str | None = None, terminal_reason: str | None = None) -> Kind:
    """Name the failure that Claude Code reported.

    ``status`` is the API's HTTP status, None if there was no answer; ``word`` is Claude Code's own class for it;
    ``terminal_reason`` the result's.
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
