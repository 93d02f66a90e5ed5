"""The group that holds all commands: in which panel of the help each stands, and what is said of a mistyped line."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from cli.fatal import fatal

PANELS = {
    "Run": ("run", "serve", "env", "demo"),
    "Look": ("show", "diff", "convert"),
    "Test": ("check", "again", "rehearsal"),
    "Operate": ("doctor", "config", "models", "auth", "keys", "ca"),
    "Seldom needed": ("fixture", "retranslate", "reassemble"),
}
"""The panels of the help, in their order, and the commands in each."""

PLACES = {command: panel for panel, commands in PANELS.items() for command in commands}


class Commands(TyperGroup):
    """All commands, in their panels. A line that was mistyped ends with one line on stderr and status 2."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        order = list(PLACES)
        self.commands = dict(
            sorted(self.commands.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))
        )
        for name, command in self.commands.items():
            command.rich_help_panel = PLACES.get(name)  # type: ignore[attr-defined]
        for option in _flags(self):
            option.metavar = ""  # the help would call it a <bool>, as if it took a value

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name; standalone, end the program with its status."""
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            # Where no arguments were given, the help has been printed, and nothing is left to say.
            if error.format_message().strip():
                fatal(self.explain(error))
            sys.exit(error.exit_code)
        except typer.Abort:
            if not standalone_mode:
                raise
            sys.exit(1)
        if not standalone_mode:
            return status
        sys.exit(status if isinstance(status, int) else 0)

    def explain(self, error: Any) -> str:
        """Say in one line what was mistyped, what is like it, and where the help is."""
        told = error.message if hasattr(error, "possibilities") else error.format_message()
        told = f"{told[:1].lower()}{told[1:]}".rstrip(".")
        if hasattr(error, "possibilities"):
            if others := self._with_option(error.option_name):
                told += f". It is an option of {', '.join(f'`understudy {name}`' for name in others)}."
            elif error.possibilities:
                told += f". Did you mean {error.possibilities[0]}?"
        told += "" if told.endswith(("?", ".")) else "."
        context = getattr(error, "ctx", None)
        return f"{told} See `{context.command_path} --help`." if context else told

    def _with_option(self, option: str) -> list[str]:
        """Return the commands that have an option."""
        return [
            name
            for name, command in self.commands.items()
            if any(option in param.opts for param in command.params if option)
        ]


def _flags(command: Any) -> Iterator[Any]:
    """Yield the options of a command, or of a group's commands, that take no value."""
    for one in getattr(command, "commands", {}).values():
        yield from _flags(one)
    yield from (param for param in command.params if getattr(param, "is_bool_flag", False))
