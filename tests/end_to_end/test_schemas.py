"""Schemas that OpenAI accepts and Anthropic does not, as OpenAI's own client sends them."""

import json
from typing import Any

import openai
import pydantic
import pytest

from rehearsal import Reply, ToolCall
from rehearsal.server import ReceivedRequest
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]


class Place(pydantic.BaseModel):
    """A model with one field that may be null."""

    city: str | None = None


def ask(proxy: Proxy, **fields: Any) -> Any:
    with proxy.openai() as client:
        return client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HELLO, **fields)


def test_seventeen_tools_of_openais_helper_are_offered(proxy: Proxy, cloud: Cloud) -> None:
    tools = [openai.pydantic_function_tool(Place, name=f"tool_{n}") for n in range(17)]

    answer = ask(proxy, tools=tools)

    assert answer.headers["x-understudy-ignored"] == "tools[16].function.strict"
    assert [tool.get("strict") for tool in cloud.turns[-1].body["tools"]] == [True] * 16 + [None]


def test_twenty_five_strict_tools_are_offered(proxy: Proxy, cloud: Cloud) -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    tools: list[Any] = [
        {"type": "function", "function": {"name": f"t{n}", "strict": True, "parameters": schema}} for n in range(25)
    ]

    answer = ask(proxy, tools=tools)

    assert answer.headers["x-understudy-ignored"] == "tools[].function.strict"
    assert [tool.get("strict") for tool in cloud.turns[-1].body["tools"]] == [True] * 20 + [None] * 5


@pytest.mark.parametrize("union", [{"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}])
def test_a_format_with_twenty_unions_is_asked_for_in_words(union: Any, proxy: Proxy, cloud: Cloud) -> None:
    names = [f"p{n}" for n in range(20)]
    properties = dict.fromkeys(names, union)
    schema = {"type": "object", "properties": properties, "required": names, "additionalProperties": False}

    answer = ask(
        proxy, response_format={"type": "json_schema", "json_schema": {"name": "o", "strict": True, "schema": schema}}
    )

    assert answer.headers["x-understudy-ignored"] == "response_format.json_schema.strict"
    assert '"p19"' in "".join(part["text"] for part in cloud.turns[-1].body["system"])


def test_a_grammar_that_is_too_large_is_given_up_and_told(proxy: Proxy, cloud: Cloud) -> None:
    def refuse(received: ReceivedRequest) -> Reply | None:
        if any(tool.get("strict") for tool in received.body.get("tools", ())):
            message = "The compiled grammar is too large, which would cause performance issues. Simplify your tools."
            return Reply.error(400, message=message)
        return None

    cloud.script(refuse)
    answer = ask(proxy, tools=[openai.pydantic_function_tool(Place, name="place")])

    assert answer.headers["x-understudy-ignored"] == "tools[0].function.strict"
    assert [tool.get("strict") for turn in cloud.turns for tool in turn.body["tools"]] == [True, None]


@pytest.mark.parametrize("stream", [False, True])
def test_property_names_of_any_form_come_back_as_the_app_knows_them(stream: bool, proxy: Proxy, cloud: Cloud) -> None:
    schema = {"type": "object", "properties": {"filter[id]": {"type": "string"}, "größe": {"type": "string"}}}
    tools: Any = [{"type": "function", "function": {"name": "list_apps", "parameters": schema}}]
    # The simulated API calls the tool with arguments that it makes of the schema.
    cloud.script(Reply(tool_calls=(ToolCall(),)))
    with proxy.openai() as client:
        if stream:
            with client.chat.completions.stream(model="gpt-4o", messages=HELLO, tools=tools) as events:
                said = events.get_final_completion().choices[0].message.to_dict()
        else:
            answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=tools)
            said = answer.choices[0].message.to_dict()
        calls: Any = said["tool_calls"]
        history: Any = [*HELLO, said, {"role": "tool", "tool_call_id": calls[0]["id"], "content": "ok"}]
        proxy.wait_for_end_of_turn(0)
        next_answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=history, tools=tools)

    # The process that holds the conversation knows the call again.
    assert next_answer.headers["x-understudy-process"] == "continued"
    arguments = json.loads(calls[0]["function"]["arguments"])
    first, last = (turn.body for turn in cloud.turns)
    (input,) = (block["input"] for said in last["messages"] for block in said["content"] if "input" in block)
    assert arguments and set(arguments) <= set(schema["properties"])
    assert first["tools"] == last["tools"]
    assert set(input) <= set(first["tools"][0]["input_schema"]["properties"])
    assert list(input.values()) == list(arguments.values())
