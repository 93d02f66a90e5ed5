"""The commands that do something once more with a cassette, as a person runs them."""

import json
import subprocess
from pathlib import Path

import pytest

from tape.format import Entry
from tape.read import read
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import ROOT, UNDERSTUDY, clean_environment

FIXTURES = ROOT / "fixtures" / "exchanges"


def understudy(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(home, UNDERSTUDY_REHEARSAL="1", UNDERSTUDY_REHEARSAL_DELAY_S="0", **more)
    return subprocess.run([UNDERSTUDY, *arguments], env=env, cwd=home, capture_output=True, text=True, timeout=GUARD_S)


@pytest.fixture
def cassette(home: Path) -> Path:
    """Two exchanges."""
    home.mkdir()
    path = home / "a.jsonl"
    whole, streamed = (FIXTURES / f"{name}.jsonl" for name in ("chat_whole", "chat_streamed"))
    path.write_text(whole.read_text() + "".join(streamed.read_text().splitlines(keepends=True)[1:]))
    return path


def entries(path: Path) -> list[Entry]:
    return [entry for entry in read(path) if isinstance(entry, Entry)]


def test_retranslate_ends_with_1_if_an_app_would_get_something_else(cassette: Path, home: Path) -> None:
    same = understudy(home, "retranslate", str(cassette))
    assert (same.returncode, same.stdout) == (0, "2 same, 0 differs, 0 skipped\n")

    cassette.write_text(cassette.read_text().replace('"text": "This"', '"text": "That"'))
    other = understudy(home, "retranslate", str(cassette))
    assert other.returncode == 1
    assert '+     "content": "That is a rehearsal' in other.stdout or "That is a" in other.stdout
    assert "differs" in other.stdout


def test_what_a_terminal_has_no_character_for_is_written_as_its_escape(cassette: Path, home: Path) -> None:
    cassette.write_text(cassette.read_text().replace('"text": "This"', '"text": "日本"'))
    done = understudy(home, "retranslate", str(cassette), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\u65e5\\u672c" in done.stdout


def test_whoever_has_read_enough_is_told_nothing_more(cassette: Path, home: Path) -> None:
    cassette.write_text(cassette.read_text().replace('"text": "This"', f'"text": "{"That " * 50_000}"'))
    command = f'"{UNDERSTUDY}" retranslate "{cassette}" | head -1'
    shell = ["/bin/sh", "-c", command]
    done = subprocess.run(shell, env=clean_environment(home), capture_output=True, text=True, timeout=GUARD_S)
    assert done.stdout.endswith("differs\n") and done.stderr == ""


def test_reassemble_makes_anew_what_was_edited(cassette: Path, home: Path) -> None:
    lines = [json.loads(line) for line in cassette.read_text().splitlines()]
    lines[-1]["message"]["choices"][0]["message"]["content"] = "By hand."
    cassette.write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = understudy(home, "reassemble", str(cassette))

    assert done.stdout.endswith("1 made anew\n")
    assert b'"By"' in entries(cassette)[1].body and b"rehearsal" not in entries(cassette)[1].body


def test_again_asks_live_and_records_the_answer_beside_the_old(cassette: Path, home: Path) -> None:
    done = understudy(home, "again", str(cassette), "2", "--model", "gpt-4o-mini", "--set", "max_tokens=5")

    assert done.returncode == 0, done.stderr
    assert "200 → 200" in done.stdout
    *old, new = entries(cassette)
    assert len(old) == 2
    assert new.request.json == {**old[1].request.json, "model": "gpt-4o-mini", "max_tokens": 5}
    assert new.message["choices"][0]["finish_reason"] == "length"


def test_check_says_what_changed_in_shape_and_not_in_wording(cassette: Path, home: Path) -> None:
    assert understudy(home, "check", str(cassette)).stdout.endswith("0 of 2 have changed\n")

    text = cassette.read_text()
    cassette.write_text(
        text.replace('"max_tokens"', '"x"').replace('"content": "Hello"', '"content": "[rehearse: error=400]"')
    )
    changed = understudy(home, "check", str(cassette))

    assert changed.returncode == 1
    assert changed.stdout.endswith("2 of 2 have changed\n")
    assert '+ "status": 400' in changed.stdout


def test_a_fixture_is_made_of_one_exchange(cassette: Path, home: Path) -> None:
    made = understudy(home, "fixture", str(cassette), "2", "--into", "one.jsonl")
    assert made.returncode == 0
    assert [entry.id for entry in entries(home / "one.jsonl")] == [entries(cassette)[1].id]
    assert "is there already" in understudy(home, "fixture", str(cassette), "1", "--into", "one.jsonl").stderr


@pytest.mark.parametrize("command", ["retranslate", "reassemble", "again", "check"])
def test_a_mistake_is_one_line_and_status_2(command: str, home: Path) -> None:
    home.mkdir()
    (home / "no.jsonl").write_bytes(b"\xff\xfe nothing of ours\n")
    for name in ("none.jsonl", "no.jsonl"):
        done = understudy(home, command, name)
        assert done.returncode == 2, done.stdout
        assert done.stderr.count("\n") == 1
        assert name in done.stderr
