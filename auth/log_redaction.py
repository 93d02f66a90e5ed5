"""Secrets stay out of the log, and so does what would steer the terminal that it is shown on."""

import logging
import re
from collections.abc import Iterable, Mapping

from cassettes.redact.finder import look_through
from translate.printable import safe

# Variables that hold secrets, by what such variables are called.
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?|AUTH|HEADERS)(_|$)", re.IGNORECASE)
OF_PROVIDERS = re.compile(r"^(ANTHROPIC|CLAUDE|OPENAI|AWS|AZURE|GOOGLE|GCP|VERTEX|FOUNDRY|GITHUB|HF)_", re.IGNORECASE)

# Secrets by their own shape, wherever they turn up.
SHAPES = re.compile(r"\b(?:sk-[\w-]{8,}|Bearer\s+[\w.~+/=-]{8,})", re.IGNORECASE)

MAX_LOGGED = 32 * 1024
"""A longer line is cut: it would take long to look through, and nobody reads it."""

# Shorter values are words like "1" or "true", and masking them would make the log unreadable.
MIN_LENGTH = 8


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Return the values of the variables that hold secrets, the longest first."""
    found = {
        value
        for name, value in environ.items()
        if len(value) >= MIN_LENGTH and OF_PROVIDERS.match(name) and SECRET_NAME.search(name)
    }
    return sorted(found, key=len, reverse=True)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace secrets by ``…`` and, for long ones, their last four characters. A text that is too long is cut."""
    if len(text) > MAX_LOGGED:
        # At the end of a word, since a piece of a secret would not be known for one.
        text = f"{text[:MAX_LOGGED].rpartition(' ')[0]} … ({len(text)} characters)"
    for secret in secrets:
        text = text.replace(secret, mask(secret))
    text = SHAPES.sub(lambda match: mask(match.group()), text)
    done, at = list[str](), 0
    for start, end, _ in sorted(look_through(text, 0, final=True).found):
        if start >= at:
            done += [text[at:start], mask(text[start:end])]
        at = max(at, end)
    return "".join([*done, text[at:]])


def mask(secret: str) -> str:
    """Return what may be shown of a secret."""
    return f"…{secret[-4:]}" if len(secret) >= 16 else "…"


class RedactSecrets(logging.Filter):
    """A filter for handlers: no record passes with a secret in it, be it in the message, an argument or a traceback.

    What a stranger may have written into it (a path, a method, a name) is escaped.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self._secrets = secrets_in(environ)
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and let it pass."""
        record.msg, record.args = safe(redact(record.getMessage(), self._secrets)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = safe(redact(record.exc_text, self._secrets))
        return True
