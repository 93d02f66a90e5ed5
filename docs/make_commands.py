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

`docs/make_commands.py` writes this page from the help of the commands. `understudy -h` and `understudy COMMAND -h` show
the same. Most options are also [settings](settings.md): you can set them with a variable or in a file.

- **Options and programs.** `run` and `doctor` start a program. Its command line begins at the first word that is not an
  option, or after `--`. Options before it belong to Understudy. Options after it belong to the program.
- **Mistakes.** A mistyped command line or a wrong setting gets one line on stderr and exit status 2. The line suggests
  the most similar option, command or setting.
- **Options for a replay** (`--on-miss`, `--speed`, `--faults`) need `--replay`. In the settings file they can stand
  without it; they then have no effect until there is a replay.
- **The log** goes to stderr. On a terminal, a line begins with the time of day. In a pipe and in the file of
  `--log-file`, it begins with the local date and time with the offset from UTC (ISO 8601):
  `2026-11-30T21:28:11.042+01:00 INFO …`. Set `TZ=UTC` for UTC. Understudy never wraps a line; only the terminal does.
- **The log file.** New lines are appended. If the file is moved away, as logrotate does, a new one is begun. Without
  `--log-level`, `run` shows only warnings on the terminal. The file gets all lines of the log level (by default `info`)
  or higher. Secrets are masked in both. mitmweb's address contains a token that gives access. It is printed once on
  stderr, and not written to the file.
- **Completion.** `understudy --install-completion` makes your shell complete commands, options and their values.
- **Versions.** `understudy --version` shows the versions of Understudy, Claude Code, its SDK, mitmproxy and Python.
  With `--json` it prints JSON.
- **Undoing `env`.** `eval "$(understudy env --unset)"` gives each variable the value that it had before
  `eval "$(understudy env)"`. In fish: `understudy env --shell fish --unset | source`. In PowerShell:
  `understudy env --shell powershell --unset | Out-String | Invoke-Expression`.
"""


def page() -> str:
    """Return the page."""
    return HEAD + "".join(f"{line}\n" for line in lines())


def lines() -> Iterator[str]:
    """Yield the lines of all commands, panel by panel."""
    group: Any = get_command(app)
    for panel, names in PANELS.items():
        yield f"\n## {panel}"
        for name in names:
            yield from described(f"understudy {name}", group.load(name))


def described(path: str, command: Any) -> Iterator[str]:
    """Yield a command's usage, help, arguments and options. For a group, yield those of its commands."""
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
    """Return an argument as the usage line shows it."""
    name = (param.metavar or param.name.upper()) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def cell(param: Any) -> str:
    """Return the name of an argument or option, and its value's name."""
    if param.param_type_name == "argument":
        return f"`{argument(param)}`".replace("|", "\\|")
    takes = "" if param.is_bool_flag else f" {param.metavar or param.name.upper()}"
    return f"`{', '.join(param.opts)}{takes}`"


def default(param: Any) -> str:
    """Return the text about an option's default, or "" if it has none."""
    return f" Default: `{param.default}`." if param.default not in (None, False, (), []) else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
