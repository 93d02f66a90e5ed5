"""Claude uses the tools of MCP servers within one answer: scripted turns, a real server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.mcp_loop import NO_MORE
from engine import Event
from tests import mcp_server as mcp
from tests.api.endpoints.test_responses import events_in
from tests.api.scripted import END, START, Scripted, client, text
from translate.turn import Message

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running() -> Iterator[mcp.McpServer]:
    with mcp.mcp_server() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_asked(running: mcp.McpServer) -> None:
    running.asked.clear()


def use(id: str, name: str, arguments: str = "{}", index: int = 0) -> list[Event]:
    start = {"type": "tool_use", "id": id, "name": name, "input": {}}
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        {
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": "input_json_delta", "partial_json": arguments},
        },
        {"type": "content_block_stop", "index": index},
    ]


CALLS: Event = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}


def body(server: mcp.McpServer, **fields: Any) -> dict[str, Any]:
    tool = {"type": "mcp", "server_label": "calc", "server_url": server.url, "require_approval": "never"}
    return {"model": "gpt-4o", "input": "Add.", "tools": [{**tool, **fields.pop("tool", {})}], **fields}


def asking(engine: Any) -> Any:
    return client(engine, mcp_servers=("http://127.0.0.1:*",))


def blocks(message: Message) -> list[str]:
    return [block["type"] for block in message.content]


async def test_a_tool_is_called_and_claude_goes_on(running: mcp.McpServer) -> None:
    engine = Scripted(
        [START, *text("Let me see."), *use("t1", "calc__add", '{"a": 1, "b": 2}', 1), CALLS],
        [START, *text("It is 3."), END],
    )
    async with asking(engine) as http:
        answer = (await http.post("/v1/responses", json=body(running))).json()

    listing, first, call, last = answer["output"]
    assert [tool["name"] for tool in listing["tools"]] == ["add", "draw", "fail.always"]
    assert (first["content"][0]["text"], last["content"][0]["text"]) == ("Let me see.", "It is 3.")
    assert {name: value for name, value in call.items() if name != "id"} == {
        "type": "mcp_call",
        "server_label": "calc",
        "name": "add",
        "arguments": '{"a": 1, "b": 2}',
        "output": "3",
        "error": None,
        "status": "completed",
        "approval_request_id": None,
    }
    assert [message.role for message in engine.turns[1].messages] == ["user", "assistant", "user"]
    assert blocks(engine.turns[1].messages[1]) == ["text", "tool_use"]
    assert engine.turns[1].messages[2].content[0]["content"] == [{"type": "text", "text": "3"}]
    assert answer["usage"]["output_tokens"] == 5
    assert [{name: value for name, value in tool.items() if value is not None} for tool in answer["tools"]] == [
        {"type": "mcp", "server_label": "calc", "server_url": running.url, "require_approval": "never"}
    ]


async def test_a_stream_tells_of_it_as_it_goes(running: mcp.McpServer) -> None:
    engine = Scripted([START, *use("t1", "calc__draw"), CALLS], [START, *text("Drawn."), END])
    async with asking(engine) as http:
        answer = await http.post("/v1/responses", json=body(running, stream=True))

    events = events_in(answer.text)
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert [kind for kind in kinds if kind.startswith("mcp")] == [
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_call.in_progress",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "mcp_call.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    # What Claude is shown, the app is not.
    assert blocks_of_result(engine) == ["image"]


def blocks_of_result(engine: Scripted) -> list[str]:
    return [block["type"] for block in engine.turns[1].messages[-1].content[0]["content"]]


async def test_calls_at_once_are_answered_together_each_in_its_place(running: mcp.McpServer) -> None:
    engine = Scripted(
        [START, *use("t1", "calc__fail_always"), *use("t2", "calc__add", '{"a": 1, "b": 1}', 1), CALLS],
        [START, *text("Well."), END],
    )
    async with asking(engine) as http:
        answer = (await http.post("/v1/responses", json=body(running))).json()

    _, failed, added, _ = answer["output"]
    assert (failed["name"], failed["status"], failed["output"]) == ("fail.always", "failed", None)
    assert "it never works" in failed["error"]
    assert (added["status"], added["output"]) == ("completed", "2")
    assert [block.get("is_error", False) for block in engine.turns[1].messages[2].content] == [True, False]


async def test_a_call_of_the_apps_own_tool_ends_the_answer(running: mcp.McpServer) -> None:
    mine = {"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}
    engine = Scripted(
        [START, *use("t1", "calc__add", '{"a": 1, "b": 1}'), *use("t2", "mine", index=1), CALLS],
        [START, *text("Done."), END],
    )
    asked = body(running)
    asked["tools"].append(mine)
    async with asking(engine) as http:
        first = (await http.post("/v1/responses", json=asked)).json()
        output = [{"type": "function_call_output", "call_id": "t2", "output": "ok"}]
        second = (
            await http.post("/v1/responses", json={**asked, "input": output, "previous_response_id": first["id"]})
        ).json()

    assert [item["type"] for item in first["output"]] == ["mcp_list_tools", "mcp_call", "function_call"]
    assert second["output"][-1]["content"][0]["text"] == "Done."
    given = [block["type"] for message in engine.turns[1].messages for block in message.content]
    assert given.count("tool_use") == given.count("tool_result") == 2


async def test_a_known_list_of_tools_is_not_requested_again(running: mcp.McpServer) -> None:
    engine = Scripted(
        [START, *use("t1", "calc__add", '{"a": 1, "b": 1}'), CALLS],
        [START, *text("2."), END],
        [START, *text("Yes."), END],
    )
    async with asking(engine) as http:
        first = (await http.post("/v1/responses", json=body(running))).json()
        second = (
            await http.post("/v1/responses", json=body(running, input="Sure?", previous_response_id=first["id"]))
        ).json()

    assert [item["type"] for item in second["output"]] == ["message"]
    assert [message.role for message in engine.turns[2].messages] == ["user", "assistant", "user", "assistant", "user"]
    assert engine.turns[2].tools == engine.turns[0].tools


async def test_no_more_calls_are_made_than_the_app_allows(running: mcp.McpServer) -> None:
    both = [*use("t1", "calc__draw"), *use("t2", "calc__draw", index=1)]
    engine = Scripted([START, *both, CALLS], [START, *text("Enough."), END])
    async with asking(engine) as http:
        answer = (await http.post("/v1/responses", json=body(running, max_tool_calls=1))).json()

    assert running.asked == ["draw"]
    assert [item["status"] for item in answer["output"][1:3]] == ["completed", "failed"]
    assert answer["output"][2]["error"] == NO_MORE


async def test_only_tools_that_are_wanted_are_offered(running: mcp.McpServer) -> None:
    engine = Scripted([START, *text("a"), END], [START, *text("a"), END])
    async with asking(engine) as http:
        await http.post("/v1/responses", json=body(running, tool={"allowed_tools": ["draw"]}))
        await http.post("/v1/responses", json=body(running, tool={"allowed_tools": {"read_only": True}}))

    assert [[tool["name"] for tool in turn.tools] for turn in engine.turns] == [["calc__draw"], ["calc__add"]]


@pytest.mark.parametrize(
    ("tool", "status", "param"),
    [
        ({"server_url": "https://elsewhere.example/mcp"}, 400, "tools[0].server_url"),
        ({"server_url": "http://127.0.0.1:1/mcp"}, 424, "tools"),
        ({"server_url": None}, 400, "tools[0].server_url"),
        ({"server_url": "file:///etc/passwd"}, 400, "tools[0].server_url"),
        ({"require_approval": "always"}, 400, "tools[0].require_approval"),
        ({"require_approval": None}, 400, "tools[0].require_approval"),
        ({"server_label": "a b"}, 400, "tools[0].server_label"),
    ],
)
async def test_an_mcp_tool_that_cannot_be_used_is_refused_with_its_parameter(
    running: mcp.McpServer, tool: dict[str, Any], status: int, param: str
) -> None:
    async with asking(Scripted()) as http:
        answer = await http.post("/v1/responses", json=body(running, tool=tool))

    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_what_it_takes_to_get_in_is_not_told(running: mcp.McpServer) -> None:
    engine = Scripted([START, *text("a"), END])
    secret = {"authorization": "in-secret", "headers": {"x-key": "in-secret"}}
    async with asking(engine) as http:
        answer = (await http.post("/v1/responses", json=body(running, tool=secret))).json()
        kept = (await http.get(f"/v1/responses/{answer['id']}")).text

    assert "Bearer in-secret" in running.seen
    assert "in-secret" not in json.dumps(answer) + kept
    assert "in-secret" not in repr(engine.turns)


async def test_without_allowed_servers_an_mcp_tool_is_refused(running: mcp.McpServer) -> None:
    async with client(Scripted()) as http:
        answer = await http.post("/v1/responses", json=body(running))

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools[0].server_url")
