"""Ends a command that cannot do its work: one line on stderr, and exit status 2."""

import os

import typer
from rich.console import Console
from rich.markup import escape

from auth.log_redaction import redact, secrets_in
from cli.sign_of_life import sign_of_life
from settings import hide_password

stderr = Console(stderr=True, soft_wrap=True)
"""Where the commands write messages that are not their output. It does not wrap lines; only the terminal does."""


def fatal(message: str) -> typer.Exit:
    """Print an error in one line, without secrets, and return the exception that exits with status 2."""
    sign_of_life.erase()
    line = " ".join(hide_password(redact(message, secrets_in(os.environ))).split("\n"))
    stderr.print(f"[bold]understudy:[/] {escape(line)}", highlight=False)
    return typer.Exit(2)
