"""Removes secrets from log records, and escapes characters that could control the terminal."""

import logging
import re
from collections.abc import Iterable, Mapping

from cassettes.redact.finder import look_through
from translate.printable import safe

# The names of variables that hold secrets.
SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?|AUTH|HEADERS)(_|$)", re.IGNORECASE)
OF_PROVIDERS = re.compile(r"^(ANTHROPIC|CLAUDE|OPENAI|AWS|AZURE|GOOGLE|GCP|VERTEX|FOUNDRY|GITHUB|HF)_", re.IGNORECASE)

# Secrets that are recognized by their form, anywhere in a text.
SHAPES = re.compile(r"\b(?:sk-[\w-]{8,}|Bearer\s+[\w.~+/=-]{8,})", re.IGNORECASE)

MAX_LOGGED = 32 * 1024
"""Longer texts are cut, in characters: searching them for secrets would take long, and nobody reads them."""

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
    """Replace each secret by ``…``, followed by its last four characters if it is long. Cut a text that is too long."""
    if len(text) > MAX_LOGGED:
        # Cut at the end of a word, because a part of a secret would not be recognized.
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
    """Return the part of a secret that may be shown: the last four characters if it has at least 16."""
    return f"…{secret[-4:]}" if len(secret) >= 16 else "…"


class RedactSecrets(logging.Filter):
    """A filter for handlers. It redacts secrets in a record's message, arguments and traceback.

    It also escapes control characters, because a client may have chosen parts of the text (a path, a method, a name).
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__()
        self._secrets = secrets_in(environ)
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place. Always return True."""
        record.msg, record.args = safe(redact(record.getMessage(), self._secrets)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = safe(redact(record.exc_text, self._secrets))
        return True
