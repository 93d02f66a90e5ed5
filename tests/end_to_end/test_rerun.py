"""The commands that do something once more with a cassette, as a person runs them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from cassettes.format import Entry
from cassettes.read import read
from tests.end_to_end.cloud import GUARD_S
from tests.end_to_end.understudy import ROOT, UNDERSTUDY, clean_environment, serve

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


LOOK = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
FRESH: list[tuple[str, dict[str, Any]]] = [
    ("chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": "[rehearse: think]"}], "reasoning_effort": "high"}),
    ("chat/completions", {"messages": [{"role": "user", "content": "Twice"}], "n": 2}),
    ("chat/completions", {"messages": [{"role": "user", "content": "[rehearse: cut after=3]"}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": "[rehearse: sse-error=overloaded_error after=3]"}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": "[rehearse: error=400]"}]}),
    ("responses", {"input": "Search [rehearse: search]", "tools": [{"type": "web_search"}]}),
    ("responses", {"input": "Hello", "tools": [{"type": "custom", "name": "free"}], "tool_choice": "required"}),
    ("responses", {"input": "Too much [rehearse: words=50]", "max_output_tokens": 16}),
    ("responses", {"input": "In the background", "background": True}),
]  # fmt: skip


def test_a_fresh_cassette_has_no_difference(home: Path) -> None:
    env = clean_environment(home, UNDERSTUDY_REHEARSAL="1", UNDERSTUDY_REHEARSAL_DELAY_S="0", UNDERSTUDY_RETRIES="0")
    cassette = home / "fresh.jsonl"
    with (
        serve(env, "--record", str(cassette)) as proxy,
        httpx.Client(
            proxy=proxy.url, verify=proxy.tls(), timeout=GUARD_S, base_url="https://api.openai.com/v1/"
        ) as client,
    ):
        for path, body in FRESH:
            for stream in (False, True):
                client.post(path, json={"model": "gpt-5", "stream": stream, **body})
        # Reasoning that is sent back: sealed, by the app; and by the id of a response that is kept.
        for more in ({"store": False, "include": ["reasoning.encrypted_content"]}, {}):
            first = {"model": "gpt-5", "tools": [LOOK], "reasoning": {"effort": "high"}, **more}
            asked: list[Any] = [{"role": "user", "content": "Look [rehearse: think tool]"}]
            answer = client.post("responses", json={**first, "input": asked}).json()
            call = next(item for item in answer["output"] if item["type"] == "function_call")
            found = {"type": "function_call_output", "call_id": call["call_id"], "output": "found"}
            on = (
                {"input": [*asked, *answer["output"], found]}
                if more
                else {"input": [found], "previous_response_id": answer["id"]}
            )
            assert client.post("responses", json={**first, **on}).status_code == 200
        proxy.end()

    done = understudy(home, "retranslate", str(cassette))
    assert done.returncode == 0, done.stdout
    assert ", 0 differs, " in done.stdout and "sealed" not in done.stdout
    told = entries(cassette)
    assert len(told) == 2 * len(FRESH) + 4
    assert int(done.stdout.splitlines()[-1].split()[0]) >= len(told) - 8, done.stdout

    # Without the answer that the reasoning came with, nobody can say what is in its seal.
    sealed = next(n for n, entry in enumerate(told, start=1) if "gAAAA" in entry.request.body.decode())
    alone = understudy(home, "retranslate", str(cassette), str(sealed))
    assert alone.returncode == 0
    assert "same: 1 sealed reasoning could not be opened, and was not compared" in alone.stdout


def test_a_character_that_the_terminal_lacks_is_escaped(cassette: Path, home: Path) -> None:
    cassette.write_text(cassette.read_text().replace('"text": "This"', '"text": "日本"'))
    done = understudy(home, "retranslate", str(cassette), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\u65e5\\u672c" in done.stdout


def test_a_closed_pipe_causes_no_error_message(cassette: Path, home: Path) -> None:
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

    assert done.stdout.endswith("1 rebuilt\n")
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
    assert "already exists" in understudy(home, "fixture", str(cassette), "1", "--into", "one.jsonl").stderr


@pytest.mark.parametrize("command", ["retranslate", "reassemble", "again", "check"])
def test_a_mistake_is_one_line_and_status_2(command: str, home: Path) -> None:
    home.mkdir()
    (home / "no.jsonl").write_bytes(b"\xff\xfe nothing of ours\n")
    for name in ("none.jsonl", "no.jsonl"):
        done = understudy(home, command, name)
        assert done.returncode == 2, done.stdout
        assert done.stderr.count("\n") == 1
        assert name in done.stderr
