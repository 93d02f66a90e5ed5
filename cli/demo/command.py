"""`understudy demo`: runs an unmodified OpenAI program, and shows its traffic on OpenAI's side and on Claude's side."""

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
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Also write the output to this file, as an SVG."),
    ] = None,
) -> None:
    """Run a small OpenAI program, and show its traffic on OpenAI's side and on Claude's side."""
    settings = load_settings(None, rehearsal=None if live else True, listen="127.0.0.1:0", log_level="warning").settings
    log_to_stderr("error" if settings.rehearsal else "warning")
    console = Console(record=svg is not None, width=118 if svg else None)
    if settings.rehearsal:
        console.print(
            "[yellow]Rehearsal: the proxy and Claude Code are real. The API is simulated; no model is asked.[/]\n"
        )
    if not has_openai():
        console.print(
            "OpenAI's client is not installed beside Understudy. This program uses httpx for the same requests.\n"
        )
    status = run_to_end(show(settings, console))
    if svg is not None:
        # Leave out rich's web fonts. They would be downloaded, and the picture must look the same without a network.
        style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        try:
            console.save_svg(str(svg), title="understudy demo", code_format=style)
        except OSError as error:
            raise fatal(f"--svg: {svg} cannot be written: {error.strerror}") from None
    raise typer.Exit(status)
