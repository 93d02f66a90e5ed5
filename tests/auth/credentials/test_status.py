"""What is known of Claude's credentials without using them, and one turn that uses them."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from auth.credentials.sources import PROVIDERS, SOURCES, SourceError, environment
from auth.credentials.status import Login, Status, ask_login, check, find_cli, host_of, status
from engine.sdk import Spawn
from rehearsal import Rehearsal, Reply

KEY = "sk-ant-api03-abcdefghijklmnop"
HELPER = "print-key --secret canary-in-the-helper"


@pytest.fixture
def clean(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own and nothing else."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}


@pytest.fixture
def no_login(tmp_path: Path) -> Path:
    """A program that knows of no login, for tests that are not about it."""
    return program(tmp_path, 'echo \'{"loggedIn": false, "authMethod": "none"}\'; exit 1')


def program(folder: Path, script: str) -> Path:
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


def keep_a_login(home: Path) -> None:
    """Put a login where `claude` keeps it on Linux. Not a real one."""
    folder = home / ".claude"
    folder.mkdir()
    oauth = {
        "accessToken": "sk-ant-oat01-canary-of-the-login",
        "refreshToken": "sk-ant-ort01-canary-of-the-login",
        "expiresAt": 4102444800000,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
    }
    (folder / ".credentials.json").write_text(json.dumps({"claudeAiOauth": oauth}))
    (folder / ".credentials.json").chmod(0o600)


def words(known: Status) -> str:
    return f"{known} {json.dumps(known.as_json())} {asdict(known)}"


def test_a_key_is_shown_by_its_last_four_characters(clean: dict[str, str], no_login: Path) -> None:
    known = status({**clean, "ANTHROPIC_API_KEY": KEY}, cli_path=no_login)

    assert (known.used.kind, known.used.found_in) == ("API key", "ANTHROPIC_API_KEY")
    assert known.used.secrets == {"ANTHROPIC_API_KEY": "…mnop"}
    assert (known.usable, known.verified) == (True, False)
    assert "--check" in known.not_verified[0]


def test_the_losers_are_named_in_their_order(clean: dict[str, str], no_login: Path) -> None:
    environ = {**clean, "CLAUDE_CODE_OAUTH_TOKEN": KEY, "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_USE_VERTEX": "1"}

    known = status(environ, api_key_helper=HELPER, cli_path=no_login)

    assert known.used.name == "vertex"
    assert [loser.found_in for loser in known.losers] == [
        "ANTHROPIC_API_KEY",
        "api_key_helper",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ]


def test_a_forced_source_makes_the_winner_a_loser(clean: dict[str, str], no_login: Path) -> None:
    environ = {**clean, "CLAUDE_CODE_OAUTH_TOKEN": KEY, "ANTHROPIC_API_KEY": KEY}

    known = status(environ, forced="oauth-token", cli_path=no_login)

    assert known.used.name == "oauth-token"
    assert [loser.name for loser in known.losers] == ["api-key"]


def test_forcing_what_is_not_there_is_refused(clean: dict[str, str], no_login: Path) -> None:
    with pytest.raises(SourceError, match="CLAUDE_CODE_USE_FOUNDRY=1"):
        status({**clean, "ANTHROPIC_API_KEY": KEY}, forced="foundry", cli_path=no_login)


def test_the_status_says_that_a_clouds_credentials_were_not_checked(clean: dict[str, str], no_login: Path) -> None:
    environ = {**clean, "CLAUDE_CODE_USE_BEDROCK": "1", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIcanary"}

    known = status(environ, cli_path=no_login)

    assert known.used.secrets == {"AWS_SECRET_ACCESS_KEY": "…nary"}
    assert any("cloud's own credentials" in what for what in known.not_verified)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://gateway.example", "https://gateway.example"),
        ("https://user:canary@gateway.example:8443/", "https://gateway.example:8443"),
        ("https://gateway.example/v1/canary?key=canary#canary", "https://gateway.example/…"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/…"),
        ("canary", "…"),
        ("https://gateway.example:canary/", "…"),
        ("https://[canary/", "…"),
    ],
)
def test_the_status_shows_only_the_host_of_an_address(address: str, shown: str) -> None:
    assert host_of(address) == shown


def test_the_address_shown_is_the_providers_own(clean: dict[str, str], no_login: Path) -> None:
    addresses = {"ANTHROPIC_BASE_URL": "http://one", "ANTHROPIC_BEDROCK_BASE_URL": "http://two"}
    environ = {**clean, **addresses, "ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_USE_BEDROCK": "1"}

    assert status(environ, cli_path=no_login).base_url == "http://two"
    assert status(environ, forced="api-key", cli_path=no_login).base_url == "http://one"
    assert status(clean, cli_path=no_login).base_url is None


@pytest.mark.parametrize("source", PROVIDERS, ids=lambda source: source.name)
def test_no_status_holds_a_secret(source: object, clean: dict[str, str], no_login: Path) -> None:
    secrets = {name: f"canary-{name}-0123456789" for each in SOURCES for name in each.secrets}
    switches = {str(each.variable): "1" for each in SOURCES if each.is_cloud}
    more = {"ANTHROPIC_BASE_URL": "http://u:canary-0123456789@h/", "ANTHROPIC_CUSTOM_HEADERS": "X: canary-0123456789"}
    environ = {**clean, **secrets, **switches, **more}
    name: str = source.name  # type: ignore[attr-defined]

    known = status(environ, forced=name, api_key_helper=HELPER, cli_path=no_login)

    assert known.used.name == name
    assert known.custom_headers
    assert "canary-" not in words(known)


def test_without_anything_there_is_nothing_to_use(clean: dict[str, str]) -> None:
    known = status(clean)

    assert (known.used.name, known.usable, known.login) == ("login", False, Login())


def test_f97_a_login_that_claude_keeps_is_found_by_asking_the_program(clean: dict[str, str], tmp_path: Path) -> None:
    keep_a_login(tmp_path)

    known = status(clean)

    assert (known.used.found_in, known.usable) == ("claude login", True)
    assert known.login == Login(logged_in=True, method="claude.ai", subscription="max")
    assert "canary" not in words(known)


def test_f97_a_login_beside_a_key_is_a_loser(clean: dict[str, str], tmp_path: Path) -> None:
    keep_a_login(tmp_path)

    known = status({**clean, "ANTHROPIC_API_KEY": KEY})

    assert known.used.name == "api-key"
    assert [loser.name for loser in known.losers] == ["login"]


def test_f97_a_key_in_a_variable_or_a_settings_file_is_no_login(clean: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    settings = {"apiKeyHelper": f"echo {KEY}", "env": {"ANTHROPIC_AUTH_TOKEN": KEY}}
    (tmp_path / ".claude" / "settings.json").write_text(json.dumps(settings))
    variables = {name: value for source in SOURCES for name, value in {str(source.variable): "1"}.items()}

    assert ask_login({**clean, **variables}, cli_path=None) == Login()


def test_the_program_sees_no_credential(clean: dict[str, str], tmp_path: Path) -> None:
    spy = program(tmp_path, f'env > {tmp_path}/seen; echo "$@" >> {tmp_path}/seen; echo \'{{"loggedIn": false}}\'')
    secrets = {name: "canary" for source in SOURCES for name in (str(source.variable), *source.secrets)}

    ask_login({**clean, **secrets, "ANTHROPIC_CUSTOM_HEADERS": "X: canary"}, cli_path=spy)

    seen = (tmp_path / "seen").read_text()
    assert "auth status --json" in seen
    assert "canary" not in seen


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exec sleep 600", "did not answer"),
        ("sleep 600 & sleep 600", "did not answer"),
        ("echo Not logged in.", "nothing that can be read"),
        ("echo '[]'", "nothing that can be read"),
        ("echo '{}'", "nothing that can be read"),
        ("exit 3", "nothing that can be read"),
    ],
)
def test_a_program_that_does_not_answer_is_no_login(
    script: str, problem: str, clean: dict[str, str], tmp_path: Path
) -> None:
    known = status(clean, cli_path=program(tmp_path, script), login_timeout_s=0.2 if "sleep" in script else 20)

    assert not known.usable
    assert problem in str(known.login.problem)


@pytest.mark.skipif(sys.platform != "linux", reason="running programs are read from /proc")
def test_a_program_that_does_not_answer_is_ended_with_all_it_started(clean: dict[str, str], tmp_path: Path) -> None:
    mark = f"{tmp_path}/pids"
    slow = program(tmp_path, f"sleep 600 & echo $! > {mark}; echo $$ >> {mark}; wait")

    ask_login(clean, cli_path=slow, timeout_s=2)

    pids = Path(mark).read_text().split()
    give_up = time.monotonic() + 20  # a killed program's end shows a moment later
    while any(is_running(pid) for pid in pids) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert len(pids) == 2
    assert [pid for pid in pids if is_running(pid)] == []


def is_running(pid: str) -> bool:
    """Whether a program runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_program_that_is_not_there_is_a_problem_not_a_crash(clean: dict[str, str], tmp_path: Path) -> None:
    known = status({**clean, "ANTHROPIC_API_KEY": KEY}, cli_path=tmp_path / "nowhere")

    assert known.usable
    assert "cannot be run" in str(known.login.problem)


