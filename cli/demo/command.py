"""`understudy demo`: an unmodified OpenAI program, and both sides of what went over the wire."""

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import CONSOLE_SVG_FORMAT, Console  # type: ignore[attr-defined] # named by save_svg's docstring

from cli.demo.show import has_openai, show
from cli.fatal import fatal
from cli.load import load_settings
from cli.log import log_to_stderr
from cli.run_to_end import run_to_end


def demo(
    live: Annotated[bool, typer.Option("--live", help="Ask Claude itself, with your account.")] = False,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Also write what is shown to this file.")
    ] = None,
) -> None:
    """Show an unmodified OpenAI program at work, and both sides of what goes over the wire."""
    settings = load_settings(None, rehearsal=None if live else True, listen="127.0.0.1:0", log_level="warning").settings
    log_to_stderr("error" if settings.rehearsal else "warning")
    console = Console(record=svg is not None, width=118 if svg else None)
    if settings.rehearsal:
        console.print(
            "[yellow]A rehearsal: the real proxy, the real Claude Code, a simulated API: no model is asked.[/]\n"
        )
    if not has_openai():
        console.print(
            "OpenAI's client is not installed beside Understudy. This program speaks the same API by httpx.\n"
        )
    status = run_to_end(show(settings, console))
    if svg is not None:
        # Without its fonts, which would be fetched from elsewhere: a picture must show the same everywhere.
        style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        try:
            console.save_svg(str(svg), title="understudy demo", code_format=style)
        except OSError as error:
            raise fatal(f"--svg: {svg} cannot be written: {error.strerror}") from None
    raise typer.Exit(status)
