"""Agents: Claude with tools of its own, as the person who runs the proxy allows them, under a name.

By default nothing of Claude Code acts on the machine. An agent is the exception that somebody has written down:

    [agent.review]
    tools = ["Read", "Grep", "Glob"]
    cwd = "/srv/project"

An app asks for the model ``claude-code/review``. Everything here is checked when the proxy starts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

PREFIX = "claude-code/"
"""What the model names of agents begin with."""

# Claude Code's own tools that work without a person at a terminal (https://code.claude.com/docs/en/tools-reference).
TOOLS = frozenset(
    {"Read", "Grep", "Glob", "Bash", "Edit", "Write", "NotebookEdit", "WebFetch", "WebSearch", "TodoWrite", "Task"}
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RULE = re.compile(r"(?P<tool>[A-Za-z]+|mcp__[\w.-]+)(?:\((?P<what>[^()]*)\))?")

type PermissionMode = Literal["dontAsk", "acceptEdits", "plan"]


class AgentError(Exception):
    """An agent cannot be what it is said to be. The message names it and why."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent.

    ``tools`` are the tools that it knows; ``allow`` are Claude Code's permission rules for what it may do with them
    beyond reading in ``cwd``. ``sandbox`` runs its commands in Claude Code's sandbox. ``mcp_config`` is a file with MCP
    servers. ``max_turns`` is how often it may ask the API for one answer. ``show``: whether the app sees what it does.
    """

    name: str
    cwd: Path
    tools: tuple[str, ...]
    allow: tuple[str, ...] = ()
    permission_mode: PermissionMode = "dontAsk"
    sandbox: bool = True
    mcp_config: Path | None = None
    model: str = "sonnet"
    max_turns: int = 50
    show: bool = True

    @property
    def model_name(self) -> str:
        """What an app asks for."""
        return PREFIX + self.name


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    cwd: str
    tools: list[str] = []
    allow: list[str] = []
    permission_mode: str = "dontAsk"
    sandbox: bool = True
    mcp_config: str | None = None
    model: str = "sonnet"
    max_turns: int = 50
    show: bool = True


def read_agents(tables: Mapping[str, Any]) -> dict[str, Agent]:
    """Read ``[agent.NAME]`` tables. Raises AgentError for what is unknown, unsafe, or not there."""
    return {name: _read(name, table) for name, table in tables.items()}


def _read(name: str, table: Any) -> Agent:
    def wrong(reason: str) -> AgentError:
        return AgentError(f"agent {name}: {reason}")

    if not _NAME.fullmatch(name):
        raise wrong("a name has letters, digits, dots, dashes and underscores")
    try:
        written = msgspec.convert(table, _Written)
    except msgspec.ValidationError as error:
        raise wrong(str(error)) from None
    if written.permission_mode == "bypassPermissions":
        raise wrong("bypassPermissions would let any app do anything on this machine; write down what it may: allow")
    if written.permission_mode not in ("dontAsk", "acceptEdits", "plan"):
        raise wrong(f"permission_mode {written.permission_mode!r} is none of dontAsk, acceptEdits, plan")
    if unknown := [tool for tool in written.tools if tool not in TOOLS]:
        raise wrong(f"there is no tool {unknown[0]!r}; there are {', '.join(sorted(TOOLS))}")
    if written.max_turns < 1:
        raise wrong("max_turns is at least 1")
    cwd = Path(written.cwd).expanduser()
    if not cwd.is_absolute():
        raise wrong(f"cwd {written.cwd} must be an absolute path")
    if not cwd.is_dir():
        raise wrong(f"cwd {written.cwd} is no folder")
    cwd = cwd.resolve()
    if cwd == Path(cwd.anchor) or cwd == Path.home().resolve():
        raise wrong(f"cwd {written.cwd} is a whole home or disk; name the folder that it is about")
    for rule in written.allow:
        _check_rule(rule, written.tools, cwd, wrong)
    mcp = Path(written.mcp_config).expanduser() if written.mcp_config is not None else None
    if mcp is not None and not mcp.is_file():
        raise wrong(f"mcp_config {written.mcp_config} is no file")
    if "Bash" in written.tools and not written.sandbox and "Bash" not in "".join(written.allow):
        raise wrong("Bash without its sandbox needs rules in allow for what it may run, as `Bash(git log:*)`")
    return Agent(
        name=name,
        cwd=cwd,
        tools=tuple(written.tools),
        allow=tuple(written.allow),
        permission_mode=written.permission_mode,  # type: ignore[arg-type]
        sandbox=written.sandbox,
        mcp_config=mcp,
        model=written.model,
        max_turns=written.max_turns,
        show=written.show,
    )


def _check_rule(rule: str, tools: list[str], cwd: Path, wrong: Any) -> None:
    match = _RULE.fullmatch(rule)
    if match is None:
        raise wrong(f"allow {rule!r} is no rule such as Edit(src/**) or Bash(git log:*)")
    tool, what = match["tool"], match["what"]
    if not tool.startswith("mcp__") and tool not in tools:
        raise wrong(f"allow {rule!r} is about a tool that is not in tools")
    if tool in ("Read", "Grep", "Glob", "Edit", "Write", "NotebookEdit"):
        if what is None:
            raise wrong(f"allow {rule!r} reaches the whole disk; name what it may reach, as {tool}(src/**)")
        # Claude Code's own spelling: //path is absolute, ~/ the home, anything else is within the folder.
        place = what[1:] if what.startswith("//") else what
        outside = place.startswith("~") or ".." in Path(place).parts
        if what.startswith("//"):
            outside = outside or not Path(place.split("*")[0]).resolve().is_relative_to(cwd)
        if outside:
            raise wrong(f"allow {rule!r} reaches outside {cwd}")
