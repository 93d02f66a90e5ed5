"""The `understudy` program: which module has which command.

A command's module is imported only when that command is used. All modules together need the proxy, the SDK and the
database. These take a second or more to import, and the help and most commands do not need them.
"""

from collections.abc import Callable

import typer

from cli.group import Commands
from cli.version import understudy


def _run(cli: typer.Typer) -> None:
    from cli.run import run

    # The first word that is not an option starts the program's own command line. `--` can stand before it.
    cli.command(context_settings={"allow_interspersed_args": False})(run)


def _serve(cli: typer.Typer) -> None:
    from cli.serve import serve

    cli.command()(serve)


def _env(cli: typer.Typer) -> None:
    from cli.env import env

    cli.command()(env)


def _demo(cli: typer.Typer) -> None:
    from cli.demo.command import demo

    cli.command()(demo)


def _show(cli: typer.Typer) -> None:
    from cli.show import NUMBERS, show

    cli.command(context_settings=NUMBERS)(show)  # -1 is the number of an exchange, not an option


def _diff(cli: typer.Typer) -> None:
    from cli.show import diff

    cli.command()(diff)


def _convert(cli: typer.Typer) -> None:
    from cli.convert import add_convert_command

    add_convert_command(cli)


def _check(cli: typer.Typer) -> None:
    from cli.check import again, check, fixture, reassemble, retranslate

    for command in (again, check, fixture, reassemble, retranslate):
        cli.command()(command)


def _rehearsal(cli: typer.Typer) -> None:
    from cli.rehearsal import rehearsal

    cli.command()(rehearsal)


def _doctor(cli: typer.Typer) -> None:
    from cli.building import watch
    from cli.doctor.command import add_doctor_command
    from cli.load import load_for

    add_doctor_command(cli, load_for, watch)


def _config(cli: typer.Typer) -> None:
    from cli.config import config

    cli.command()(config)


def _models(cli: typer.Typer) -> None:
    from cli.models import models

    cli.command()(models)


def _explain(cli: typer.Typer) -> None:
    from cli.explain import explain

    cli.command()(explain)


def _auth(cli: typer.Typer) -> None:
    import os

    from auth.credentials.sources import Source, environment
    from auth.credentials.spawn import spawn_for
    from cli.auth import auth_command
    from cli.load import settings_of
    from engine.spawn import Spawn
    from settings import Settings

    def own_spawn(settings: Settings, source: Source) -> Spawn:
        """Return how to start Claude Code for a check of the credentials. The app's turns start it the same way."""
        return spawn_for(settings, source, os.environ, environment(source, os.environ))

    cli.add_typer(auth_command(settings_of, own_spawn), name="auth")


def _keys(cli: typer.Typer) -> None:
    from cli.keys import keys_command
    from cli.load import settings_of
    from cli.tables import print_table
    from storage.database import Database

    def open_store() -> Database:
        return Database.open(settings_of(None).store_place())

    cli.add_typer(keys_command(open_store, print_table), name="keys")


def _addon_path(cli: typer.Typer) -> None:
    from cli.addon_path import addon_path

    cli.command("addon-path")(addon_path)


def _pytest_proxy(cli: typer.Typer) -> None:
    from cli.pytest_proxy import pytest_proxy

    cli.command(hidden=True)(pytest_proxy)


def _ca(cli: typer.Typer) -> None:
    from cli.ca import ca_command
    from cli.load import settings_of

    cli.add_typer(ca_command(settings_of), name="ca")


ADD: dict[str, Callable[[typer.Typer], None]] = {
    "run": _run,
    "serve": _serve,
    "env": _env,
    "demo": _demo,
    "show": _show,
    "diff": _diff,
    "convert": _convert,
    **dict.fromkeys(("check", "again", "fixture", "retranslate", "reassemble"), _check),
    "rehearsal": _rehearsal,
    "doctor": _doctor,
    "config": _config,
    "models": _models,
    "explain": _explain,
    "auth": _auth,
    "keys": _keys,
    "ca": _ca,
    "addon-path": _addon_path,
    "pytest-proxy": _pytest_proxy,
}
"""For each command: the function that imports its module and adds it to an app.

The function can also add other commands of the same module.
"""


class AllCommands(Commands):
    """All commands of `understudy`."""

    add = ADD


app = typer.Typer(
    cls=AllCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    # A traceback that shows the values of variables could show a secret.
    pretty_exceptions_show_locals=False,
)

app.callback(invoke_without_command=True)(understudy)
