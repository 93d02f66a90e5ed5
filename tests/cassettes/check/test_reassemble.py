import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cassettes.assemble import assemble
from cassettes.check.reassemble import events_for, reassembled, rewrite
from cassettes.format import Entry
from cassettes.read import read

FIXTURES = sorted((Path(__file__).parents[3] / "fixtures" / "exchanges").glob("*.jsonl"))
STREAMED = [path for path in FIXTURES if '"text/event-stream' in path.read_text(encoding="utf-8")]
STREAM = "text/event-stream"


def entry_of(path: Path) -> Entry:
    (entry,) = [found for found in read(path) if isinstance(found, Entry)]
    return entry


def edited(message: dict[str, Any]) -> dict[str, Any]:
    """Replace every text of an answer, as a person may do with an editor."""
    new = copy.deepcopy(message)
    for choice in new.get("choices", []):
        if choice["message"].get("content") is not None:
            choice["message"]["content"] = "Grüße\nfrom  the editor "
    for item in new.get("output", []):
        for part in item.get("content") or []:
            part["text"] = "Grüße\nfrom  the editor "
    new["usage" if "usage" in new else "model"] = "edited"
    return new


@pytest.mark.parametrize("path", STREAMED, ids=lambda path: path.stem)
def test_the_events_made_of_a_message_assemble_to_it(path: Path) -> None:
    entry = entry_of(path)
    assert assemble(STREAM, b"".join(events_for(entry.message, entry.request.json))) == entry.message


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_an_edited_message_is_what_the_app_gets(path: Path, tmp_path: Path) -> None:
    cassette = tmp_path / "a.jsonl"
    shutil.copy(path, cassette)
    lines = [json.loads(line) for line in cassette.read_text(encoding="utf-8").splitlines()]
    lines[-1]["message"] = edited(lines[-1]["message"])
    cassette.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    assert rewrite(cassette) == ([lines[1]["id"]], [])

    entry = entry_of(cassette)
    assert entry.message == lines[-1]["message"]
    assert assemble(str(entry.headers["content-type"]), entry.body) == entry.message
    offsets = [chunk.at_ms for chunk in entry.chunks]
    assert offsets == sorted(offsets)
    assert rewrite(cassette) == ([], [])


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_an_answer_that_nobody_edited_stays_as_it_is(path: Path) -> None:
    assert reassembled(entry_of(path)) is None


def test_only_the_edited_entries_of_a_cassette_change(tmp_path: Path) -> None:
    cassette = tmp_path / "a.jsonl"
    first, second = STREAMED[:2]
    text = first.read_text(encoding="utf-8")
    lines = second.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    end = json.loads(lines[-1])
    end["message"] = edited(end["message"])
    cassette.write_text(text + "".join(lines[:-1]) + json.dumps(end) + "\n", encoding="utf-8")

    done, problems = rewrite(cassette)

    assert (done, problems) == ([end["id"]], [])
    assert cassette.read_text(encoding="utf-8").startswith(text)


@pytest.mark.parametrize(
    "message", [{"object": "list"}, {"no": "object"}, "text", 3, {"object": "chat.completion", "choices": 3}]
)
def test_a_message_that_is_no_answer_is_told_and_left(message: Any, tmp_path: Path) -> None:
    cassette = tmp_path / "a.jsonl"
    lines = [json.loads(line) for line in STREAMED[0].read_text(encoding="utf-8").splitlines()]
    lines[-1]["message"] = message
    before = "".join(json.dumps(line) + "\n" for line in lines)
    cassette.write_text(before, encoding="utf-8")

    done, problems = rewrite(cassette)

    assert done == []
    assert lines[1]["id"] in problems[0]
    assert cassette.read_text(encoding="utf-8") == before
