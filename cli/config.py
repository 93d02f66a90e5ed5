"""`understudy config`: every setting, its value and where it came from."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import settings as configuration
from cli.load import load_settings
from cli.options import ConfigFile


def config(config: ConfigFile = None) -> None:
    """Show every setting, its value and where it came from."""
    loaded = load_settings(config)
    table = Table("setting", "value", "from", "what it is", box=None, pad_edge=False, header_style="bold")
    for name, text, source, what in configuration.rows(loaded):
        table.add_row(name, escape(text), escape(source), escape(what), style=None if source != "default" else "dim")
    Console().print(table)
