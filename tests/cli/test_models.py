"""`understudy models`: which Claude model answers for which name, and at what price."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.load import load_settings
from cli.models import log_models

WIDE = {"COLUMNS": "200"}


def test_the_table_has_the_model_the_prices_and_where_each_row_comes_from(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text('[model_map]\n"my-*" = "claude-tragedian-9"\n', "utf-8")

    done = CliRunner().invoke(app, ["models"], env=WIDE)

    rows = [line.split() for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert rows[1][:4] == ["my-*", "claude-tragedian-9", "?", "?"]
    assert rows[1][4].endswith("understudy.toml")
    assert ["gpt-5*", "claude-opus-5-5", "4", "20", "default"] in rows


def test_names_are_told_who_answers_for_them() -> None:
    done = CliRunner().invoke(app, ["models", "gpt-5-mini", "ft:o3:me", "--model-map", "o3*=haiku"], env=WIDE)

    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["gpt-5-mini", "claude-haiku-5-5", "0.1", "0.5"] in rows
    assert ["ft:o3:me", "claude-haiku-5-5", "0.1", "0.5"] in rows


def test_a_name_that_can_be_no_models_is_one_line_and_status_2() -> None:
    done = CliRunner().invoke(app, ["models", "claude- x"], env=WIDE)

    assert done.exit_code == 2
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)


def test_a_map_to_a_name_that_no_model_has_is_warned_of_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    log_models(load_settings(None, model_map=["gpt-4*=opsu"], default_model="sonnet"))

    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == "model_map: 'opsu' is neither an alias nor a Claude model's name (did you mean opus?)"
