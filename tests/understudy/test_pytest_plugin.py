"""The plugin in a project of somebody's: pytest as a process of its own, with an unmodified OpenAI client."""

import subprocess
import sys
from pathlib import Path

import pytest

from cassettes.format import Entry
from cassettes.read import read
from cassettes.record.record import Recorder
from tests.end_to_end import processes
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import clean_environment
from understudy.pytest_plugin import file_name

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
    assert "1 of 1 requests answered; 1 of 1 entries used" in replayed.stdout
    assert missed.returncode == 1
    assert '+  "content": "Goodbye"' in missed.stdout


def test_the_workers_of_xdist_play_a_whole_run_from_one_cassette(project: Path) -> None:
    (project / "test_app.py").write_text(WHOLE + WHOLE.replace("test_it_answers", "test_it_answers_another"))
    options = ("--understudy-cassette=all.jsonl", "-n", "2")
    recorded = run_pytest(project, *options, TEXT="Hello", **REHEARSED)
    replayed = run_pytest(project, *options, "--understudy-record=none", TEXT="Hello")
    missed = run_pytest(project, *options, "--understudy-record=none", TEXT="Goodbye")

    assert recorded.returncode == replayed.returncode == 0, recorded.stdout + replayed.stdout
    assert "2 of 2 requests answered; 2 of 2 entries used" in replayed.stdout
    assert missed.returncode == 1 and "0 of 2 requests answered" in missed.stdout


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


ONE = """
import openai, os

def test_it_answers(understudy):
    client = openai.OpenAI(api_key="sk-x", max_retries=0)
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": os.environ["TEXT"]}])
    assert answer.choices[0].message.content == os.environ.get("WANTED", answer.choices[0].message.content)
"""

CASSETTE = "cassettes/test_app/test_it_answers.jsonl"


def answers_in(project: Path) -> list[Entry]:
    return [entry for entry in read(project / CASSETTE) if isinstance(entry, Entry)]


def test_an_answer_that_failed_at_the_proxy_is_not_kept_and_asked_again(project: Path) -> None:
    (project / "test_app.py").write_text(ONE)
    # Nobody is logged in.
    failed = run_pytest(project, TEXT="Hello")
    assert failed.returncode == 1
    told = [line for line in failed.stdout.splitlines() if "POST /v1/chat/completions: asked live" in line]
    assert len(told) == 1
    assert told[0].endswith("asked live, failed (401 claude_not_logged_in), not recorded")
    assert "failed at the proxy, and so not recorded" not in failed.stdout
    assert answers_in(project) == []

    again = run_pytest(project, TEXT="Hello", **REHEARSED)
    assert again.returncode == 0, again.stdout
    assert [entry.status for entry in answers_in(project)] == [200]
    assert run_pytest(project, TEXT="Hello", CI="true").returncode == 0


@pytest.mark.parametrize("error", ["503", "400"])
def test_errors_are_kept_where_that_is_wanted_or_where_they_are_the_apps(project: Path, error: str) -> None:
    (project / "test_app.py").write_text(ONE)
    keep = {"UNDERSTUDY_REPLAY_KEEP_ERRORS": "1"} if error == "503" else {}
    asked = {"TEXT": f"[rehearse: error={error}]", "UNDERSTUDY_RETRIES": "0", **keep, **REHEARSED}
    assert run_pytest(project, **asked).returncode == 1
    (kept,) = answers_in(project)
    assert kept.status == int(error)

    replayed = run_pytest(project, **{**asked, "CI": "true"})
    assert f"POST /v1/chat/completions: {CASSETTE}, exchange {kept.id}" in replayed.stdout
    assert ("a recorded failure of the proxy" in replayed.stdout) == (error == "503")


def test_everything_is_asked_again_and_takes_the_place_of_what_was_recorded(project: Path) -> None:
    (project / "test_app.py").write_text(ONE)
    assert run_pytest(project, TEXT="Hello", **REHEARSED).returncode == 0
    (first,) = answers_in(project)
    edited = (project / CASSETTE).read_text().replace("This is a rehearsal", "This is a fairy tale")
    (project / CASSETTE).write_text(edited)

    # A failing test says which file the answer is from, and which exchange of it.
    wrong = run_pytest(project, TEXT="Hello", WANTED="Something else.", **REHEARSED)
    assert "fairy tale" in wrong.stdout
    assert f"POST /v1/chat/completions: {CASSETTE}, exchange {first.id}" in wrong.stdout

    # What cannot be asked leaves the old answers where they are.
    failed = run_pytest(project, "--understudy-record=again", TEXT="Hello")
    assert failed.returncode == 1 and (project / CASSETTE).read_text() == edited

    assert run_pytest(project, "--understudy-record=again", TEXT="Hello", **REHEARSED).returncode == 0
    (second,) = answers_in(project)
    assert second.id != first.id and b"fairy tale" not in (project / CASSETTE).read_bytes()
    assert run_pytest(project, TEXT="Hello", CI="true").returncode == 0


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "assert False", "__import__('pytest').skip()"])
def test_a_test_that_ends_half_way_keeps_its_old_cassette(project: Path, how: str) -> None:
    (project / "test_app.py").write_text(ONE)
    assert run_pytest(project, TEXT="Hello", **REHEARSED).returncode == 0
    before = (project / CASSETTE).read_bytes()

    (project / "test_app.py").write_text(f"{ONE}    {how}\n")
    done = run_pytest(project, "--understudy-record=again", TEXT="Hello", **REHEARSED)
    assert (project / CASSETTE).read_bytes() == before
    assert (f"asked live, {CASSETTE} stays as it was" in done.stdout) == (how == "assert False")


