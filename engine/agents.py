"""Agents: named configurations of Claude with Claude Code's own tools. The operator of the proxy defines them.

Without agents, Claude Code uses no tools on this machine. An agent is an exception that the operator has configured:

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
"""The prefix of the model names of agents."""

# Claude Code's own tools that work without a person at a terminal (https://code.claude.com/docs/en/tools-reference).
TOOLS = frozenset(
    {"Read", "Grep", "Glob", "Bash", "Edit", "Write", "NotebookEdit", "WebFetch", "WebSearch", "TodoWrite", "Task"}
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RULE = re.compile(r"(?P<tool>[A-Za-z]+|mcp__[\w.-]+)(?:\((?P<what>[^()]*)\))?")

type PermissionMode = Literal["dontAsk", "acceptEdits", "plan"]
PERMISSION_MODES: tuple[PermissionMode, ...] = ("dontAsk", "acceptEdits", "plan")


class AgentError(Exception):
    """The configuration of an agent is wrong. The message names the agent and the reason."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent.

    ``tools`` are its tools. ``allow`` are Claude Code's permission rules: what the tools may do beyond reading in
    ``cwd``. ``sandbox`` runs its commands in Claude Code's sandbox. ``mcp_config`` is a file that configures MCP
    servers. ``max_turns`` is how many requests it may make to the API for one answer. ``show`` says whether the app
    sees which tools it uses.
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
        """The model name that an app asks for."""
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
    """Read ``[agent.NAME]`` tables. Raises AgentError for values that are unknown or unsafe, and for missing files."""
    return {name: _read(name, table) for name, table in tables.items()}


def _read(name: str, table: Any) -> Agent:
    def wrong(reason: str) -> AgentError:
        return AgentError(f"agent {name}: {reason}")

    if not _NAME.fullmatch(name):
        raise wrong("a name may only have letters, digits, dots, dashes and underscores")
    try:
        written = msgspec.convert(table, _Written)
    except msgspec.ValidationError as error:
        raise wrong(str(error)) from None
    if written.permission_mode == "bypassPermissions":
        raise wrong(
            "bypassPermissions would let any app do anything on this machine; list what the agent may do in allow"
        )
    mode = next((mode for mode in PERMISSION_MODES if mode == written.permission_mode), None)
    if mode is None:
        raise wrong(f"permission_mode {written.permission_mode!r} must be one of {', '.join(PERMISSION_MODES)}")
    if unknown := [tool for tool in written.tools if tool not in TOOLS]:
        raise wrong(f"unknown tool {unknown[0]!r}; the tools are {', '.join(sorted(TOOLS))}")
    if written.max_turns < 1:
        raise wrong("max_turns must be at least 1")
    cwd = Path(written.cwd).expanduser()
    if not cwd.is_absolute():
        raise wrong(f"cwd {written.cwd} must be an absolute path")
    if not cwd.is_dir():
        raise wrong(f"cwd {written.cwd} is not a folder")
    cwd = cwd.resolve()
    if cwd == Path(cwd.anchor) or cwd == Path.home().resolve():
        raise wrong(f"cwd {written.cwd} is a whole home folder or disk; choose a folder inside it")
    for rule in written.allow:
        _check_rule(rule, written.tools, cwd, wrong)
    mcp = Path(written.mcp_config).expanduser() if written.mcp_config is not None else None
    if mcp is not None and not mcp.is_file():
        raise wrong(f"mcp_config {written.mcp_config} is not a file")
    if "Bash" in written.tools and not written.sandbox and "Bash" not in "".join(written.allow):
        raise wrong("Bash without its sandbox needs rules in allow, such as `Bash(git log:*)`")
    return Agent(
        name=name,
        cwd=cwd,
        tools=tuple(written.tools),
        allow=tuple(written.allow),
        permission_mode=mode,
        sandbox=written.sandbox,
        mcp_config=mcp,
        model=written.model,
        max_turns=written.max_turns,
        show=written.show,
    )


def _check_rule(rule: str, tools: list[str], cwd: Path, wrong: Any) -> None:
    match = _RULE.fullmatch(rule)
    if match is None:
        raise wrong(f"allow {rule!r} must be a rule such as Edit(src/**) or Bash(git log:*)")
    tool, what = match["tool"], match["what"]
    if not tool.startswith("mcp__") and tool not in tools:
        raise wrong(f"allow {rule!r} names a tool that is not in tools")
    if tool in ("Read", "Grep", "Glob", "Edit", "Write", "NotebookEdit"):
        if what is None:
            raise wrong(f"allow {rule!r} allows the whole disk; limit it, for example to {tool}(src/**)")
        # In Claude Code's rules, //path is absolute, ~/ is the home folder, and anything else is inside the working
        # folder.
        place = what[1:] if what.startswith("//") else what
        outside = place.startswith("~") or ".." in Path(place).parts
        if what.startswith("//"):
            outside = outside or not Path(place.split("*")[0]).resolve().is_relative_to(cwd)
        if outside:
            raise wrong(f"allow {rule!r} allows files outside {cwd}")
