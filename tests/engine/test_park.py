"""The server's side of the protocol, message by message."""

from typing import Any

import pytest

from engine.park import Park


def call(id: int, tool_use_id: str) -> dict[str, Any]:
    meta = {"claudecode/toolUseId": tool_use_id}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "f", "arguments": {}, "_meta": meta}}


def test_the_park_accepts_the_offered_protocol_version() -> None:
    told = Park().receive("r", {"method": "initialize", "id": 0, "params": {"protocolVersion": "2025-11-25"}})

    assert told is not None
    assert told["result"]["protocolVersion"] == "2025-11-25"
    assert told["result"]["capabilities"] == {"tools": {"listChanged": True}}


def test_the_park_lists_every_offered_name() -> None:
    park = Park()
    changes = [park.offer(["b", "a"]), park.offer(["a"]), park.offer(["c"])]
    listed = park.receive("r", {"method": "tools/list", "id": 1})

    assert changes == [True, False, True]
    assert listed is not None
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["a", "b", "c"]
    assert park.listed == {"a", "b", "c"}


def test_a_call_waits_until_it_is_resolved() -> None:
    park = Park()
    answers = [park.receive("r1", call(1, "t1")), park.receive("r2", call(2, "t2"))]

    assert answers == [None, None]
    assert park.waits_for(["t1", "t2"])
    assert not park.waits_for(["t1", "t3"])
    assert park.resolve("t2", [{"type": "text", "text": "x"}]) == (
        "r2",
        {"jsonrpc": "2.0", "id": 2, "result": {"content": [{"type": "text", "text": "x"}], "isError": False}},
    )
    assert park.waiting == ("t1",)
    with pytest.raises(KeyError):
        park.resolve("t2", [])


def test_calls_that_were_given_up_wait_no_more() -> None:
    park = Park()
    park.receive("r1", call(1, "t1"))

    park.forget()

    assert park.waiting == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"method": "ping", "id": 3}, {"jsonrpc": "2.0", "id": 3, "result": {}}),
        ({"method": "notifications/initialized"}, {"jsonrpc": "2.0", "result": {}}),
        (
            {"method": "resources/list", "id": 4},
            {"jsonrpc": "2.0", "id": 4, "error": {"code": -32601, "message": "no method resources/list"}},
        ),
    ],
)
def test_everything_else_is_answered_at_once(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert Park().receive("r", message) == expected
