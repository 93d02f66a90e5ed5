"""What an app is told when Claude's side fails."""

from engine import ClaudeError
from translate.errors import OpenAIError, openai_error


def as_openai(error: ClaudeError, prompt: str = "messages") -> OpenAIError:
    """Return the error that OpenAI would have answered. ``prompt`` is what the dialect calls what Claude was asked."""
    return openai_error(error.kind, retry_after_s=error.retry_after_s, prompt=prompt, reason=error.reason)
