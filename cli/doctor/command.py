"""`understudy doctor`: runs the checks, prints what they find and how to fix it. Exit status 1: there is a fault."""

import asyncio
import dataclasses
import json
import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from auth.log_redaction import redact, secrets_in
from cli.doctor.checks import Finding, run_checks
from cli.doctor.runtime import Watcher
from cli.options import AsJson, ConfigFile
from settings import Settings, hide_password

FINE, FAULTY = 0, 1

MARKS = {"ok": ("ok     ", "green"), "warning": ("warning", "yellow"), "fault": ("fault  ", "red")}

type Watch = Callable[[Settings, Watcher, Sequence[str]], Coroutine[Any, Any, int]]
"""Runs a command through a proxy with an addon, and returns its exit status."""


def add_doctor_command(cli: typer.Typer, load_settings: Callable[[Path | None], Settings], watch: Watch) -> None:
    """Add the command."""

    @cli.command(context_settings={"allow_interspersed_args": False})
    def doctor(
        command: Annotated[
            list[str] | None,
            typer.Argument(metavar="-- COMMAND", help="Run this command, and check how it connects."),
        ] = None,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Check this machine for problems that can stop an app from working. Exit status 1: there is one."""
        settings = load_settings(config)
        console = Console(highlight=False)
        found: list[Finding] = []
        for finding in run_checks(settings, os.environ):
            found.append(finding)
            if not as_json:
                console.print(line(finding), soft_wrap=True)
        if command:
            watcher = Watcher(settings.hosts)
            if not as_json:
                told = f"running `{' '.join(command)}` once; its requests get status 503, so it may fail:"
                console.print(Text(hide_password(redact(told, secrets_in(os.environ)))), soft_wrap=True)
            status = asyncio.run(watch(settings, watcher, command))
            for finding in watcher.findings(command, status):
                found.append(finding)
                if not as_json:
                    console.print(line(finding), soft_wrap=True)
        fine = all(finding.level != "fault" for finding in found)
        if as_json:
            print(json.dumps({"checks": [dataclasses.asdict(finding) for finding in found], "ok": fine}, indent=2))
        raise typer.Exit(FINE if fine else FAULTY)


def line(finding: Finding) -> Text:
    """Write a finding in one line, and what to do in a second line."""
    mark, style = MARKS[finding.level]
    text = Text.assemble((mark, style), f"  {finding.name}: {finding.seen}")
    return text.append(f"\n         → {finding.todo}", "dim") if finding.todo else text
