"""`understudy config`: the settings, their values and where each value comes from."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import settings as configuration
from auth.log_redaction import redact, secrets_in
from cli.fatal import fatal
from cli.load import load_settings
from cli.models import table_of
from cli.options import FLAGGED, AsJson, ConfigFile, option_of
from settings import PREFIX, Settings, Sourced
from translate.model_table import priced

SETTINGS = ("setting", "value", "from", "what it is")
WIDEST = 40
"""The largest width of a column when the output is not a terminal. A longer cell shifts the rest of its row."""
WIDE = 120
"""From this width on, a terminal shows all columns."""
MODELS = ("model name", "answered by", "from", "price")


def config(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show only this setting, and how to set it.", autocompletion=configuration.names
        ),
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Show only the settings that are not at their default.")
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show all settings, their values and where each value comes from. Secrets are hidden."""
    loaded = load_settings(config)
    wanted = configuration.names() if name is None else [known(name)]
    if changed:
        wanted = [one for one in wanted if loaded.source[one] != "default"]
    if as_json:
        told = [described(one, loaded) for one in wanted]
        print(json.dumps(hidden(told if name is None else next(iter(told), None)), indent=2))
    elif name is not None:
        print(hidden("\n".join(line for one in wanted for line in lines(one, loaded))))
    elif not wanted:
        print("Every setting is at its default.")
    else:
        table = {one: row for one, *row in configuration.rows(loaded)}
        _print_table(SETTINGS, [(one, *table[one]) for one in wanted])
        if not changed:
            print()
            _print_table(MODELS, models(loaded))
            if sys.stdout.isatty():
                print("\n`understudy config NAME` explains one; `--changed` hides defaults.")


def known(name: str) -> str:
    """Return the setting that a name means, or exit with an error.

    The name can be that of the setting, its variable, its option or its TOML table.
    """
    plain = name.removeprefix(PREFIX).lower().replace("-", "_").replace(".", "_")
    plain = plain.removesuffix("_file") if plain in ("record_file", "replay_file") else plain
    options = {option_of(one).removeprefix("--").replace("-", "_"): one for one in FLAGGED}
    if plain in configuration.names():
        return plain
    if plain in options:
        return options[plain]
    raise fatal(f"there is no setting {configuration.suggest([plain or "''"], configuration.names())}")


def described(name: str, loaded: Sourced) -> dict[str, Any]:
    """Describe a setting as JSON. ``value`` and ``default`` have the same types as in TOML. Secrets are hidden."""
    value, default = getattr(loaded.settings, name), configuration.default_of(name)
    told = {
        "name": name,
        "value": configuration.as_json(name, value),
        "from": loaded.source[name],
        "default": configuration.as_json(name, default),
        "variable": f"{PREFIX}{name.upper()}",
        "option": option_of(name) if name in FLAGGED else None,
        "help": Settings.__dataclass_fields__[name].metadata["help"],
    }
    if name == "model_map":
        told["effective"] = loaded.settings.full_model_map()
    return told


def lines(name: str, loaded: Sourced) -> Iterator[str]:
    """Yield the lines that describe a setting as text."""
    told = described(name, loaded)
    value, default = (
        configuration.shown(name, one) or "-"
        for one in (getattr(loaded.settings, name), configuration.default_of(name))
    )
    yield f"{name} = {value}"
    yield f"    {told['help']}"
    yield f"    from:     {told['from']}"
    yield f"    default:  {default}"
    places = [told["option"], told["variable"], f"{name} in {configuration.FILE}"]
    if name == "agent":  # agents are TOML tables: a variable cannot set them
        places = [f"[agent.NAME] in {configuration.FILE}"]
    yield f"    set by:   {', '.join(place for place in places if place)}"
    if name == "model_map":
        yield "    The first pattern that matches a name decides:"
        yield from (f"        {pattern} = {model}  ({source})" for pattern, model, source, _ in models(loaded))


def models(loaded: Sourced) -> list[tuple[str, str, str, str]]:
    """Return (pattern, Claude model, source, price) for each pattern, in the order in which the patterns are tried."""
    return [(row.pattern, row.resolved, row.source, priced(row.price)) for row in table_of(loaded)]


def hidden(told: Any) -> Any:
    """Hide secrets that are part of another setting's value, such as a key in the command that prints it."""
    match told:
        case str():
            return redact(told, secrets_in(os.environ))
        case list():
            return [hidden(one) for one in told]
        case dict():
            return {key: hidden(one) for key, one in told.items()}
        case _:
            return told


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. A narrow terminal shows only the first two columns. A pipe gets one line for each row."""
    cells = [[hidden(cell) or "-" for cell in row] for row in rows]
    if sys.stdout.isatty():
        console = Console()
        shown = len(head) if console.width >= WIDE else 2
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in head[:shown]:
            table.add_column(column, overflow="fold")
        for row in cells:
            table.add_row(*map(escape, row[:shown]), style="dim" if row[2] == "default" else None)
        console.print(table)
        return
    widths = [min(WIDEST, max(len(row[n]) for row in [head, *cells])) for n in range(len(head))]
    for line in [head, *cells]:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
