"""Tables on the terminal, and in a pipe."""

import sys

from rich.console import Console
from rich.table import Table

UNBOUNDED = 10_000


def print_table(table: Table) -> None:
    """Print a table: fitted to a terminal, and with a row a line where there is none."""
    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(width=UNBOUNDED)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())
