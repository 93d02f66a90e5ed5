"""How a command ends when it cannot do its work: one line on stderr, and status 2."""

import typer
from rich.console import Console
from rich.markup import escape

stderr = Console(stderr=True)
"""Where the commands write what is not their output."""


def fatal(message: str) -> typer.Exit:
    """Say what is wrong, in one line, and return what ends the program with status 2."""
    stderr.print(f"[bold]understudy:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return typer.Exit(2)
