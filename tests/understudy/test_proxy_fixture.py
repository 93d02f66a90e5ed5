"""The plugin starts a program that may be missing, old, or something else altogether."""

import os
import sys
from pathlib import Path

import pytest

from understudy.proxy_fixture import Program, Programs, find_command
from understudy.recording_modes import PROTOCOL, CannotStartError


def executable(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on PATH, and an environment of the tests without Understudy."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "environment"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


@pytest.mark.skipif(os.name != "posix", reason="programs are found by another rule on Windows")
def test_the_command_is_looked_for_beside_the_tests_then_on_path_then_uvx(elsewhere: Path) -> None:
    with pytest.raises(CannotStartError, match="no `understudy` in this environment or on PATH, and no `uvx`"):
        find_command()
    uvx = executable(elsewhere / "uvx")
    assert find_command() == [str(uvx), "understudy"]
    on_path = executable(elsewhere / "understudy")
    assert find_command() == [str(on_path)]
    beside = executable(elsewhere.parent / "environment" / "understudy")
    assert find_command() == [str(beside)]
    assert find_command("uvx --from '/a b' understudy") == ["uvx", "--from", "/a b", "understudy"]


def program(tmp_path: Path, code: str) -> list[str]:
    """Return a command that runs a few lines of Python."""
    file = tmp_path / "program.py"
    file.write_text(f"import json, socket, sys\n{code}\n")
    return [sys.executable, "-I", str(file)]


HELLO = "asked = json.loads(sys.stdin.readline()); print(json.dumps({'protocol': %s, 'version': '9.9', 'port': %s}))"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        pytest.param("sys.exit('no such command')", "does not run the proxy: no such command", id="older"),
        pytest.param("print('Hello')", "does not run the proxy: Hello", id="another program"),
        pytest.param("pass", "does not run the proxy: it said nothing", id="silent"),
        pytest.param(
            HELLO % (PROTOCOL + 1, 1),
            f"the plugin speaks protocol {PROTOCOL}, Understudy 9.9 speaks protocol {PROTOCOL + 1}",
            id="another protocol",
        ),
    ],
)
def test_a_program_that_does_not_fit_is_one_clear_error(tmp_path: Path, code: str, told: str) -> None:
    with pytest.raises(CannotStartError) as raised:
        Program(program(tmp_path, code), tmp_path)

    assert told in str(raised.value)


def test_a_command_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CannotStartError, match="`nowhere/understudy pytest-proxy` cannot be started"):
        Program(["nowhere/understudy"], tmp_path)


ECHO = """
server = socket.create_server(("127.0.0.1", 0))
asked = json.loads(sys.stdin.readline())
print(json.dumps({"protocol": asked["protocol"], "version": "9.9", "port": server.getsockname()[1]}), flush=True)
lines = server.accept()[0].makefile("rw")
assert lines.readline() == asked["token"] + "\\n" and asked["token"] not in " ".join(sys.argv)
for line in lines:
    told = json.loads(line)
    if told["do"] == "die":
        sys.exit("it was too much")
    print(json.dumps({"told": told}), file=lines, flush=True)
"""


def test_a_program_is_asked_until_it_ends_and_its_last_words_are_told(tmp_path: Path) -> None:
    started = Program(program(tmp_path, ECHO), tmp_path)

    assert started.ask("sing", loud=True) == {"told": {"do": "sing", "loud": True}}
    with pytest.raises(CannotStartError, match="has ended: it was too much"):
        started.ask("die")
    assert not started.is_usable


def test_a_program_learns_how_the_environment_has_changed_and_nothing_of_the_tests_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKEN", "1")
    started = Program(program(tmp_path, ECHO), tmp_path)
    monkeypatch.setenv("GIVEN", "2")
    monkeypatch.setenv("PYTHONPATH", "3")
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "another")
    monkeypatch.delenv("TAKEN")

    assert started.changes() == {"set": {"GIVEN": "2"}, "unset": ["TAKEN"]}
    started.close()
    assert not started.is_usable


def test_one_program_is_used_again_and_two_where_cassettes_are_played_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = program(tmp_path, ECHO)
    monkeypatch.setattr("understudy.proxy_fixture.find_command", lambda named: command)
    programs = Programs("", tmp_path)
    first = programs.take()

    assert programs.take() is first
    first.is_busy = True
    second = programs.take()
    assert second is not first
    first.close()
    second.is_busy = True
    assert programs.take() not in (first, second)
    programs.close()


def test_a_program_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.proxy_fixture.START_S", 0.2)

    with pytest.raises(CannotStartError, match=r"did not say within 0\.2 s where it listens"):
        Program(program(tmp_path, "import time; time.sleep(60)"), tmp_path)
