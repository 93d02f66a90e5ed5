"""`understudy auth`, as a person types it."""

import asyncio
import json
import logging
import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from auth.credentials.sources import HELPER, PROVIDERS, SOURCES, Source
from cli.auth import auth_command
from engine.sdk import Spawn
from rehearsal import AT_HEAD, Rehearsal, Reply
from settings import Settings

ROOT = Path(__file__).parents[2]
KEY = "sk-ant-api03-abcdefghijklmnop"
GUARD_S = 120

# A canary in every variable that holds a secret, and everything else that may.
CANARIES = {name: f"canary-{name}-0123456789" for source in SOURCES for name in source.secrets} | {
    "ANTHROPIC_CUSTOM_HEADERS": "X-Gateway: canary-header-0123456789"
}

# The command as a program of its own; its settings' provider-specific paths come from the environment.
MAIN = """
import os
from pathlib import Path
from cli.auth import auth_command
from auth.credentials.sources import environment
from engine.sdk import Spawn
from settings import Settings

cli = os.environ.get("TEST_CLI")
settings = Settings(cli_path=Path(cli) if cli else None, default_model="claude-haiku-4-5")

def spawn_for(settings, source):
    return Spawn(bare=source.bare, cwd=Path(os.environ["HOME"]), env=environment(source, os.environ))

auth_command(lambda config: settings, spawn_for)()
"""


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment but the PATH."""
    for name in list(os.environ):
        if name not in ("PATH", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "config"))


@pytest.fixture
def no_login(tmp_path: Path) -> Path:
    return program(tmp_path, 'echo \'{"loggedIn": false, "authMethod": "none"}\'; exit 1')


def program(folder: Path, script: str) -> Path:
    path = folder / "claude"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


def run(*arguments: str, settings: Settings) -> Result:
    """Run the command here, where standard input is no terminal."""

    def no_spawn(settings: Settings, source: Source) -> Spawn:
        raise AssertionError("nothing may be started")

    def load(config: Path | None) -> Settings:
        assert config is None
        return settings

    return CliRunner().invoke(auth_command(load, no_spawn), list(arguments))


async def start(*arguments: str, environ: Mapping[str, str], stdin: int = asyncio.subprocess.DEVNULL) -> Any:
    """Start the command as a program of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MAIN,
        *arguments,
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(running: Any) -> tuple[int, str, str]:
    async with asyncio.timeout(GUARD_S):
        out, err = await running.communicate()
    return running.returncode, out.decode(), err.decode()


def test_a_key_is_reported_with_what_it_keeps_out(no_login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://me:word@gateway.example/v1")

    result = run("status", settings=Settings(cli_path=no_login))

    assert result.stdout.splitlines()[:3] == [
        "Claude Code runs with: API key (ANTHROPIC_API_KEY, …mnop)",
        "API address: https://gateway.example/…",
        "Also found, but not used: OAuth token (CLAUDE_CODE_OAUTH_TOKEN, …mnop)",
    ]
    assert "Not verified: whether the API takes it" in result.stdout
    assert result.exit_code == 0


def test_json_says_the_same_to_programs(no_login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("CLAUDE_CODE_USE_BEDROCK", "1")

    result = run("status", "--json", "--provider", "api-key", settings=Settings(cli_path=no_login))

    report = json.loads(result.stdout)
    assert (report["name"], report["found_in"]) == ("api-key", "ANTHROPIC_API_KEY")
    assert report["secrets"] == {"ANTHROPIC_API_KEY": "…mnop"}
    assert [loser["name"] for loser in report["losers"]] == ["bedrock"]
    assert (report["usable"], report["verified"], "check" in report) == (True, False, False)


def test_without_credentials_it_says_how_to_get_some_and_ends_with_1(no_login: Path) -> None:
    result = run("status", settings=Settings(cli_path=no_login))

    assert "understudy auth login" in result.stdout
    assert result.exit_code == 1


def test_without_credentials_a_check_starts_nothing(no_login: Path) -> None:
    result = run("status", "--check", settings=Settings(cli_path=no_login))

    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("provider", "words"), [("vertex", "CLAUDE_CODE_USE_VERTEX=1"), ("carrier-pigeon", "there are bedrock")]
)
def test_a_provider_that_cannot_be_had_is_a_mistake(provider: str, words: str, no_login: Path) -> None:
    result = run("status", "--provider", provider, settings=Settings(cli_path=no_login))

    assert result.exit_code == 2
    assert words in result.stderr


def test_a_cli_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = run("status", settings=Settings(cli_path=tmp_path / "nowhere"))

    assert result.exit_code == 1
    assert "cannot be run" in result.stdout


@pytest.mark.anyio
@pytest.mark.parametrize(("command", "own"), [("login", "auth login"), ("token", "setup-token")])
async def test_f98_without_a_terminal_no_login_is_started(command: str, own: str, tmp_path: Path) -> None:
    called = tmp_path / "called"
    spy = program(tmp_path, f"touch {called}")

    status, _, err = await ended(await start(command, environ={"TEST_CLI": str(spy)}))

    assert status == 2
    assert f"`claude {own}` needs an interactive terminal" in err
    assert not called.exists()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "own"),
    [
        (["login"], "auth login"),
        (["login", "--console", "--email", "me@example.com"], "auth login --console --email me@example.com"),
        (["token"], "setup-token"),
    ],
)
async def test_at_a_terminal_it_becomes_claudes_own_command(arguments: list[str], own: str, tmp_path: Path) -> None:
    ours, persons = pty.openpty()
    spy = program(tmp_path, 'test -t 0 && echo "$@"; exit 7')
    try:
        status, out, _ = await ended(await start(*arguments, environ={"TEST_CLI": str(spy)}, stdin=persons))
    finally:
        os.close(ours)
        os.close(persons)

    assert out == f"{own}\n"
    assert status == 7


