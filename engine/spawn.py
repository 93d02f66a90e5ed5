"""How a `claude` program is started. It needs nothing of the SDK, which takes half a second to import."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.agents import Agent

API_URL = "https://api.anthropic.com"
"""Where Claude Code sends its requests if no base URL is set."""

VERIFIED_CLI = "2.1.332"
"""The program that the facts were found with and that every test runs: the one in the SDK's wheel."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that a process may reach. Each is a pattern for fnmatch: ``HOST`` or ``HOST:PORT``.

    ``api`` are the hosts that answer turns. ``others`` are further hosts, for example those that renew a login. A host
    that fits both is one of ``others``, unless ``api`` has it without ``*``. Any other host is refused,
    unless ``any_other`` is set.
    """

    api: tuple[str, ...]
    others: tuple[str, ...] = ()
    any_other: bool = False


@dataclass(frozen=True, slots=True)
class Spawn:
    """How to start a process.

    ``bare`` drops Claude Code's reminder blocks (fact F2); a login by OAuth does not work with it (F4). ``env`` is laid
    over what it inherits from this process's environment: the names in :mod:`engine.inherited`, those that fit one of
    the patterns ``inherits``, and none of ``not_inherited``. ``cli_path`` None means the program that the SDK brings.
    ``settings`` is a file with Claude Code's own settings. ``agent`` gives it tools of its own. ``hosts`` None means
    the host of ``ANTHROPIC_BASE_URL`` alone.
    """

    bare: bool = True
    cwd: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    env: Mapping[str, str] = field(default_factory=dict)
    cli_path: Path | None = None
    settings: Path | None = None
    agent: Agent | None = None
    inherits: Sequence[str] = ()
    not_inherited: Collection[str] = ()
    hosts: Hosts | None = None

    @property
    def can_resume(self) -> bool:
        """Whether its configuration folder is ours to put a transcript into."""
        return "CLAUDE_CONFIG_DIR" in self.env
