"""The group of all commands: its help, in panels, and what it says of a mistyped line.

The help and the shell's completion list the commands from a table. A command's module is imported when it is asked for.
"""

import gc
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

PANELS: dict[str, dict[str, str]] = {
    "Run": {
        "run": "Run a program and answer its OpenAI requests with Claude. Ends with the program's own exit status.",
        "serve": "Run the proxy for programs that are started elsewhere, until Ctrl-C.",
        "env": 'Print the shell lines that send programs through `understudy serve`: eval "$(understudy env)".',
        "demo": "Show an unmodified OpenAI program at work, and both sides of what goes over the wire.",
    },
    "Look": {
        "show": "List a cassette's exchanges, or show one like a conversation.",
        "diff": "Compare two exchanges, or two cassettes exchange by exchange. Ends with 1 if they differ.",
        "explain": "Say what becomes of each key of a request, and what Claude would be asked. Asks nobody.",
        "convert": "Convert a cassette to HAR, mitmproxy flows or JSON lines, or HAR, flows or vcrpy YAML to one.",
    },
    "Test": {
        "check": "Send recorded requests to Claude again. Ends with 1 if an answer has another shape than before.",
        "again": "Send recorded requests to Claude again, and record the new answers.",
        "rehearsal": "Serve the simulated Anthropic API alone, on this machine. Prints its address first.",
    },
    "Operate": {
        "doctor": "Check this machine for what may keep an app from working. Ends with 1 if there is a fault.",
        "config": "Show the settings, their values and where each came from. Secrets are not shown.",
        "models": "Show which Claude model answers for which name, its price, and where that was set.",
        "auth": "The credentials that Claude Code uses: see them, or log in.",
        "keys": "Keys for those who use the proxy: make, list and revoke them.",
        "ca": "The certificate authority that programs must trust: see, install or replace it.",
        "addon-path": 'Print the path of the script that mitmproxy loads: mitmweb -s "$(understudy addon-path)".',
    },
    "Seldom needed": {
        "fixture": "Copy one exchange into a cassette of its own, as a test for `understudy retranslate`.",
        "retranslate": "Translate Claude's recorded events again. Ends with 1 if an app would get another answer.",
        "reassemble": "Rebuild the recorded bytes of answers whose messages you edited by hand.",
    },
}
"""The panels of the help in their order, the commands in each, and what the help says of each command.

It is the first paragraph of the command's own help. A test compares the two.
"""


class Commands(TyperGroup):
    """A group whose commands are imported when they are asked for.

    A mistyped line ends with one line on stderr and status 2.
    """

    add: ClassVar[Mapping[str, Callable[[typer.Typer], None]]] = {}
    """For each command, what adds it to an app, perhaps together with others."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        # These stand in for the commands where only their names and the help are needed.
        self.commands = {
            name: TyperCommand(name, help=help, rich_help_panel=panel)
            for panel, commands in PANELS.items()
            for name, help in commands.items()
        }
        self.commands |= {name: TyperCommand(name, hidden=True) for name in self.add if name not in self.commands}
        self._loaded: dict[str, Any] = {}

    def load(self, name: str) -> Any:
        """Return a command, with its parameters. Imports its module. Raises KeyError."""
        if name not in self._loaded:
            one = typer.Typer(rich_markup_mode=self.rich_markup_mode)
            self.add[name](one)
            # main() has switched the collector off: what is imported is never garbage, and walking through it again and
            # again takes a tenth of the start.
            gc.freeze()
            gc.enable()
            command = self._loaded[name] = get_group(one).commands[name]
            _hide_types(command, self.context_settings.get("help_option_names", ["--help"]))
        return self._loaded[name]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that a line names, and the rest of the line."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else self.load(name), rest

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
                # Imported here: it needs the settings, which the help does without.
                from cli.fatal import fatal

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
            name for name in self.commands if option and any(option in param.opts for param in self.load(name).params)
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
