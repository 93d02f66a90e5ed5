"""A request's body is decoded once, whoever reads it and however often."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.access import Access
from api.client_identity import identity_of
from api.http.server import Request
from api.request import ApiRequest
from auth.keys.budgets import Budgets
from auth.keys.clients import Clients
from storage.database import Database
from tests.api.scripted import END, START, Scripted, client, text
from translate.errors import OpenAIError

pytestmark = pytest.mark.anyio

MARK = "a text that nothing else has"
ANSWER = [START, *text("Hello."), END]
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": MARK}]}


def request(body: bytes) -> ApiRequest:
    http = Request("POST", "/v1/responses", "", (), body)
    return ApiRequest(http, identity_of(http, by_key=False))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what decodes JSON that holds the mark: every way that the standard library and msgspec have."""
    found: list[str] = []

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def decode(*arguments: Any, **options: Any) -> Any:
            data = next(one for one in arguments if isinstance(one, str | bytes | bytearray | memoryview))
            if MARK.encode() in (data.encode() if isinstance(data, str) else bytes(data)):
                found.append(name)
            return real(*arguments, **options)

        return decode

    class CountingDecoder:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.decode = counting("msgspec.json.Decoder", msgspec_decoder(*arguments, **options).decode)

    msgspec_decoder = msgspec.json.Decoder
    monkeypatch.setattr("msgspec.json.decode", counting("msgspec.json.decode", msgspec.json.decode))
    monkeypatch.setattr("msgspec.json.Decoder", CountingDecoder)
    # json.loads and json.load end here.
    monkeypatch.setattr("json.JSONDecoder.raw_decode", counting("json", json.JSONDecoder.raw_decode))
    return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "store": True}),
        ("/v1/chat/completions", {**CHAT, "session_id": "s1"}),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": MARK}),
        ("/v1/responses", {"model": "gpt-4o", "input": MARK}),
        ("/v1/responses", {"model": "gpt-4o", "input": MARK, "background": True, "store": True}),
        ("/v1/responses/compact", {"model": "gpt-4o", "input": MARK}),
        ("/v1/conversations", {"items": [{"type": "message", "role": "user", "content": MARK}]}),
    ],
)
async def test_a_body_is_decoded_once(path: str, body: dict[str, Any], tmp_path: Path, decoded: list[str]) -> None:
    with Database.open(tmp_path / "keys.db") as database:
        clients = Clients(database)
        secret = clients.make("a")
        async with Budgets(database) as budgets, client(Scripted(ANSWER), access=Access(clients, budgets)) as http:
            answer = await http.post(path, json=body, headers={"authorization": f"Bearer {secret}"})

    assert answer.status_code == 200, answer.text
    assert decoded == ["msgspec.json.decode"]


async def test_a_form_is_not_decoded_as_json(decoded: list[str]) -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/files", data={"purpose": "user_data"}, files={"file": ("a.txt", MARK.encode())})
        upload = {"bytes": 100, "filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
        id = (await http.post("/v1/uploads", json=upload)).json()["id"]
        part = await http.post(f"/v1/uploads/{id}/parts", files={"data": ("a", MARK.encode())})

    assert (answer.status_code, part.status_code) == (200, 200)
    assert decoded == []


def test_a_body_that_cannot_be_decoded_is_tried_once(decoded: list[str]) -> None:
    broken = request(f'{{"model": "{MARK}"'.encode())

    for _ in range(2):
        with pytest.raises(OpenAIError, match="could not parse the JSON body"):
            _ = broken.json
    assert (broken.model, broken.is_for_the_background) == ("", False)
    assert decoded == ["msgspec.json.decode"]


@pytest.mark.parametrize(
    ("body", "model", "in_background"),
    [
        (b'{"model": "gpt-4o", "background": true}', "gpt-4o", True),
        (b'{"model": 4, "background": "true"}', "", False),
        (b'{"background": 1}', "", False),
        (b"[]", "", False),
        (b"", "", False),
    ],
)
def test_model_and_background_are_read_without_decoding_the_rest(body: bytes, model: str, in_background: bool) -> None:
    asked = request(body)

    assert (asked.model, asked.is_for_the_background) == (model, in_background)


def test_another_body_leaves_the_request_as_it_was() -> None:
    first = request(b'{"model": "a"}')
    second = first.with_json({**first.json, "model": "b"})

    assert (first.model, second.model) == ("a", "b")
    assert (request(b"").has_body, first.has_body, second.has_body) == (False, True, True)
