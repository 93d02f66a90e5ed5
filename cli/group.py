"""The group of all commands: its help, in panels, and its errors for a mistyped command line.

The help and the shell's completion read the commands from a table. A command's module is imported only when it is used.
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
        "run": "Run a program and answer its OpenAI requests with Claude. The exit status is the program's own.",
        "serve": "Run the proxy until Ctrl-C, for programs that you start yourself.",
        "env": 'Print shell commands that send programs through `understudy serve`. Use: eval "$(understudy env)".',
        "demo": "Run a small OpenAI program, and show its traffic on OpenAI's side and on Claude's side.",
    },
    "Recordings": {
        "show": "List the exchanges of a cassette (recorded traffic), or show one exchange as a conversation.",
        "diff": "Compare two exchanges, or two cassettes exchange by exchange. Exit status 1: they differ.",
        "convert": "Convert a cassette to HAR, mitmproxy flows or JSON lines. Or make one of HAR, flows or vcrpy YAML.",
        "explain": "Show how each key of a request is handled, and what Claude would be asked. Nothing is sent.",
    },
    "Tests": {
        "check": "Send recorded requests to Claude again. Exit status 1: an answer has a different structure now.",
        "again": "Send recorded requests to Claude again, and record the new answers.",
        "rehearsal": "Run only the simulated Anthropic API, on this machine. The first line of output is its address.",
    },
    "Operation": {
        "doctor": "Check this machine for problems that can stop an app from working. Exit status 1: there is one.",
        "config": "Show all settings, their values and where each value comes from. Secrets are hidden.",
        "models": "Show which Claude model answers for which model name, its price, and where that is set.",
        "auth": "Show the credentials that Claude Code uses, or log in.",
        "keys": "Make, list and revoke the keys that apps use at this proxy.",
        "ca": "Show, install or replace the certificate authority that programs must trust.",
        "addon-path": 'Print the path of the addon script for mitmproxy. Use: mitmweb -s "$(understudy addon-path)".',
    },
    "Rarely needed": {
        "fixture": "Copy one exchange into a new cassette, as a test for `understudy retranslate`.",
        "retranslate": "Translate Claude's recorded events again. Exit status 1: an app would get a different answer.",
        "reassemble": "Rebuild the recorded bytes of each answer whose message you edited by hand.",
    },
}
"""The panels of the help in their order, the commands in each, and the help of each command.

This help is the first paragraph of the command's own help. A test compares the two.
"""


class Commands(TyperGroup):
    """A group of commands. A command is imported only when it is used.

    A mistyped command line gets one line on stderr and exit status 2.
    """

    add: ClassVar[Mapping[str, Callable[[typer.Typer], None]]] = {}
    """For each command: the function that adds it to an app, sometimes together with others."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        # Placeholders. The help and the completion need only names and help texts.
        self.commands = {
            name: TyperCommand(name, help=help, rich_help_panel=panel)
            for panel, commands in PANELS.items()
            for name, help in commands.items()
        }
        self.commands |= {name: TyperCommand(name, hidden=True) for name in self.add if name not in self.commands}
        self._loaded: dict[str, Any] = {}

    def load(self, name: str) -> Any:
        """Import a command's module and return the command with its parameters. Raises KeyError for an unknown name."""
        if name not in self._loaded:
            one = typer.Typer(rich_markup_mode=self.rich_markup_mode)
            self.add[name](one)
            # main() has switched the garbage collector off. Imported modules are never garbage, and searching them
            # again and again takes a tenth of the start.
            gc.freeze()
            gc.enable()
            command = self._loaded[name] = get_group(one).commands[name]
            _hide_types(command, self.context_settings.get("help_option_names", ["--help"]))
        return self._loaded[name]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that a command line names, and the remaining arguments."""
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
        """Run the command that the arguments name. In standalone mode, exit with its status."""
        _hide_types(self, self.context_settings.get("help_option_names", ["--help"]))
        try:
            status = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            if not standalone_mode:
                raise
            # Without arguments the help was printed. The message is empty then.
            if error.format_message().strip():
                # Imported here: it imports the settings, which the help does not need.
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
        """Return one line: what was mistyped, the most similar name, and where the help is."""
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
    """Hide the Python types (`<bool>`, `<str>`) in the help of a command, and of all commands of a group."""
    for one in getattr(command, "commands", {}).values():
        _hide_types(one, help_option_names)
    for param in command.get_params(typer.Context(command, help_option_names=list(help_option_names))):
        if param.param_type_name == "argument":
            param.display_type_rich = _no_type
        elif param.is_flag:
            param.metavar = ""


def _no_type(ctx: typer.Context) -> None:
    """Return no type. The name of an argument says what it takes."""
