"""Tables on the terminal, and in a pipe."""

import sys

from rich.console import Console
from rich.table import Table

UNBOUNDED = 10_000


def print_table(table: Table) -> None:
    """Print a table. A terminal gets a table that fits its width. A pipe gets one line for each row."""
    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=UNBOUNDED)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())
