"""Where Claude Code's credentials come from, and how a process must be started for each.

The variables reach the CLI as they are; here it is only decided which of them it will use, because that changes the
recipe: ``--bare`` drops Claude Code's reminder blocks but does not work with a login by OAuth (facts F2–F4), and a
login that `claude` itself keeps lives in the person's own configuration folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """One place credentials come from.

    ``bare``: the CLI takes ``--bare``. ``own_config_dir``: the CLI keeps its state in a folder of ours, not the
    person's ``~/.claude``.
    """

    kind: str
    variable: str | None
    bare: bool
    own_config_dir: bool


# In the CLI's own order of preference: a cloud provider, then an API key over a token (fact F4).
SOURCES: tuple[Source, ...] = (
    Source("Amazon Bedrock", "CLAUDE_CODE_USE_BEDROCK", bare=True, own_config_dir=True),
    Source("Google Vertex AI", "CLAUDE_CODE_USE_VERTEX", bare=True, own_config_dir=True),
    Source("Microsoft Foundry", "CLAUDE_CODE_USE_FOUNDRY", bare=True, own_config_dir=True),
    Source("API key", "ANTHROPIC_API_KEY", bare=True, own_config_dir=True),
    Source("bearer token", "ANTHROPIC_AUTH_TOKEN", bare=True, own_config_dir=True),
    Source("OAuth token", "CLAUDE_CODE_OAUTH_TOKEN", bare=False, own_config_dir=True),
)

LOGIN = Source("claude login", None, bare=False, own_config_dir=False)
"""What is left when no variable is set: a login that `claude` itself keeps, if there is one."""

REHEARSAL = Source("rehearsal", "ANTHROPIC_API_KEY", bare=True, own_config_dir=True)


def find_source(environ: Mapping[str, str]) -> Source:
    """Return where the CLI will take its credentials from."""
    return next((source for source in SOURCES if source.variable and _is_set(environ, source.variable)), LOGIN)


def _is_set(environ: Mapping[str, str], variable: str) -> bool:
    return environ.get(variable, "").lower() not in ("", "0", "false")
