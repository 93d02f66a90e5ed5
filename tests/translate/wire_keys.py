"""Which keys the objects on OpenAI's wire have: facts, read from recordings of OpenAI's own answers.

`uv run python -m tests.translate.wire_keys` writes `fixtures/wire_keys.json` from the corpus that `UNDERSTUDY_CORPUS`
names. It holds names, counts and months, and nothing of what the recordings say.

An object has a *kind*: what it is, and where it stands. ``keys`` are those that the newest three recordings with such
an object all have. The recordings begin in October 2025.
"""

import datetime
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
TABLE = Path(__file__).parents[2] / "fixtures" / "wire_keys.json"
SINCE = "2025-10-01"
NEWEST = 3

type Found = Iterator[tuple[str, Mapping[str, Any]]]
"""The kind of each object, and the object."""


def objects(value: Any) -> Found:
    """Yield the objects of a body, a chunk or an event."""
    match value:
        case {"object": "chat.completion"}:
            yield from chat(value, "chat")
        case {"object": "chat.completion.chunk"}:
            yield from chat(value, "chunk" if value["choices"] else "chunk with usage")
        case {"object": "text_completion"}:
            yield "completion" if value.get("usage") else "completion chunk", value
            yield from (("completion choice", choice) for choice in value["choices"])
        case {"object": "response"}:
            yield from response(value, "body")
        case {"type": str() as kind, "sequence_number": int()}:
            yield f"event {kind}", value
            if "response" in value:
                yield from response(value["response"], kind)
            if "item" in value:
                yield from item(value["item"], kind.rpartition(".")[2])
            if isinstance(value.get("part"), dict):
                yield f"part {value['part']['type']}", value["part"]
        case {"error": dict() as error}:
            yield "error body", value
            yield "error", error
        case _:
            pass


def chat(value: Mapping[str, Any], kind: str) -> Found:
    """Yield the objects of a chat completion or of a chunk."""
    yield kind, value
    if usage := value.get("usage"):
        yield "chat usage", usage
        yield from ((name, usage[name]) for name in ("prompt_tokens_details", "completion_tokens_details"))
    for choice in value["choices"]:
        yield f"{kind} choice", choice
        if "message" in choice:
            yield "message", choice["message"]
        elif "role" in choice["delta"]:
            yield "first delta", choice["delta"]


def response(value: Mapping[str, Any], place: str) -> Found:
    """Yield the objects of a response."""
    yield f"response in {place}", value
    for name in ("text", "reasoning"):
        yield f"response {name}", value[name]
    if usage := value.get("usage"):
        yield "response usage", usage
        yield from ((name, usage[name]) for name in ("input_tokens_details", "output_tokens_details"))
    for tool in value["tools"]:
        yield f"tool {tool['type']}", tool
    for each in value["output"]:
        yield from item(each, "done")


def item(value: Mapping[str, Any], state: str) -> Found:
    """Yield an output item and its parts."""
    yield f"item {value['type']} {state}", value
    if isinstance(content := value.get("content"), list):
        yield from ((f"part {part['type']}", part) for part in content)


def told(response: Mapping[str, Any]) -> list[Any]:
    """Return the JSON of a recorded answer: its body, or its events."""
    if "sse" not in response:
        return [response["body"]]
    lines = (line.removeprefix("data:").strip() for line in response["sse"].splitlines() if line.startswith("data:"))
    return [json.loads(line) for line in lines if line.startswith("{")]


def day(values: list[Any]) -> str:
    """Return the day of a recorded answer; "" if it has none."""
    for value in values:
        created = value.get("created") or value.get("created_at") or (value.get("response") or {}).get("created_at")
        if created:
            return datetime.datetime.fromtimestamp(created, datetime.UTC).date().isoformat()
    return ""


def table(corpus: Path) -> dict[str, Any]:
    """Return the table: for each kind how many recordings have it, their first and last month, and its keys."""
    recordings: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    for path in sorted(corpus.glob("openai.*/*.json")):
        exchange = json.loads(path.read_text(encoding="utf-8"))
        values = told(exchange["response"])
        on = day(values)
        is_error = exchange["response"]["status"] >= 400
        # Errors have no date. Their form has stayed the same.
        if not is_error and (on < SINCE or exchange["kind"] != "recorded"):
            continue
        seen: dict[str, set[str]] = {}
        for value in values:
            for kind, found in objects(value):
                seen[kind] = seen.get(kind, set(found)) & set(found)
        for kind, keys in seen.items():
            recordings[kind].append((on, keys))
    return {kind: facts(found) for kind, found in sorted(recordings.items())}


def facts(found: list[tuple[str, set[str]]]) -> dict[str, Any]:
    """Return the facts about one kind."""
    found.sort(key=lambda one: one[0])
    keys = set.intersection(*(keys for _, keys in found[-NEWEST:]))
    return {"recordings": len(found), "first": found[0][0][:7], "last": found[-1][0][:7], "keys": sorted(keys)}


if __name__ == "__main__":
    TABLE.write_text(json.dumps(table(CORPUS), indent=1) + "\n", encoding="utf-8")
