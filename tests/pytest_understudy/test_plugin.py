"""The plugin in a project of somebody's: pytest as a process of its own, with an unmodified OpenAI client."""

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_understudy import file_name
from tape.format import Entry
from tape.read import read
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import clean_environment

SUITE = """
import openai

def ask(text):
    client = openai.OpenAI(api_key="sk-proj-canary0123456789abcdef", max_retries=0)
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])

def test_it_answers(understudy):
    assert "“Hello”" in ask("Hello").choices[0].message.content

def test_it_answers_another[WHAT](understudy):
    assert ask("Good day").choices
"""

WHOLE = """
import openai, os

def test_it_answers():
    client = openai.OpenAI(api_key="sk-x", max_retries=0)
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": os.environ["TEXT"]}])
    assert os.environ["TEXT"] in answer.choices[0].message.content
"""


@pytest.fixture
def project(home: Path) -> Path:
    folder = home / "project"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run_pytest(project: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(project.parent, **more)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, env=env, cwd=project, capture_output=True, text=True, timeout=GUARD_S * 2)


REHEARSED = {"UNDERSTUDY_REHEARSAL": "1", "UNDERSTUDY_REHEARSAL_DELAY_S": "0"}


def test_each_test_is_recorded_once_and_replayed_ever_after(project: Path) -> None:
    (project / "test_app.py").write_text(SUITE.replace("[WHAT]", ""))
    first = run_pytest(project, **REHEARSED)
    assert first.returncode == 0, first.stdout
    cassettes = sorted(path.relative_to(project).as_posix() for path in project.rglob("*.jsonl"))
    assert cassettes == ["cassettes/test_app/test_it_answers.jsonl", "cassettes/test_app/test_it_answers_another.jsonl"]
    assert b"canary" not in b"".join(path.read_bytes() for path in project.rglob("*.jsonl"))

    # Without credentials, and without the rehearsal.
    second = run_pytest(project, CI="true")
    assert second.returncode == 0, second.stdout
    assert "mitmproxy" not in second.stdout
    assert all(len([e for e in read(project / path) if isinstance(e, Entry)]) == 1 for path in cassettes)


def test_in_ci_what_was_not_recorded_fails_the_test_that_asked(project: Path) -> None:
    suite = project / "test_app.py"
    suite.write_text(SUITE.replace("[WHAT]", ""))
    none = run_pytest(project, CI="true")
    assert none.returncode == 1
    assert "there is no cassette" in none.stdout and not list(project.rglob("*.jsonl"))

    run_pytest(project, **REHEARSED)
    suite.write_text(SUITE.replace("[WHAT]", "").replace('ask("Good day").choices', 'catch("Good night")') + CATCH)
    missed = run_pytest(project, CI="true")
    assert missed.returncode == 1
    assert "2 passed" in missed.stdout and "1 error" in missed.stdout
    assert "nothing recorded answers POST /v1/chat/completions" in missed.stdout


CATCH = """
def catch(text):
    try:
        return ask(text)
    except openai.APIError:
        return "an app that bears it"
"""


def test_a_whole_run_can_be_played_from_one_cassette(project: Path) -> None:
    (project / "test_app.py").write_text(WHOLE)
    option = "--understudy-cassette=all.jsonl"
    recorded = run_pytest(project, option, TEXT="Hello", **REHEARSED)
    replayed = run_pytest(project, option, "--understudy-record=none", TEXT="Hello")
    missed = run_pytest(project, option, "--understudy-record=none", TEXT="Goodbye")

    assert recorded.returncode == replayed.returncode == 0, recorded.stdout + replayed.stdout
    assert "1 answers from 1 of 1 entries, 0 misses" in replayed.stdout
    assert missed.returncode == 1
    assert '+  "content": "Goodbye"' in missed.stdout


def test_the_workers_of_xdist_play_a_whole_run_from_one_cassette(project: Path) -> None:
    (project / "test_app.py").write_text(WHOLE + WHOLE.replace("test_it_answers", "test_it_answers_another"))
    options = ("--understudy-cassette=all.jsonl", "-n", "2")
    recorded = run_pytest(project, *options, TEXT="Hello", **REHEARSED)
    replayed = run_pytest(project, *options, "--understudy-record=none", TEXT="Hello")
    missed = run_pytest(project, *options, "--understudy-record=none", TEXT="Goodbye")

    assert recorded.returncode == replayed.returncode == 0, recorded.stdout + replayed.stdout
    assert "2 answers from 2 of 2 entries, 0 misses" in replayed.stdout
    assert missed.returncode == 1 and "0 of 2 entries, 2 misses" in missed.stdout


def test_tests_of_one_name_in_two_classes_have_a_cassette_each(project: Path) -> None:
    classes = "".join(
        f"class Test{name}:\n    def test_it(self, understudy):\n        assert understudy.answered == 0\n"
        for name in "AB"
    )
    (project / "test_app.py").write_text(classes)
    assert run_pytest(project, **REHEARSED).returncode == 0
    assert sorted(path.relative_to(project).as_posix() for path in project.rglob("*.jsonl")) == [
        "cassettes/test_app/TestA/test_it.jsonl",
        "cassettes/test_app/TestB/test_it.jsonl",
    ]


def test_a_cassettes_name_is_its_tests_alone_and_short_enough_for_any_disk() -> None:
    parameters = ["a-b", "a/b", "a b", "-a", "a-", "a", "0", "0.5", "ö" * 300, "ö" * 301, "[x]", "x"]
    names = [file_name("test_it"), *(file_name(f"test_it[{one}]") for one in parameters)]

    assert names[:2] == ["test_it", "test_it-a-b"]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 130 and "." not in name for name in names)


def test_a_cassette_that_is_not_there_is_told_in_one_line(project: Path) -> None:
    (project / "test_app.py").write_text(WHOLE)
    done = run_pytest(project, "--understudy-cassette=none.jsonl", "--understudy-record=none", TEXT="x")
    assert done.returncode == 4
    assert "understudy: there is no cassette none.jsonl to replay" in done.stderr


def test_a_suite_that_does_not_ask_for_it_never_notices(project: Path) -> None:
    (project / "test_app.py").write_text("import sys\ndef test_it():\n    assert 'mitmproxy' not in sys.modules\n")
    assert run_pytest(project).returncode == 0
