"""Tables on the terminal, and in a pipe."""

import pytest
from rich.table import Table

from cli.tables import print_table


def test_in_a_pipe_a_row_is_a_line_however_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("name", "has used", box=None, pad_edge=False)
    table.add_row("ann", "words " * 30)

    print_table(table)

    assert capsys.readouterr().out == f"name  has used\nann   {'words ' * 30}".rstrip() + "\n"


def test_on_a_terminal_it_is_fitted_to_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    table = Table("name", "has used", box=None, pad_edge=False)
    table.add_row("ann", "words " * 30)

    print_table(table)

    assert len(capsys.readouterr().out.splitlines()) > 2