def test_a_whole_runs_cassette_is_replaced_only_by_a_whole_run(project: Path) -> None:
    two = WHOLE + WHOLE.replace("test_it_answers", "test_another").replace('os.environ["TEXT"]', '"Good day"')
    (project / "test_app.py").write_text(two)
    assert run_pytest(project, "--understudy-cassette=all.jsonl", TEXT="Hello", **REHEARSED).returncode == 0
    before = (project / "all.jsonl").read_bytes()
    again = ("--understudy-cassette=all.jsonl", "--understudy-record=again")

    some = run_pytest(project, *again, "-k", "another", TEXT="Hello", **REHEARSED)
    assert some.returncode == 0 and "all.jsonl stays as it was: a test failed or did not run" in some.stdout
    (project / "test_app.py").write_text(two.replace(" in answer", " == answer"))
    assert run_pytest(project, *again, "-x", TEXT="Hello", **REHEARSED).returncode == 1
    assert (project / "all.jsonl").read_bytes() == before

    (project / "test_app.py").write_text(two)
    assert run_pytest(project, *again, TEXT="Hello", **REHEARSED).returncode == 0
    assert (project / "all.jsonl").read_bytes() != before


def test_only_what_failed_is_asked_again(project: Path) -> None:
    (project / "test_app.py").write_text(ONE)
    assert run_pytest(project, TEXT="Hello", **REHEARSED).returncode == 0
    text = (project / CASSETTE).read_text()
    (good,) = answers_in(project)
    # As an older version recorded it: the same request, answered 503 before.
    header, rest = text.split("\n", 1)
    bad = rest.replace(good.id, "20200101T000000-00000000").replace('"status": 200', '"status": 503')
    (project / CASSETTE).write_text(f"{header}\n{bad}{rest}")
    assert [entry.status for entry in answers_in(project)] == [503, 200]

    assert run_pytest(project, "--understudy-record=failed", TEXT="Hello").returncode == 0
    assert answers_in(project) == [good]


def test_a_run_played_from_one_cassette_tells_of_each_failed_test_its_own_answers(project: Path) -> None:
    (project / "test_app.py").write_text(
        WHOLE + WHOLE.replace("test_it_answers", "test_another").replace(" in answer", " == answer")
    )
    done = run_pytest(project, "--understudy-cassette=all.jsonl", TEXT="Hello", **REHEARSED)
    assert done.returncode == 1
    assert done.stdout.count("POST /v1/chat/completions: asked live, recorded in all.jsonl") == 1


def test_a_cassette_that_another_process_records_is_not_replaced(project: Path) -> None:
    (project / "test_app.py").write_text(WHOLE)
    options = ("--understudy-cassette=all.jsonl", "--understudy-record=again")
    with Recorder(project / "all.jsonl"):
        done = run_pytest(project, *options, TEXT="Hello", **REHEARSED)
    assert done.returncode == 1
    assert "understudy: the cassette all.jsonl is being recorded by another process" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_suite_that_does_not_ask_for_it_never_notices(project: Path) -> None:
    (project / "test_app.py").write_text("import sys\ndef test_it():\n    assert 'mitmproxy' not in sys.modules\n")
    assert run_pytest(project).returncode == 0


OTHERS = """
import asyncio, importlib.util, os, sys, threading
import auth, settings, store
import pytest

NAMES = ("HTTPS_PROXY", "SSL_CERT_FILE", "OPENAI_API_KEY", "NO_PROXY")
BEFORE = {name: os.environ.get(name) for name in NAMES}

@pytest.mark.anyio
async def test_async(understudy):
    await asyncio.sleep(0)
    check(understudy)

def test_sync(understudy):
    check(understudy)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()

def check(understudy):
    assert os.environ["HTTPS_PROXY"] == understudy.url != BEFORE["HTTPS_PROXY"]
    assert (understudy.asked, understudy.answered, understudy.missed, understudy.not_kept) == (0, 0, [], [])
    here = os.path.dirname(__file__)
    assert all(module.__file__.startswith(here) for module in (auth, settings, store))
    assert not {"mitmproxy", "addons", "api", "cli", "launch"} & set(sys.modules)
    assert threading.enumerate() == [threading.main_thread()]

def test_without():
    assert {name: os.environ.get(name) for name in NAMES} == BEFORE
"""


@pytest.mark.parametrize("option", ["--import-mode=importlib", "--import-mode=prepend"])
def test_a_project_may_own_our_names_and_finds_nothing_of_ours_in_its_process(project: Path, option: str) -> None:
    (project / "test_app.py").write_text(OTHERS)
    (project / "pytest.ini").write_text(f"[pytest]\npythonpath = .\naddopts = {option}\n")
    (project / "settings.py").write_text("")
    for name in ("auth", "store"):
        (project / name).mkdir()
        (project / name / "__init__.py").write_text("")

    done = run_pytest(project, "-k", "asyncio or not trio", HTTPS_PROXY="http://10.0.0.1:1", PYTHONPATH=str(project))
    assert done.returncode == 0, done.stdout
    assert processes.living_in(project.parent) == []


def test_the_proxy_ends_when_pytest_is_killed(project: Path) -> None:
    code = "import os\ndef test_it(understudy):\n    os.kill(os.getpid(), 9)\n"
    (project / "test_app.py").write_text(code)
    assert run_pytest(project).returncode == -9

    assert processes.still_there(processes.living_in(project.parent)) == []
