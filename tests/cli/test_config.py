"""`understudy config`: every setting, its value and where it came from."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cli.app import app
from cli.config import config
from cli.options import FLAGGED, option_of
from settings import Settings

CANARY = "canary-0123456789"


def asked(*line: str) -> Result:
    return CliRunner().invoke(app, ["config", *line])


def described(*line: str) -> Any:
    return json.loads(asked(*line, "--json").stdout)


def test_each_setting_has_its_value_and_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "understudy.toml").write_text("retries = 5\n", "utf-8")
    monkeypatch.setenv("UNDERSTUDY_MAX_PROCESSES", "3")

    done = asked()

    rows = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines() if line}
    assert done.exit_code == 0
    assert rows["max_processes"] == ["3", "UNDERSTUDY_MAX_PROCESSES"]
    assert rows["retries"] == ["5", str(tmp_path / "understudy.toml")]
    assert rows["idle_timeout_s"] == ["300", "default"]
    assert set(Settings.__dataclass_fields__) <= set(rows)


def test_the_model_that_answers_is_shown_for_every_pattern_in_the_order_of_trying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UNDERSTUDY_MODEL_MAP", "gpt-9*=haiku")

    table = asked().stdout.partition("\n\n")[2].splitlines()

    assert table[0].split() == ["model", "name", "answered", "by", "from", "price"]
    assert table[1].split()[:4] == ["gpt-9*", "claude-haiku-5-5", "UNDERSTUDY_MODEL_MAP", "$0.1"]
    assert ["gpt-5*", "claude-opus-5-5", "default", "$4"] in [line.split()[:4] for line in table]
    assert table[-1].split()[:4] == ["(any", "other)", "claude-sonnet-5-5", "default"]


def test_changed_shows_only_what_is_not_at_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_RETRIES", "5")

    rows = [line.split()[0] for line in asked("--changed").stdout.splitlines()[1:]]

    assert rows == ["data_dir", "retries"] or rows == ["retries", "data_dir"]  # the tests set data_dir
    assert [one["name"] for one in described("--changed")] == rows


def test_changed_says_when_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERSTUDY_DATA_DIR")

    assert asked("--changed").stdout == "Every setting is at its default.\n"
    assert described("--changed") == []


@pytest.mark.parametrize("name", ["replay_speed", "replay-speed", "UNDERSTUDY_REPLAY_SPEED", "speed", "Replay_Speed"])
def test_one_setting_is_found_by_its_name_its_variable_and_its_option(name: str) -> None:
    assert asked(name).stdout.splitlines() == [
        "replay_speed = 1",
        "    the speed of replayed answers: 2 is twice as fast as recorded; 0: at once",
        "    from:     default",
        "    default:  1",
        "    set by:   --speed, UNDERSTUDY_REPLAY_SPEED, replay_speed in understudy.toml",
    ]


def test_json_has_values_as_toml_would_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOSTS", "a.example")
    monkeypatch.setenv("UNDERSTUDY_MODEL_MAP", "gpt-9*=haiku")

    values = {one["name"]: one["value"] for one in described()}

    assert values["listen"] == "127.0.0.1:8080"
    assert (values["max_processes"], values["wait_s"], values["web_search"]) == (8, 60.0, True)
    assert values["hosts"] == ["api.openai.com", "a.example"]
    assert values["model_map"] == {"gpt-9*": "haiku"}
    assert (values["base_url"], values["record"], values["agent"]) == (None, None, {})
    assert described("model_map")["effective"]["gpt-5*"] == "opus"
    assert described("listen") == {
        "name": "listen",
        "value": "127.0.0.1:8080",
        "from": "default",
        "default": "127.0.0.1:8080",
        "variable": "UNDERSTUDY_LISTEN",
        "option": "--listen",
        "help": "where the proxy listens",
    }


@pytest.mark.parametrize("line", [(), ("--json",), ("--changed",), ("--changed", "--json")])
def test_no_secret_is_shown(line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "UNDERSTUDY_STORE_KEY": CANARY,
        "UNDERSTUDY_STORE": f"postgresql://ann:{CANARY}@db/x",
        "UNDERSTUDY_UPSTREAM_PROXY": f"http://ann:{CANARY}@proxy:1",
        "UNDERSTUDY_API_KEY_HELPER": f"echo {CANARY}",
        "UNDERSTUDY_MCP_SERVERS": f"https://mcp.example/?api_key={CANARY}",
        "ANTHROPIC_API_KEY": CANARY,
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)

    told = [asked(*line).stdout, *(asked(name, *line).stdout for name in secrets if name.startswith("UNDERSTUDY_"))]

    assert all(told)
    assert "canary" not in "".join(told)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """What `understudy config` shows on a terminal of so many columns, without its colours."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(columns: int) -> str:
        monkeypatch.setattr(sys, "stdout", terminal := Terminal())
        monkeypatch.setenv("COLUMNS", str(columns))
        config()
        return re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())

    return shown


@pytest.mark.parametrize("columns", [70, 80, 120])
def test_on_a_terminal_the_table_is_fitted_to_it(terminal: Callable[[int], str], columns: int) -> None:
    assert max(map(len, terminal(columns).splitlines())) <= columns


def test_a_wide_terminal_shows_all_columns(terminal: Callable[[int], str]) -> None:
    assert terminal(140).splitlines()[0].split() == ["setting", "value", "from", "what", "it", "is"]


def test_a_narrow_terminal_shows_names_and_whole_values(
    terminal: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = [f"host-{number}.example.com" for number in range(9)]
    monkeypatch.setenv("UNDERSTUDY_HOSTS", ",".join(hosts))

    told = terminal(80)

    assert told.splitlines()[0].split() == ["setting", "value"]
    assert "…" not in told
    assert all(host in re.sub(r"\s+", "", told) for host in hosts)
    assert told.splitlines()[-1] == "`understudy config NAME` explains one; `--changed` hides defaults."


def test_every_option_of_run_and_serve_that_is_a_setting_is_known_as_one() -> None:
    group: Any = typer.main.get_command(app)
    options = {opt for name in ("run", "serve") for param in group.load(name).params for opt in param.opts}
    others = {"command", "--config", "--web", "--web-listen", "--summary", "--quiet"}  # no settings

    assert {option_of(name) for name in FLAGGED} <= options
    assert options - {option_of(name) for name in FLAGGED} <= others


@pytest.mark.parametrize(
    ("name", "setting"),
    [("record.max_mb", "record_max_mb"), ("record.file", "record"), ("replay.on-miss", "replay_on_miss")],
)
def test_a_setting_may_be_named_as_its_table_in_the_file_has_it(name: str, setting: str) -> None:
    assert asked(name).stdout.startswith(f"{setting} = ")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (("lisen",), "there is no setting lisen (did you mean listen?)"),
        (("UNDERSTUDY_RETRY",), "there is no setting retry (did you mean retries?)"),
        (("",), "there is no setting ''"),
        (("--config", "missing.toml"), "there is no file missing.toml"),
    ],
)
def test_an_unknown_setting_or_file_is_one_line_and_status_2(line: tuple[str, ...], told: str) -> None:
    done = asked(*line)

    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"understudy: {told}\n")


def test_a_setting_that_is_wrong_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_MAX_PROCESSES", "many")

    done = asked()

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == ("understudy: max_processes (from UNDERSTUDY_MAX_PROCESSES): 'many' is not a whole number\n")
