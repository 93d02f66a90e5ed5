"""How Claude Code's processes are started, and what they are kept from."""

import stat
from pathlib import Path

import pytest

from auth.credentials.sources import LOGIN, REHEARSAL, SOURCES, find_source
from auth.credentials.spawn import reach_for, rehearsal_environment, spawn_for
from settings import Settings


def test_the_rehearsal_gets_no_real_credential() -> None:
    environment = rehearsal_environment("http://127.0.0.1:1", {})

    others = {source.variable for source in SOURCES} - {"ANTHROPIC_API_KEY"}
    assert all(environment[str(name)] == "" for name in others)
    assert environment["ANTHROPIC_API_KEY"] == "rehearsal"


def test_processes_start_in_an_empty_private_folder_with_their_own_state(tmp_path: Path) -> None:
    spawn = spawn_for(Settings(data_dir=tmp_path / "data"), find_source({"ANTHROPIC_API_KEY": "k"}), {}, {"A": "b"})

    assert spawn.bare
    assert list(spawn.cwd.iterdir()) == []
    assert stat.S_IMODE(spawn.cwd.stat().st_mode) == 0o700
    assert spawn.env == {"A": "b", "CLAUDE_CONFIG_DIR": str(tmp_path / "data" / "claude")}


def test_a_login_that_claude_keeps_is_used_where_it_is(tmp_path: Path) -> None:
    spawn = spawn_for(Settings(data_dir=tmp_path), LOGIN, {}, {})

    assert not spawn.bare
    assert "CLAUDE_CONFIG_DIR" not in spawn.env


def test_a_folder_that_the_person_chose_is_kept_but_not_for_a_rehearsal(tmp_path: Path) -> None:
    environ = {"CLAUDE_CONFIG_DIR": "/mine"}
    settings = Settings(data_dir=tmp_path)

    assert "CLAUDE_CONFIG_DIR" not in spawn_for(settings, SOURCES[0], environ, {}).env
    assert spawn_for(settings, REHEARSAL, environ, {}).env["CLAUDE_CONFIG_DIR"] != "/mine"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "api.anthropic.com:443"),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/x"}, "127.0.0.1:9"),
        ({"CLAUDE_CODE_USE_BEDROCK": "1"}, "Amazon Bedrock"),
        ({"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BEDROCK_BASE_URL": "https://b.example"}, "b.example:443"),
    ],
)
def test_the_credentials_decide_which_api_is_reached(environ: dict[str, str], name: str) -> None:
    assert reach_for(find_source(environ), environ).name == name
