"""The models that can be asked for."""

import pytest

from tests.api.scripted import Scripted, client

pytestmark = pytest.mark.anyio


async def test_the_list_is_openais_shape() -> None:
    async with client(Scripted(), model_map={"my-model": "opus"}) as http:
        body = (await http.get("/v1/models")).json()

    assert body["object"] == "list"
    assert {"id": "my-model", "object": "model", "created": 1_700_000_000, "owned_by": "understudy"} in body["data"]


async def test_one_model_tells_who_answers_for_it() -> None:
    async with client(Scripted(), model_map={"org/my model": "opus"}) as http:
        answer = await http.get("/v1/models/org%2Fmy%20model")

    assert answer.json()["id"] == "org/my model"
    assert answer.headers["x-understudy-model"] == "opus"


async def test_a_name_that_nothing_maps_does_not_exist() -> None:
    async with client(Scripted()) as http:
        answer = await http.get("/v1/models/llama")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
