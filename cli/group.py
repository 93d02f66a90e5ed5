"""The group that holds all commands: in which panel of the help each stands, and what is said of a mistyped line."""

import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from cli.fatal import fatal

PANELS = {
    "Run": ("run", "serve", "env", "demo"),
    "Look": ("show", "diff", "convert"),
    "Test": ("check", "again", "rehearsal"),
    "Operate": ("doctor", "config", "models", "auth", "keys", "ca", "addon-path"),
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
        _hide_types(self, self.context_settings.get("help_option_names", ["--help"]))
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
        if context and (named := re.match(r"no such command '(\w+)'", told)):
            option = f"--{named[1]}"
            if any(option in param.opts for param in context.command.get_params(context)):
                told = f"{named[0]}. Did you mean {option}?"
        return f"{told} See `{context.command_path} --help`." if context else told

    def _with_option(self, option: str) -> list[str]:
        """Return the commands that have an option."""
        return [
            name
            for name, command in self.commands.items()
            if any(option in param.opts for param in command.params if option)
        ]


def _hide_types(command: Any, help_option_names: Sequence[str]) -> None:
    """Hide the Python types that the help of a command, and of a group's commands, would show: `<bool>`, `<str>`."""
    for one in getattr(command, "commands", {}).values():
        _hide_types(one, help_option_names)
    for param in command.get_params(typer.Context(command, help_option_names=list(help_option_names))):
        if param.param_type_name == "argument":
            param.display_type_rich = _no_type
        elif param.is_flag:
            param.metavar = ""


def _no_type(ctx: typer.Context) -> None:
    """Show no type: an argument's name says what it takes."""
