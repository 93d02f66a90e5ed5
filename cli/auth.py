"""`understudy auth`: which credentials Claude Code gets, and the two ways to get some.

Both ways are Claude Code's own commands, run in the person's terminal. Nothing else in this project starts a login.
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
"""Exit statuses: there are credentials (with --check: and they work); there are none (or they do not); a mistake."""

# What a person can do about a turn that failed; for the rest its kind says enough.
ADVICE: dict[Kind, str] = {
    "not_logged_in": "Claude Code finds no credentials: `understudy auth login`",
    "authentication_error": "the API does not take these credentials",
    "permission_error": "the credentials are good, but may not use this model",
    "billing_error": "the account has no credit",
    "not_found_error": "the API knows no such model: --model names another",
    "connection_error": "no answer came: is the address right, and does the cloud's own login work?",
    "cli_not_found": "there is no `claude` program; set cli_path to where it is",
}

NAMES = ", ".join(source.name for source in PROVIDERS)

Extra = Annotated[list[str] | None, typer.Argument(metavar="CLAUDE OPTIONS", help="Options for `claude` itself.")]
PASS_ON = {"ignore_unknown_options": True}


def auth_command(load_settings: Callable[..., Settings], spawn_for: Callable[[Settings, Source], Spawn]) -> typer.Typer:
    """Return the command `auth`.

    ``load_settings`` is called with ``--config``'s path or None; ``spawn_for`` says how Claude Code is started with a
    source's credentials, the same as for the app's turns.
    """
    auth = typer.Typer(no_args_is_help=True, help="The credentials that Claude Code uses: see them, or log in.")

    @auth.command("status")
    def show_status(
        as_json: AsJson = False,
        provider: Annotated[
            str | None, typer.Option(metavar="NAME", help=f"Look at this source alone: {NAMES}.")
        ] = None,
        ask: Annotated[
            bool, typer.Option("--check", help="Ask Claude one short question, which costs some tokens.")
        ] = False,
        model: Annotated[str | None, typer.Option(metavar="MODEL", help="The model that --check asks.")] = None,
        config: ConfigFile = None,
    ) -> None:
        """Say which credentials Claude Code gets. Ends with 0 if there are some, with 1 if not."""
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
        """Log in with `claude auth login`, in this terminal. Its own options may follow."""
        _in_the_terminal(load_settings(config), "auth", "login", *(extra or ()))

    @auth.command("token", context_settings=PASS_ON)
    def token(extra: Extra = None, config: ConfigFile = None) -> None:
        """Make a long-lived token with `claude setup-token`, for CLAUDE_CODE_OAUTH_TOKEN."""
        _in_the_terminal(load_settings(config), "setup-token", *(extra or ()))

    return auth


def _asked_for(settings: Settings, provider: str | None) -> tuple[str | None, str | None]:
    """Return which provider is forced and the helper's command, from the flag and the settings."""
    return provider or getattr(settings, "provider", None), getattr(settings, "api_key_helper", None)


def _in_the_terminal(settings: Settings, *arguments: str) -> None:
    """Become Claude Code's own command. Without a person at a terminal it would wait for ever (fact F98)."""
    if not sys.stdin.isatty():
        typer.echo(f"understudy: `claude {' '.join(arguments[:2])}` needs a person at a terminal", err=True)
        raise typer.Exit(WRONG)
    with _mistakes_said():
        command = [str(find_cli(settings.cli_path)), *arguments]
        try:
            if os.name != "nt":
                os.execv(command[0], command)  # noqa: S606 - a program, not a shell's text
            # On Windows the terminal would be given back at once to the shell, which both would then read from.
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
    """Say nothing of how a turn goes: an API's own words may repeat what it was sent."""
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
        yield f"Its address: {known.base_url}"
    if known.custom_headers:
        yield "With each request: ANTHROPIC_CUSTOM_HEADERS"
    if known.losers:
        yield f"Found too, and not used: {', '.join(map(_named, known.losers))}"
    if login.problem:
        yield f"Whether `claude` keeps a login is not known: {login.problem}"
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
