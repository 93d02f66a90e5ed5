"""`understudy explain` says what becomes of a request, and by its exit status whether it would be answered."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.explain import MOST_CHARACTERS, MOST_MESSAGES

CHAT: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}], "seed": 1}


def explain(body: Any, *options: str) -> Any:
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return CliRunner().invoke(app, ["explain", "-", *options], input=text)


def row(done: Any, key: str) -> list[str]:
    (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == [key]]
    return list(line.split(maxsplit=2))


def test_a_request_is_explained_key_by_key(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({**CHAT, "max_tokens": 5}), "utf-8")

    done = CliRunner().invoke(app, ["explain", str(file)])

    assert done.exit_code == 0
    assert done.stdout.splitlines()[:2] == [
        "POST /v1/chat/completions",
        "model: gpt-5-mini is answered by claude-haiku-5-5",
    ]
    assert row(done, "seed")[1] == "ignored"
    assert row(done, "messages[0].content")[1:] == ["honoured"]
    assert "Claude is asked:\n  system: (none)\n  user: Hi\n  max_tokens: 5" in done.stdout


def test_json_has_the_keys_and_the_turn() -> None:
    done = explain(CHAT, "--json", "--model-map", "gpt-5*=claude-opus-4-1")
    told = json.loads(done.stdout)

    assert (told["endpoint"], told["model"]) == ("/v1/chat/completions", "gpt-5-mini")
    assert (told["claude_model"], told["error"]) == ("claude-opus-4-1", None)
    assert {key["path"]: key["what"] for key in told["keys"]}["seed"] == "ignored"
    assert told["turns"][0]["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_request_that_would_be_refused_ends_with_1(options: tuple[str, ...]) -> None:
    done = explain({**CHAT, "audio": {"voice": "a"}}, *options)

    assert done.exit_code == 1
    if options:
        error = json.loads(done.stdout)["error"]
        assert (error["status"], error["param"], error["code"]) == (400, "audio", "unsupported_parameter")
    else:
        assert row(done, "audio")[1] == "refused"
        assert done.stdout.splitlines()[-1].startswith("The app gets 400: Unsupported parameter: 'audio'")


DEEP = '{"model": "gpt-4o", "messages": ' + "[" * 3000 + "]" * 3000 + "}"
"""A body that is JSON, and deeper than the functions that translate a request can go."""


@pytest.mark.parametrize(
    ("body", "options", "words"),
    [
        ('{"a":\n [1,]}', (), "stdin: this is not a JSON object. Line 2"),
        ("[]", (), "stdin: this is not a JSON object."),
        (b"\xff", (), "stdin: this is not a JSON object."),
        ({"model": "gpt-4o"}, (), "chat, responses, completions"),
        (CHAT, ("--endpoint", "images"), "'images' is not one of chat"),
        (DEEP, (), "the request is nested too deeply to be explained."),
        (DEEP, ("--json",), "the request is nested too deeply to be explained."),
    ],
    ids=["no JSON", "no object", "no text", "no endpoint", "another endpoint", "deep", "deep, as JSON"],
)
def test_what_cannot_be_explained_is_one_line_and_status_2(body: Any, options: tuple[str, ...], words: str) -> None:
    done = explain(body, *options)

    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert words in done.stderr


def test_a_file_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["explain", str(tmp_path / "none.json")])

    assert (done.exit_code, done.stdout) == (2, "")
    assert "none.json: No such file or directory" in done.stderr


def test_the_endpoint_can_be_named() -> None:
    done = explain({**CHAT, "input": "Hi"}, "--endpoint", "responses")

    assert done.exit_code == 1
    assert row(done, "messages")[1] == "refused"


def test_long_conversations_texts_and_files_are_cut() -> None:
    file = {"type": "file", "file": {"filename": "a.txt", "file_data": "aGVsbG8gdGhlcmU="}}
    said = [{"role": ("user", "assistant")[n % 2], "content": f"said {n}"} for n in range(100)]
    body = {**CHAT, "messages": [*said, {"role": "user", "content": [{"type": "text", "text": "x" * 5000}, file]}]}

    done = explain(body)

    assert f"({101 - MOST_MESSAGES} more messages)" in done.stdout
    assert done.stdout.count("said ") == MOST_MESSAGES - 1
    assert f"{'x' * MOST_CHARACTERS}… (5000 characters)" in done.stdout
    assert "(document, text/plain, 11 characters)" in done.stdout


def test_nothing_in_a_request_steers_the_terminal() -> None:
    done = explain({**CHAT, "messages": [{"role": "user", "content": "\x1b[31mred", "\x1b[2J": 1}]})

    assert done.exit_code == 0
    assert "\x1b" not in done.stdout


def test_nothing_is_made_in_the_data_folder(tmp_path: Path) -> None:
    assert explain({"model": "gpt-4o", "input": "Hi"}).exit_code == 0
    assert list(tmp_path.iterdir()) == []
