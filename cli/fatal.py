"""How a command ends when it cannot do its work: one line on stderr, and status 2."""

import os

import typer
from rich.console import Console
from rich.markup import escape

from auth.log_redaction import redact, secrets_in
from cli.sign_of_life import sign_of_life
from settings import hide_password

stderr = Console(stderr=True, soft_wrap=True)
"""Where the commands write what is not their output. Its lines are folded by nobody but the terminal."""


def fatal(message: str) -> typer.Exit:
    """Say what is wrong, in one line without a secret in it, and return what ends the program with status 2."""
    sign_of_life.erase()
    line = " ".join(hide_password(redact(message, secrets_in(os.environ))).split("\n"))
    stderr.print(f"[bold]understudy:[/] {escape(line)}", highlight=False)
    return typer.Exit(2)
