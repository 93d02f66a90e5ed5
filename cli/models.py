"""`understudy models`: shows which Claude model answers for which model name, and its price."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from auth.credentials.sources import SourceError, find_source
from cli.fatal import fatal
from cli.load import load_settings
from cli.log import log
from cli.options import Given, with_settings
from cli.tables import print_table
from settings import Settings, Sourced
from translate.errors import OpenAIError
from translate.model_table import ModelRow, model_table, row, summary
from translate.models import choose_model, doubt
from translate.prices import AS_OF, Price


@with_settings("model_map", "default_model")
def models(
    given: Given,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Show only these model names.")] = None,
) -> None:
    """Show which Claude model answers for which model name, its price, and where that is set."""
    loaded = load_settings(given.config, **given.flags)
    rows = [_answering(name, loaded) for name in names] if names else table_of(loaded)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("the app asks for", "Claude model", "$ in", "$ out", *([] if names else ["from"])):
        table.add_column(column, justify="right" if "$" in column else "left")
    for each in rows:
        prices = _dollars(each.price)
        table.add_row(escape(each.pattern), escape(each.resolved), *prices, *([] if names else [escape(each.source)]))
    print_table(table)
    Console().print(
        f"Prices are US dollars per million tokens, as of {AS_OF}. The first pattern that matches decides."
        " Claude's own names (claude-*) are used unchanged.",
        style="dim",
        highlight=False,
        soft_wrap=not sys.stdout.isatty(),
    )


def table_of(loaded: Sourced) -> list[ModelRow]:
    """Return the effective model map: the user's patterns, then the built-in ones."""
    settings, source = loaded.settings, loaded.source
    return model_table(
        settings.model_map,
        settings.default_model,
        source=source["model_map"],
        default_source=source["default_model"],
    )


def log_models(loaded: Sourced) -> None:
    """Log which Claude model answers for which names and its price. Warn of models that probably do not exist."""
    settings = loaded.settings
    agents = [agent.model_name for agent in settings.agent.values()]
    told = [("model_map", model) for model in settings.model_map.values()]
    for setting, model in dict.fromkeys([*told, ("default_model", settings.default_model)]):
        # A deployment in a cloud can have any name.
        if (why := doubt(model, agents)) and not _is_of_a_cloud(settings):
            log.warning("%s: %s", setting, why)
    for line in summary(table_of(loaded)):
        log.info("%s", line)


def _answering(name: str, loaded: Sourced) -> ModelRow:
    settings = loaded.settings
    try:
        choice = choose_model(name, settings.full_model_map(), settings.default_model)
    except OpenAIError as error:
        raise fatal(str(error)) from None
    return row(name, choice.model, "")


def _is_of_a_cloud(settings: Settings) -> bool:
    try:
        return find_source(os.environ, forced=settings.provider, api_key_helper=settings.api_key_helper).is_cloud
    except SourceError:  # the engine reports it when it starts
        return False


def _dollars(price: Price | None) -> tuple[str, str]:
    return ("?", "?") if price is None else (f"{price.input:g}", f"{price.output:g}")