@pytest.mark.anyio
async def test_at_a_terminal_a_cli_that_is_not_there_is_said(tmp_path: Path) -> None:
    ours, persons = pty.openpty()
    try:
        running = await start("login", environ={"TEST_CLI": str(tmp_path / "nowhere")}, stdin=persons)
        status, _, err = await ended(running)
    finally:
        os.close(ours)
        os.close(persons)

    assert status == 2
    assert "nowhere cannot be run: No such file" in err


@pytest.fixture
async def rehearsal() -> AsyncIterator[Rehearsal]:
    async with Rehearsal(delay_s=0) as rehearsal:
        yield rehearsal


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("name", [source.name for source in PROVIDERS if source is not HELPER])
def test_no_secret_is_printed(name: str, form: list[str], no_login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switches = {str(source.variable): "1" for source in SOURCES if source.is_cloud}
    address = {"ANTHROPIC_BASE_URL": "http://canary-user:canary-password@127.0.0.1:9/canary"}
    for variable, value in {**CANARIES, **switches, **address}.items():
        monkeypatch.setenv(variable, value)

    result = run("status", "--provider", name, *form, settings=Settings(cli_path=no_login))

    assert result.exit_code == (1 if name == "login" else 0)
    assert result.output.startswith("{" if form else "Claude Code ")
    assert b"canary" not in result.stdout_bytes + result.stderr_bytes


def everything_ps_shows() -> bytes:
    return b"".join(read(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="command lines are read from /proc")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
async def test_a_check_shows_no_secret_in_its_output_nor_in_ps(form: list[str], rehearsal: Rehearsal) -> None:
    rehearsal.script(Reply(text="OK", stall_after=AT_HEAD))
    environ = {**CANARIES, "CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BASE_URL": rehearsal.base_url}

    running = await start("status", "--check", "--provider", "api-key", *form, environ=environ)
    async with asyncio.timeout(GUARD_S):
        await rehearsal.wait_for_requests(1)
    shown = everything_ps_shows()
    rehearsal.release()
    status, out, err = await ended(running)

    assert b"stream-json" in shown
    assert b"canary" not in shown
    assert "canary" not in out + err
    assert status == 0
    if form:
        report = json.loads(out)
        assert (report["verified"], report["check"]["ok"], report["check"]["error"]) == (True, True, None)
    else:
        assert "Checked: claude-haiku-4-5 answered" in out


@pytest.mark.anyio
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(("refused", "error"), [(401, "authentication_error"), (400, "invalid_request_error")])
async def test_an_api_that_repeats_the_secret_is_not_quoted(
    refused: int, error: str, form: list[str], rehearsal: Rehearsal
) -> None:
    message = f"invalid x-api-key: {CANARIES['ANTHROPIC_API_KEY']}"
    rehearsal.script(*[Reply.error(refused, message=message)] * 3)
    environ = {**CANARIES, "CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BASE_URL": rehearsal.base_url}

    running = await start("status", "--check", "--provider", "api-key", *form, environ=environ)
    status, out, err = await ended(running)

    assert status == 1
    assert error in out
    assert "canary" not in out + err


def test_a_check_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    log = logging.getLogger("engine.pool")

    def spawn_for(settings: Settings, source: Source) -> Spawn:
        log.warning("Claude's side failed: invalid x-api-key: %s", KEY)
        return Spawn(cli_path=settings.cli_path, cwd=tmp_path)

    settings = Settings(cli_path=tmp_path / "nowhere")
    result = CliRunner().invoke(auth_command(lambda config: settings, spawn_for), ["status", "--check"])
    log.warning("heard again")

    assert "did not answer: cli_not_found" in result.stdout
    assert caplog.messages == ["heard again"]
