"""MCP servers of a request, and the functions that stand for their tools."""

from typing import Any

import pytest

from translate.errors import OpenAIError
from translate.responses.mcp import (
    ListedTool,
    McpCall,
    as_functions,
    echoed_mcp,
    listed_before,
    mcp_name,
    mcp_servers,
    of_server,
)

SERVER: dict[str, Any] = {
    "type": "mcp",
    "server_label": "crm",
    "server_url": "https://crm.example/mcp",
    "require_approval": "never",
}
LOOK = ListedTool("look.up", "Looks.", {"properties": {"id": {"type": "string"}}}, read_only=True)
WRITE = ListedTool("write", "", {"type": "object"})


def refusal(**fields: Any) -> OpenAIError:
    with pytest.raises(OpenAIError) as caught:
        mcp_servers([{**SERVER, **fields}])
    return caught.value


def test_a_server_is_asked_with_what_lets_us_in() -> None:
    (server,) = mcp_servers([{"type": "function"}, {**SERVER, "authorization": "t", "headers": {"x": "y"}}])

    assert (server.label, server.path) == ("crm", "tools[1]")
    assert server.headers == {"x": "y", "Authorization": "Bearer t"}


def test_its_tools_are_functions_that_begin_with_its_label() -> None:
    (server,) = mcp_servers([SERVER])
    functions, calls = as_functions(server, [LOOK, WRITE])

    assert functions[0] == (
        "tools[0]",
        {
            "type": "function",
            "name": "crm__look_up",
            "description": "Looks.",
            "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
        },
    )
    assert calls == {"crm__look_up": McpCall("crm", "look.up"), "crm__write": McpCall("crm", "write")}


@pytest.mark.parametrize(
    ("allowed", "offered"),
    [
        (None, ["look.up", "write"]),
        (["write"], ["write"]),
        ([], []),
        ({"tool_names": ["look.up"]}, ["look.up"]),
        ({"read_only": True}, ["look.up"]),
        ({"tool_names": ["write"], "read_only": True}, []),
    ],
)
def test_only_tools_that_are_allowed_are_offered(allowed: Any, offered: list[str]) -> None:
    (server,) = mcp_servers([{**SERVER, "allowed_tools": allowed}])

    assert [tool.name for tool in (LOOK, WRITE) if server.offers(tool)] == offered


def test_the_tools_of_an_earlier_list_are_known() -> None:
    item = {"type": "mcp_list_tools", "server_label": "crm", "tools": [LOOK.as_item(), WRITE.as_item(), {"no": "name"}]}

    known = listed_before([{"type": "message"}, item])["crm"]
    assert [(tool.name, tool.read_only) for tool in known] == [("look.up", True), ("write", False)]


def test_credentials_of_an_mcp_tool_are_not_echoed() -> None:
    assert echoed_mcp({**SERVER, "authorization": "t", "headers": {"x": "y"}}) == {
        **SERVER,
        "allowed_tools": None,
        "server_description": None,
        "headers": None,
    }


def test_names_fit_claude() -> None:
    assert mcp_name("crm", "a/b") == "crm__a_b"
    assert len(mcp_name("c" * 60, "t" * 60)) == 64


def test_a_servers_tools_are_found_by_its_label() -> None:
    long = mcp_name("crm", "t" * 80)

    assert of_server("crm", ["crm__look", long, "crm2__look", "crm"]) == ["crm__look", long]
    assert of_server("c" * 60, [mcp_name("c" * 60, "look")]) == [mcp_name("c" * 60, "look")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"server_label": ""}, "tools[0].server_label"),
        ({"server_label": 1}, "tools[0].server_label"),
        ({"server_url": None, "connector_id": "connector_gmail"}, "tools[0].server_url"),
        ({"server_url": "ftp://x"}, "tools[0].server_url"),
        ({"server_url": "https://["}, "tools[0].server_url"),
        ({"require_approval": {"never": {"tool_names": ["a"]}}}, "tools[0].require_approval"),
        ({"allowed_tools": "all"}, "tools[0].allowed_tools"),
        ({"headers": []}, "tools[0].headers"),
    ],
)
def test_an_unusable_mcp_tool_is_refused_with_its_place(fields: dict[str, Any], param: str) -> None:
    assert refusal(**fields).param == param


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding"])
def test_an_app_does_not_say_which_server_behind_an_address_is_meant(name: str) -> None:
    assert refusal(headers={name: "x"}).param == "tools[0].headers"


def test_a_label_names_one_server() -> None:
    with pytest.raises(OpenAIError) as caught:
        mcp_servers([SERVER, SERVER])

    assert caught.value.param == "tools[0].server_label"


def test_tools_that_claude_could_not_tell_apart_are_told_apart() -> None:
    (server,) = mcp_servers([SERVER])
    dotted, spaced = (ListedTool(name, "", {}) for name in ("look.up", "look up"))
    functions, calls = as_functions(server, [dotted, spaced, dotted])

    assert [function["name"] for _, function in functions] == list(calls)
    assert list(calls.values()) == [McpCall("crm", "look.up"), McpCall("crm", "look up")]
