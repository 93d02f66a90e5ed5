"""Uploaded files reach Claude where a part names them, and are stored once."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from api import uploaded_files as module
from storage.database import Database
from storage.stores import Stores
from storage.tables import responses
from tests.api.scripted import END, START, Scripted, client, text

pytestmark = pytest.mark.anyio

ANSWER = [START, *text("Aye."), END]
PDF = b"%PDF-1.4 a document"
# One white pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg==")
ANN, BOB = {"authorization": "Bearer ann"}, {"authorization": "Bearer bob"}


async def upload(http: httpx.AsyncClient, name: str, data: bytes) -> str:
    made = await http.post("/v1/files", files={"file": (name, data)}, data={"purpose": "user_data"}, headers=ANN)
    return str(made.json()["id"])


def blocks(engine: Scripted, message: int = 0) -> list[Any]:
    return [dict(block) for block in engine.turns[-1].messages[message].content]


async def test_a_chat_names_a_pdf_and_a_text() -> None:
    engine = Scripted(ANSWER)
    async with client(engine) as http:
        ids = await upload(http, "a.pdf", PDF), await upload(http, "notes.txt", b"some notes")
        content = [{"type": "file", "file": {"file_id": id}} for id in ids]
        body = {"model": "gpt-4o", "store": True, "messages": [{"role": "user", "content": content}]}
        answer = await http.post("/v1/chat/completions", json=body, headers=ANN)
        kept = await http.get(f"/v1/chat/completions/{answer.json()['id']}/messages", headers=ANN)

    assert answer.status_code == 200
    pdf, notes = blocks(engine)
    assert (base64.b64decode(pdf["source"]["data"]), pdf["title"]) == (PDF, "a.pdf")
    assert (notes["source"]["data"], notes["title"]) == ("some notes", "notes.txt")
    assert kept.json()["data"][0]["content"] == content


async def test_a_response_names_a_file_and_an_image_and_its_conversation_goes_on(tmp_path: Path) -> None:
    engine = Scripted(ANSWER, ANSWER)
    with Database.open(tmp_path / "kept.db") as database:
        async with Stores.on(database) as stores, client(engine, stores=stores) as http:
            pdf, image = await upload(http, "a.pdf", PDF), await upload(http, "pixel", PNG)
            said = [{"type": "input_file", "file_id": pdf}, {"type": "input_image", "file_id": image, "detail": "low"}]
            body = {"model": "gpt-4o", "input": [{"role": "user", "content": said}]}
            first = await http.post("/v1/responses", json=body, headers=ANN)
            again = {"model": "gpt-4o", "input": "And?", "previous_response_id": first.json()["id"]}
            second = await http.post("/v1/responses", json=again, headers=ANN)
            items = (await http.get(f"/v1/responses/{first.json()['id']}/input_items", headers=ANN)).json()["data"]
            rows = database.read(lambda connection: connection.execute(select(responses.c.own_items)).scalars().all())

    assert (first.status_code, second.status_code) == (200, 200)
    for turn in engine.turns:
        one, two = turn.messages[0].content
        assert base64.b64decode(one["source"]["data"]) == PDF
        assert (base64.b64decode(two["source"]["data"]), two["source"]["media_type"]) == (PNG, "image/png")
    assert [part["file_id"] for part in items[0]["content"]] == [pdf, image]
    assert base64.b64encode(PDF).decode() not in "".join(rows)
    assert base64.b64encode(PNG).decode() not in "".join(rows)


async def test_a_tools_output_names_a_file() -> None:
    engine = Scripted(ANSWER)
    async with client(engine) as http:
        id = await upload(http, "a.pdf", PDF)
        call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_file", "file_id": id}]}
        tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
        body = {"model": "gpt-4o", "input": [{"role": "user", "content": "Look."}, call, output], "tools": [tool]}
        answer = await http.post("/v1/responses", json=body, headers=ANN)

    assert answer.status_code == 200, answer.text
    (result,) = blocks(engine, -1)
    assert base64.b64decode(result["content"][0]["source"]["data"]) == PDF


@pytest.mark.parametrize("endpoint", ["chat/completions", "responses", "responses/input_tokens"])
async def test_anothers_file_and_one_that_is_gone_are_not_there(endpoint: str) -> None:
    engine = Scripted()
    async with client(engine) as http:
        id = await upload(http, "a.pdf", PDF)
        chat = {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": id}}]}]}
        response = {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": id}]}]}
        body = {"model": "gpt-4o", **(chat if endpoint.startswith("chat") else response)}
        theirs = await http.post(f"/v1/{endpoint}", json=body, headers=BOB)
        await http.delete(f"/v1/files/{id}", headers=ANN)
        gone = await http.post(f"/v1/{endpoint}", json=body, headers=ANN)

    where = "messages[0].content[0].file.file_id" if endpoint.startswith("chat") else "input[0].content[0].file_id"
    for answer in (theirs, gone):
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert (error["code"], error["param"], error["message"]) == (
            *("file_not_found", where),
            f"No such File object: {id}",
        )
    assert engine.turns == []


async def test_a_conversation_whose_file_is_gone_says_so() -> None:
    async with client(Scripted(ANSWER)) as http:
        id = await upload(http, "a.pdf", PDF)
        said = [{"role": "user", "content": [{"type": "input_file", "file_id": id}]}]
        first = await http.post("/v1/responses", json={"model": "gpt-4o", "input": said}, headers=ANN)
        await http.delete(f"/v1/files/{id}", headers=ANN)
        again = {"model": "gpt-4o", "input": "And?", "previous_response_id": first.json()["id"]}
        second = await http.post("/v1/responses", json=again, headers=ANN)

    assert (second.status_code, second.json()["error"]["param"]) == (404, "input")


async def test_files_are_bounded_together_and_each_mention_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2 * len(PDF))
    engine = Scripted(ANSWER, ANSWER)
    async with client(engine) as http:
        one, two = await upload(http, "a.pdf", PDF), await upload(http, "b.pdf", PDF)

        async def ask(*ids: str, after: str | None = None) -> httpx.Response:
            said = [{"type": "input_file", "file_id": id} for id in ids]
            body = {"model": "gpt-4o", "input": [{"role": "user", "content": said}], "previous_response_id": after}
            return await http.post("/v1/responses", json=body, headers=ANN)

        both, twice = await ask(one, two), await ask(one, one)
        mixed, often = await ask(one, two, one), await ask(one, one, one)
        later = await ask(one, after=twice.json()["id"])
        content = [{"type": "file", "file": {"file_id": one}}] * 3
        chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}
        chatted = await http.post("/v1/chat/completions", json=chat, headers=ANN)

    assert (both.status_code, twice.status_code) == (200, 200)
    for answer in (mixed, often, later, chatted):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_file", "file_id": 5, "file_data": "data:text/plain,Hi"},
        {"type": "input_file", "file_id": "file-1", "file_url": "https://example.com/a.pdf"},
        {"type": "input_file", "file_id": "", "file_data": "data:text/plain,Hi"},
    ],
)
async def test_a_part_that_brings_its_own_bytes_names_no_file(part: dict[str, Any]) -> None:
    async with client(Scripted(ANSWER)) as http:
        body = {"model": "gpt-4o", "input": [{"role": "user", "content": [part]}]}
        answer = await http.post("/v1/responses", json=body)
        items = (await http.get(f"/v1/responses/{answer.json()['id']}/input_items")).json()["data"]

    assert answer.status_code == 200, answer.text
    assert json.dumps(part) == json.dumps(items[0]["content"][0])