def test_the_program_is_the_one_named_else_the_sdks(tmp_path: Path) -> None:
    assert find_cli(tmp_path / "mine") == tmp_path / "mine"
    assert find_cli(None).parts[-3:-1] == ("claude_agent_sdk", "_bundled")


def test_without_the_sdks_program_it_is_the_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="cli_path"):
        find_cli(None)

    on_path = program(tmp_path, "true")
    assert find_cli(None) == on_path


@pytest.fixture
async def rehearsal() -> AsyncIterator[Rehearsal]:
    async with Rehearsal(delay_s=0) as rehearsal:
        yield rehearsal


@pytest.fixture
def spawn(rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spawn:
    for name in list(os.environ):
        if name not in ("PATH", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)
    for folder in ("config", "empty"):
        (tmp_path / folder).mkdir()
    env = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "config"), "ANTHROPIC_API_KEY": KEY}
    return Spawn(cwd=tmp_path / "empty", env={**env, "ANTHROPIC_BASE_URL": rehearsal.base_url})


@pytest.mark.anyio
async def test_a_check_is_one_turn_and_tells_its_tokens(rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(Reply(text="OK", usage={"input_tokens": 17}))

    checked = await check(spawn, "claude-haiku-4-5")

    (received,) = rehearsal.requests
    assert (received.body["model"], received.body["max_tokens"]) == ("claude-haiku-4-5", 64)
    assert (checked.ok, checked.input_tokens) == (True, 17)
    assert checked.output_tokens


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "error"), [(401, "authentication_error"), (403, "permission_error"), (529, "overloaded_error")]
)
async def test_a_check_that_fails_tells_the_kind(status: int, error: str, rehearsal: Rehearsal, spawn: Spawn) -> None:
    rehearsal.script(*[Reply.error(status)] * 3)

    checked = await check(spawn, "claude-haiku-4-5")

    assert (checked.ok, checked.error, checked.input_tokens) == (False, error, None)


@pytest.mark.anyio
async def test_a_check_without_credentials_asks_nobody(rehearsal: Rehearsal, spawn: Spawn) -> None:
    nobody = Spawn(cwd=spawn.cwd, env={**spawn.env, **environment(PROVIDERS[-1], spawn.env)})

    checked = await check(nobody, "claude-haiku-4-5")

    assert checked.error == "not_logged_in"
    assert rehearsal.requests == []
