"""``understudy keys``: makes, lists and revokes the keys that apps use at this proxy."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from cryptography.fernet import Fernet
from rich.markup import escape
from rich.table import Table

from auth.keys.budgets import Spent, spent
from auth.keys.clients import Client, ClientError, Clients
from auth.keys.limits import Budget
from cli.options import AsJson
from storage.database import Database, StoreError
from translate.money import exact

UNIT_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

Expires = Annotated[str | None, typer.Option(metavar="TIME", help="How long the key is valid: 90m, 12h, 30d, 8w.")]
RequestsPerMinute = Annotated[int | None, typer.Option(metavar="N", help="The most requests in any 60 seconds.")]
TokensPerMinute = Annotated[
    int | None, typer.Option(metavar="N", help="The most tokens, in and out, in any 60 seconds.")
]
Concurrent = Annotated[int | None, typer.Option(metavar="N", help="The most requests at the same time.")]
UsdPerDay = Annotated[float | None, typer.Option(metavar="USD", help="The most US dollars a day (UTC).")]
UsdTotal = Annotated[float | None, typer.Option(metavar="USD", help="The most US dollars in total.")]
Model = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="A model that the key may use. Wildcards work. Can be repeated."),
]
Agent = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AGENT",
        help="An agent that the key may use. Default: none. Wildcards work. Can be repeated.",
    ),
]


def keys_command(open_store: Callable[[], Database], print_table: Callable[[Table], None]) -> typer.Typer:
    """Return the command. Each subcommand calls ``open_store``, and closes the database at its end."""
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, help="Make, list and revoke the keys that apps use at this proxy."
    )

    @contextmanager
    def opened() -> Iterator[Database]:
        try:
            with open_store() as database:
                yield database
        except (ClientError, StoreError) as error:
            raise _fatal(str(error)) from None

    @app.command()
    def make(
        name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the key, such as its user's.")],
        expires: Expires = None,
        requests_per_minute: RequestsPerMinute = None,
        tokens_per_minute: TokensPerMinute = None,
        concurrent: Concurrent = None,
        usd_per_day: UsdPerDay = None,
        usd_total: UsdTotal = None,
        model: Model = None,
        agent: Agent = None,
    ) -> None:
        """Make a key and print it. It cannot be shown again.

        Without options the key may use every model but no agent, and it has no limits.
        """
        try:
            budget = Budget(requests_per_minute, tokens_per_minute, concurrent, usd_per_day, usd_total)
            expires_at = None if expires is None else time.time() + seconds(expires)
        except ValueError as error:
            raise _fatal(str(error)) from None
        with opened() as database:
            secret = Clients(database).make(
                name, expires_at=expires_at, budget=budget, models=model or (), agents=agent or ()
            )
        # Only the secret goes to stdout, so that `KEY=$(understudy keys make alice)` works.
        typer.echo("This key is shown only once. Set it as the app's OPENAI_API_KEY:", err=True)
        typer.echo(secret)

    @app.command("list")
    def list_keys(
        as_json: AsJson = False,
    ) -> None:
        """Show every key, what it may use and what it has used, but not the keys themselves."""
        with opened() as database:
            keys, used = Clients(database).list(), spent(database)
        if as_json:
            typer.echo(json.dumps([_as_json(key, used.get(key.id, Spent())) for key in keys], indent=2))
        else:
            print_table(_as_table(keys, used))

    @app.command()
    def revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the key.")]) -> None:
        """Revoke a key for good. It is invalid from the next request on. Its name can be used again."""
        with opened() as database:
            Clients(database).revoke(name)
        typer.echo(f"{name}'s key is revoked.", err=True)

    @app.command("encryption-key")
    def encryption_key() -> None:
        """Print a new key for the setting store_key, which encrypts stored data. The key is not saved."""
        print(Fernet.generate_key().decode("ascii"))

    return app


def seconds(text: str) -> int:
    """Read ``90m``, ``12h``, ``30d`` or ``8w``. Raises ValueError."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhdw])", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a length of time; write 90m, 12h, 30d or 8w")
    return int(found[1]) * UNIT_S[found[2]]


def _fatal(message: str) -> typer.Exit:
    typer.echo(f"understudy: {message}", err=True)
    return typer.Exit(2)


def _state(key: Client) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.valid_at(time.time()) else "expired"


def _as_json(key: Client, used: Spent) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.id,
        "state": _state(key),
        "created_at": _when(key.created_at),
        "expires_at": _when(key.expires_at),
        "revoked_at": _when(key.revoked_at),
        "models": key.models,
        "agents": key.agents,
        "budget": {
            "requests_per_minute": key.budget.requests_per_minute,
            "tokens_per_minute": key.budget.tokens_per_minute,
            "concurrent": key.budget.concurrent,
            "usd_per_day": key.budget.usd_per_day,
            "usd_total": key.budget.usd_total,
        },
        "used": {
            "requests": used.requests,
            "tokens": used.tokens,
            # An unknown cost is None, not 0.
            "usd": used.usd if used.usd or not used.requests_unpriced else None,
            "usd_estimated": used.usd_estimated,
            "usd_today": used.usd_today if used.usd or not used.requests_unpriced else None,
            "requests_unpriced": used.requests_unpriced,
        },
    }


def _as_table(keys: list[Client], used: dict[str, Spent]) -> Table:
    table = Table(
        "name", "state", "made", "expires", "may use", "has used", box=None, pad_edge=False, header_style="bold"
    )
    for key in keys:
        state = _state(key)
        cells = (
            key.name,
            state,
            (_when(key.created_at) or "")[:10],
            (_when(key.expires_at) or "never")[:10],
            "; ".join(_limits(key)) or "no limit",
            _used(used.get(key.id, Spent())),
        )
        table.add_row(*map(escape, cells), style=None if state == "valid" else "dim")
    return table


def _limits(key: Client) -> list[str]:
    budget = key.budget
    shown = (
        (budget.requests_per_minute, "{:d} requests/min"),
        (budget.tokens_per_minute, "{:d} tokens/min"),
        (budget.concurrent, "{:d} at once"),
        (budget.usd_per_day, "{:g} USD/day"),
        (budget.usd_total, "{:g} USD in all"),
        (", ".join(key.models) or None, "models {}"),
        (", ".join(key.agents) or None, "agents {}"),
    )
    return [form.format(value) for value, form in shown if value is not None]


def _used(used: Spent) -> str:
    """Write what a key has used. «≈»: a part of the cost is estimated. «≥»: some requests have no known price."""
    counted = f"{used.requests} requests, {used.tokens} tokens"
    if used.requests_unpriced and not used.usd:
        return f"{counted}, USD unknown"
    sign = "≥" if used.requests_unpriced else "≈" if used.usd_estimated else ""
    unpriced = f", and {used.requests_unpriced} of unknown price" if used.requests_unpriced else ""
    return f"{counted}, {sign}{exact(used.usd)} USD ({exact(used.usd_today)} today){unpriced}"


def _when(at: float | None) -> str | None:
    """Write a time in UTC, to the second: ``2026-11-20T09:30:00Z``."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
