"""`understudy config`: every setting, its value and where it came from."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app


def test_each_setting_has_its_value_and_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "understudy.toml").write_text("retries = 5\n", "utf-8")
    monkeypatch.setenv("UNDERSTUDY_MAX_PROCESSES", "3")

    done = CliRunner().invoke(app, ["config"], env={"COLUMNS": "200"})

    rows = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines()}
    assert done.exit_code == 0
    assert rows["max_processes"] == ["3", "UNDERSTUDY_MAX_PROCESSES"]
    assert rows["retries"][0] == "5"
    assert rows["idle_timeout_s"] == ["300", "default"]


def test_a_setting_that_is_wrong_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_MAX_PROCESSES", "many")

    done = CliRunner().invoke(app, ["config"])

    assert done.exit_code == 2
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert "max_processes (from UNDERSTUDY_MAX_PROCESSES): 'many'" in done.stderr
