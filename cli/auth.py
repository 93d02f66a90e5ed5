"""`understudy auth`: show the credentials that Claude Code uses, and two commands to get some.

These two run Claude Code's own commands in the user's terminal. Nothing else in this project starts a login.
"""

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from auth.credentials.sources import PROVIDERS, Source, SourceError, find_source
from auth.credentials.status import Check, Found, Status, check, find_cli, status
from cli.options import AsJson, ConfigFile
from engine.spawn import Spawn
from settings import Settings
from translate.errors import Kind
from translate.money import exact

USABLE, NOT_USABLE, WRONG = 0, 1, 2
"""Exit statuses. 0: there are credentials (with --check: they work). 1: there are none, or they do not work. 2: a usage
error."""

# What the user can do about a failed turn. For other kinds of error, the name of the kind is enough.
ADVICE: dict[Kind, str] = {
    "not_logged_in": "Claude Code finds no credentials: run `understudy auth login`",
    "authentication_error": "the API rejects these credentials",
    "permission_error": "the credentials are valid, but may not use this model",
    "billing_error": "the account has no credit",
    "not_found_error": "the API does not know this model: use --model to ask another",
    "connection_error": "no answer came: is the address right, and does the cloud's own login work?",
    "cli_not_found": "there is no `claude` program: set cli_path to its path",
}

NAMES = ", ".join(source.name for source in PROVIDERS)

Extra = Annotated[list[str] | None, typer.Argument(metavar="CLAUDE OPTIONS", help="Options to pass to `claude`.")]
PASS_ON = {"ignore_unknown_options": True}


def auth_command(load_settings: Callable[..., Settings], spawn_for: Callable[[Settings, Source], Spawn]) -> typer.Typer:
    """Return the command `auth`.

    ``load_settings`` gets the path of ``--config``, or None. ``spawn_for`` returns how to start Claude Code with the
    credentials of a source. The app's turns start it the same way.
    """
    auth = typer.Typer(no_args_is_help=True, help="Show the credentials that Claude Code uses, or log in.")

    @auth.command("status")
    def show_status(
        as_json: AsJson = False,
        provider: Annotated[
            str | None, typer.Option(metavar="NAME", help=f"Check only this source of credentials: {NAMES}.")
        ] = None,
        ask: Annotated[
            bool,
            typer.Option(
                "--check", help="Test the credentials: ask Claude one short question. This costs some tokens."
            ),
        ] = False,
        model: Annotated[str | None, typer.Option(metavar="MODEL", help="The model for --check.")] = None,
        config: ConfigFile = None,
    ) -> None:
        """Show which credentials Claude Code uses. Exit status 1: there are none, or --check failed."""
        settings = load_settings(config)
        wanted, helper = _asked_for(settings, provider)
        with _mistakes_said():
            source = find_source(os.environ, forced=wanted, api_key_helper=helper)
            known = status(os.environ, forced=wanted, api_key_helper=helper, cli_path=settings.cli_path)
        checked = None
        if ask and known.usable:
            with _without_logging():
                checked = asyncio.run(check(spawn_for(settings, source), model or settings.default_model))
        typer.echo(json.dumps(_report(known, checked), indent=2) if as_json else "\n".join(_lines(known, checked)))
        raise typer.Exit(USABLE if known.usable and (checked is None or checked.ok) else NOT_USABLE)

    @auth.command("login", context_settings=PASS_ON)
    def login(extra: Extra = None, config: ConfigFile = None) -> None:
        """Log in with `claude auth login`, in this terminal."""
        _in_the_terminal(load_settings(config), "auth", "login", *(extra or ()))

    @auth.command("token", context_settings=PASS_ON)
    def token(extra: Extra = None, config: ConfigFile = None) -> None:
        """Make a long-lived token with `claude setup-token`, for CLAUDE_CODE_OAUTH_TOKEN."""
        _in_the_terminal(load_settings(config), "setup-token", *(extra or ()))

    return auth


def _asked_for(settings: Settings, provider: str | None) -> tuple[str | None, str | None]:
    """Return the forced provider and the command of the API key helper, from the flag and the settings."""
    return provider or getattr(settings, "provider", None), getattr(settings, "api_key_helper", None)


def _in_the_terminal(settings: Settings, *arguments: str) -> None:
    """Replace this process with a command of Claude Code. Without a terminal it would wait forever (fact F98)."""
    if not sys.stdin.isatty():
        typer.echo(f"understudy: `claude {' '.join(arguments[:2])}` needs an interactive terminal", err=True)
        raise typer.Exit(WRONG)
    with _mistakes_said():
        command = [str(find_cli(settings.cli_path)), *arguments]
        try:
            if os.name != "nt":
                os.execv(command[0], command)  # noqa: S606 - a program, not a shell's text
            # On Windows `execv` ends this process at once. The shell and `claude` would then both read the terminal.
            raise typer.Exit(subprocess.run(command, check=False).returncode)
        except OSError as error:
            raise SourceError(f"{command[0]} cannot be run: {error.strerror}") from None


@contextlib.contextmanager
def _mistakes_said() -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        typer.echo(f"understudy: {error}", err=True)
        raise typer.Exit(WRONG) from None


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    """Switch logging off: an API's error message can repeat a part of the request."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _report(known: Status, checked: Check | None) -> dict[str, Any]:
    report = known.as_json()
    if checked is None:
        return report
    fields = ("model", "error", "input_tokens", "output_tokens", "usd")
    report["check"] = {"ok": checked.ok, **{name: getattr(checked, name) for name in fields}}
    return {**report, "verified": checked.ok, "not_verified": []} if checked.ok else report


def _lines(known: Status, checked: Check | None) -> Iterator[str]:
    login = known.login
    if known.usable:
        yield f"Claude Code runs with: {_named(known.used)}"
        if known.used.name == "login":
            yield f"The login: {', '.join(word for word in (login.method, login.subscription) if word)}"
    else:
        yield "Claude Code has no credentials. Log in with `understudy auth login`, or set ANTHROPIC_API_KEY."
    if known.base_url:
        yield f"API address: {known.base_url}"
    if known.custom_headers:
        yield "Sent with each request: ANTHROPIC_CUSTOM_HEADERS"
    if known.losers:
        yield f"Also found, but not used: {', '.join(map(_named, known.losers))}"
    if login.problem:
        yield f"It is not known whether `claude` has a stored login: {login.problem}"
    if checked is None:
        for what in known.not_verified if known.usable else ():
            yield f"Not verified: {what}"
    elif checked.ok:
        price = "" if checked.usd is None else f", {exact(checked.usd)} USD"
        tokens = f"{checked.input_tokens} tokens in, {checked.output_tokens} out"
        yield f"Checked: {checked.model} answered ({tokens}{price})"
    else:
        advice = ADVICE.get(checked.error) if checked.error is not None else None
        yield f"Checked: {checked.model} did not answer: {checked.error}{f' ({advice})' if advice else ''}"


def _named(found: Found) -> str:
    secrets = ", ".join(shown if name == found.found_in else f"{name} {shown}" for name, shown in found.secrets.items())
    where = found.found_in if found.found_in != found.kind else ""
    inside = ", ".join(part for part in (where, secrets) if part)
    return f"{found.kind} ({inside})" if inside else found.kind
