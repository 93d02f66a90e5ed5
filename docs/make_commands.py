"""Writes docs/commands.md from the commands themselves: `uv run python docs/make_commands.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from cli.app import app
from cli.group import PANELS

PAGE = Path(__file__).with_name("commands.md")

HEAD = """\
# Commands

Made from the commands by `docs/make_commands.py`; a test keeps the two alike. `understudy -h` and
`understudy COMMAND -h` show the same. Most options are settings too, which can stand in the environment or in a file:
see [settings](settings.md).

- **Options and programs.** `run` and `doctor` start a program. The program begins at the first word that is no option,
  or behind `--`. All that follows is its own. What stands before it is Understudy's, and an unknown option there is
  refused.
- **Mistakes.** A mistyped line or a wrong setting ends with one line on stderr and status 2. The line names the option,
  command or setting that is most like what was typed.
- **Options for a replay** (`--on-miss`, `--speed`, `--faults`) are refused without a replay. As settings they may stand
  in the file for when there is one.
- **The log** goes to stderr. On a terminal a line has the time of day, and only the terminal folds it, so that an
  address can be copied whole. Elsewhere, and in the file that `--log-file` names, a line has the local time with its
  offset from UTC (ISO 8601), the level and the message: `2026-11-30T21:28:11.042+01:00 INFO …`. Nothing folds it.
  Set `TZ=UTC` for UTC.
- **The log file** is added to. When it is moved away, as logrotate does, a new one is begun. `run` shows only warnings
  on the terminal unless `--log-level` is given; the file has everything from the level on. Secrets are masked in both,
  and mitmweb's address, whose token lets in, is printed once on stderr and is not written to the file.
- **Completion.** `understudy --install-completion` makes your shell complete commands, options and their values.
- **Versions.** `understudy --version` shows the versions of Understudy, Claude Code, its SDK, mitmproxy and Python,
  with `--json` as JSON.
- **Undoing `env`.** `eval "$(understudy env --unset)"` gives each variable back the value that it had before
  `eval "$(understudy env)"`. In fish: `understudy env --shell fish --unset | source`. In PowerShell:
  `understudy env --shell powershell --unset | Out-String | Invoke-Expression`.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"{line}\n" for line in lines())


def lines() -> Iterator[str]:
    """Yield the commands, by their panels."""
    group: Any = get_command(app)
    for panel, names in PANELS.items():
        yield f"\n## {panel}"
        for name in names:
            yield from described(f"understudy {name}", group.load(name))


def described(path: str, command: Any) -> Iterator[str]:
    """Yield what a command is, its arguments and options; of a group its commands."""
    if commands := getattr(command, "commands", {}):
        for name, one in commands.items():
            yield from described(f"{path} {name}", one)
        return
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = ["[OPTIONS]"] if len(arguments) < len(command.params) else []
    usage = [path, *options, *(argument(param) for param in arguments)]
    yield f"\n### {path}\n\n`{' '.join(usage)}`\n\n{' '.join(command.help.split())}"
    if command.params:
        yield "\n| | |\n|---|---|"
    for param in command.params:
        yield f"| {cell(param)} | {' '.join((param.help or '').split()).replace('|', chr(92) + '|')}{default(param)} |"


def argument(param: Any) -> str:
    """Return an argument as the usage has it."""
    name = (param.metavar or param.name.upper()) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def cell(param: Any) -> str:
    """Return an argument's or an option's name, and what it takes."""
    if param.param_type_name == "argument":
        return f"`{argument(param)}`".replace("|", "\\|")
    takes = "" if param.is_bool_flag else f" {param.metavar or param.name.upper()}"
    return f"`{', '.join(param.opts)}{takes}`"


def default(param: Any) -> str:
    """Return what holds where an option is not given, if that is not nothing."""
    return f" Default: `{param.default}`." if param.default not in (None, False, (), []) else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
