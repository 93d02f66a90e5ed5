"""The Responses API as an unmodified client uses it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from rehearsal import Reply
from rehearsal.reply import ToolCall
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy, clean_environment, serve
from tests.mcp_server import mcp_server

TOOL: Any = {
    "type": "function",
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
}


def test_a_response_is_created_and_streamed(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="Aye."), Reply(text="one two three"))

    with proxy.openai() as client:
        response = client.responses.create(model="gpt-4o", input="Hello", instructions="Be brief.")
        with client.responses.stream(model="gpt-4o", input="Count.") as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()

    assert response.output_text == "Aye."
    assert "".join(deltas) == final.output_text == "one two three"
    assert len(deltas) > 1
    assert final.usage is not None and final.usage.output_tokens > 0
    assert cloud.turns[0].body["system"][-1]["text"] == "Be brief."


def test_a_conversation_goes_on_from_its_last_response_and_extends_it_at_the_api(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="one"), Reply(text="two"))

    with proxy.openai() as client:
        first = client.responses.create(model="gpt-4o", input="Say one.")
        second = client.responses.with_raw_response.create(
            model="gpt-4o", input="Say two.", previous_response_id=first.id
        )

    assert second.parse().output_text == "two"
    assert second.headers["x-understudy-process"] == "continued"
    said = [(m["role"], m["content"][0]["text"]) for m in cloud.turns[1].body["messages"]]
    assert said == [("user", "Say one."), ("assistant", "one"), ("user", "Say two.")]


def test_the_input_is_counted_before_it_is_sent_and_the_count_is_what_is_paid(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="Aye."))
    asked: Any = {"model": "gpt-4o", "input": "Hello there", "instructions": "Be brief.", "tools": [TOOL]}

    with proxy.openai() as client:
        counted = client.responses.input_tokens.with_raw_response.count(**asked)
        response = client.responses.create(**asked)

    assert "x-understudy-estimate" not in counted.headers
    assert response.usage is not None
    assert counted.parse().input_tokens == response.usage.input_tokens
    assert cloud.paths[:2] == ["POST /v1/messages/count_tokens", "POST /v1/messages"]


def test_a_tool_loop_goes_on_by_the_id_of_the_response_alone(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(
        Reply(text="", tool_calls=(ToolCall("look_up", input_json='{"what": "it"}'),)), Reply(text="It is 42.")
    )

    with proxy.openai() as client:
        asked = client.responses.create(model="gpt-4o", input="What is it?", tools=[TOOL])
        (call,) = [item for item in asked.output if item.type == "function_call"]
        output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "42"}]
        answer = client.responses.create(model="gpt-4o", input=output, tools=[TOOL], previous_response_id=asked.id)

    assert call.arguments == '{"what": "it"}'
    assert answer.output_text == "It is 42."
    result = cloud.turns[1].body["messages"][-1]["content"][0]
    assert (result["type"], result["content"][0]["text"]) == ("tool_result", "42")


def test_items_may_be_sent_back_by_their_ids_alone(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="one", thinking="Hm."), Reply(text="two"))

    with proxy.openai() as client:
        first = client.responses.create(model="claude-sonnet-4-5", input="Say one.", reasoning={"effort": "low"})
        again: Any = [
            {"role": "user", "content": "Say one."},
            *({"type": "item_reference", "id": item.id} for item in first.output),
            {"role": "user", "content": "Say two."},
        ]
        client.responses.create(model="claude-sonnet-4-5", input=again, reasoning={"effort": "low"})

    blocks = [block["type"] for block in cloud.turns[1].body["messages"][1]["content"]]
    assert blocks == ["thinking", "text"]


def test_a_custom_tool_takes_and_gives_text(proxy: Proxy, cloud: Cloud) -> None:
    patch: Any = {"type": "custom", "name": "apply_patch", "description": "Patches a file."}
    call = ToolCall("apply_patch", input_json='{"input": "*** Begin\\n+1"}')
    cloud.script(Reply(text="", tool_calls=(call,)), Reply(text="Patched."))

    with proxy.openai() as client:
        with client.responses.stream(model="gpt-5-codex", input="Patch it.", tools=[patch]) as stream:
            pieces = [event.delta for event in stream if event.type == "response.custom_tool_call_input.delta"]
            asked = stream.get_final_response()
        (called,) = asked.output
        assert called.type == "custom_tool_call"
        output: Any = [{"type": "custom_tool_call_output", "call_id": called.call_id, "output": "ok"}]
        done = client.responses.create(model="gpt-5-codex", input=output, tools=[patch], previous_response_id=asked.id)

    assert called.input == "".join(pieces) == "*** Begin\n+1"
    assert done.output_text == "Patched."
    use, result = (message["content"][-1] for message in cloud.turns[1].body["messages"][-2:])
    assert (use["input"], result["content"][0]["text"]) == ({"input": "*** Begin\n+1"}, "ok")


def test_the_web_is_searched_by_anthropic_and_what_it_found_is_cited(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="It is so.", search="is it so"), Reply(text="Still."))
    tools: Any = [{"type": "web_search"}]

    with proxy.openai() as client:
        with client.responses.stream(model="gpt-4o", input="Is it so?", tools=tools) as stream:
            kinds = [event.type.removeprefix("response.") for event in stream]
            first = stream.get_final_response()
        again = client.responses.create(model="gpt-4o", input="Still?", tools=tools, previous_response_id=first.id)

    search, message = first.output
    assert search.type == "web_search_call" and search.action.type == "search"
    assert search.action.query == "is it so"
    assert message.type == "message" and message.content[0].type == "output_text"
    (cited,) = message.content[0].annotations
    assert cited.type == "url_citation" and cited.url == "https://example.com/rehearsal"
    assert kinds.index("web_search_call.searching") < kinds.index("output_text.delta")
    assert again.output_text == "Still."
    assert [tool["type"] for tool in cloud.turns[0].body["tools"]] == ["web_search_20250305"]
    assert len(cloud.turns) == 2


def test_claude_uses_an_mcp_server_within_one_answer(cloud: Cloud, home: Path) -> None:
    cloud.script(
        Reply(text="Let me see.", tool_calls=(ToolCall("calc__add", input_json='{"a": 1, "b": 2}'),)),
        Reply(text="It is 3."),
        Reply(text="Yes."),
    )
    with mcp_server() as server:
        env = clean_environment(home, cloud.base_url) | {"UNDERSTUDY_MCP_SERVERS": server.url}
        tools: Any = [{"type": "mcp", "server_label": "calc", "server_url": server.url, "require_approval": "never"}]
        with serve(env) as proxy, proxy.openai() as client:
            first = client.responses.create(model="gpt-4o", input="Add.", tools=tools)
            again = client.responses.create(model="gpt-4o", input="Sure?", tools=tools, previous_response_id=first.id)

    assert [item.type for item in first.output] == ["mcp_list_tools", "message", "mcp_call", "message"]
    assert (first.output[2].type, first.output_text) == ("mcp_call", "Let me see.It is 3.")
    assert again.output_text == "Yes."
    kinds = [[block["type"] for block in message["content"]] for message in cloud.turns[2].body["messages"]]
    assert kinds == [["text"], ["text", "tool_use"], ["tool_result"], ["text"], ["text"]]


def test_an_operator_may_leave_the_web_out(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="I do not know.", search="is it so"))
    tools: Any = [{"type": "web_search"}, TOOL]
    env = clean_environment(home, cloud.base_url) | {"UNDERSTUDY_WEB_SEARCH": "false"}

    with serve(env) as proxy, proxy.openai() as client:
        answer = client.responses.with_raw_response.create(model="gpt-4o", input="Is it so?", tools=tools)

    assert answer.parse().output_text == "I do not know."
    assert answer.headers["x-understudy-ignored"] == "tools[0]"
    assert [tool["name"] for tool in cloud.turns[0].body["tools"]] == ["look_up"]


def test_a_conversation_is_compacted_and_goes_on_from_the_notes(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="one"), Reply(text="We count."), Reply(text="two"))
    said: Any = [{"role": "user", "content": "Say one."}]

    with proxy.openai() as client:
        first = client.responses.create(model="gpt-4o", input=said, tools=[TOOL])
        raw = client.responses.with_raw_response.compact(model="gpt-4o", input="Next.", previous_response_id=first.id)
        left: Any = raw.http_response.json()["output"]
        second = client.responses.create(model="gpt-4o", input=[*left, {"role": "user", "content": "Say two."}])

    assert raw.parse().object == "response.compaction"
    assert [item["type"] for item in left] == ["message", "message", "compaction"]
    assert "We count." not in str(left)
    assert second.output_text == "two"
    words = [block["text"] for block in cloud.turns[2].body["messages"][0]["content"]]
    assert words[:2] == ["Say one.", "Next."] and "We count." in words[2] and words[3] == "Say two."


def test_reasoning_comes_back_sealed_and_reaches_claude_as_it_was(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="Yes.", thinking="Is it so?"), Reply(text="Still yes."))
    include: Any = ["reasoning.encrypted_content"]

    with proxy.openai() as client:
        first = client.responses.create(
            model="claude-sonnet-4-5", input="So?", reasoning={"effort": "low"}, include=include, store=False
        )
        again: Any = [
            {"role": "user", "content": "So?"},
            *(item.model_dump(exclude_none=True) for item in first.output),
            {"role": "user", "content": "Still?"},
        ]
        second = client.responses.create(
            model="claude-sonnet-4-5", input=again, reasoning={"effort": "low"}, include=include, store=False
        )

    assert second.output_text == "Still yes."
    thinking = cloud.turns[1].body["messages"][1]["content"][0]
    assert (thinking["type"], thinking["thinking"]) == ("thinking", "Is it so?")
    assert "Is it so?" not in str(first.output[0])


class Person(BaseModel):
    """What a structured answer is parsed into."""

    name: str
    age: int


def test_a_structured_answer_is_parsed(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text='{"name": "Ada", "age": 36}'))

    with proxy.openai() as client:
        response = client.responses.parse(model="gpt-4o", input="Who?", text_format=Person)

    assert response.output_parsed == Person(name="Ada", age=36)
    assert cloud.turns[0].body["output_config"]["format"]["type"] == "json_schema"


def test_a_stored_response_can_be_retrieved_and_deleted(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="Aye."))

    with proxy.openai() as client:
        made = client.responses.create(model="gpt-4o", input="Hello")
        again = client.responses.retrieve(made.id)
        items = client.responses.input_items.list(made.id)
        client.responses.delete(made.id)
        with pytest.raises(Exception, match="not found"):
            client.responses.retrieve(made.id)

    assert again.output_text == "Aye."
    assert len(items.data) == 1


def test_stored_responses_survive_a_restart_of_the_proxy(cloud: Cloud, home: Path) -> None:
    cloud.script(Reply(text="one"), Reply(text="two"))
    env = clean_environment(home, cloud.base_url)
    with serve(env) as proxy, proxy.openai() as client:
        first = client.responses.create(model="gpt-4o", input="Say one.")
        proxy.process.kill()
    with serve(env) as proxy, proxy.openai() as client:
        again = client.responses.retrieve(first.id)
        second = client.responses.create(model="gpt-4o", input="Say two.", previous_response_id=first.id)

    assert again.output_text == "one"
    assert second.output_text == "two"
    said = [(m["role"], m["content"][0]["text"]) for m in cloud.turns[1].body["messages"]]
    assert said == [("user", "Say one."), ("assistant", "one"), ("user", "Say two.")]


def test_a_background_response_is_polled_and_streamed_again(proxy: Proxy, cloud: Cloud) -> None:
    gate = cloud.gate()
    cloud.script(Reply(text="one two three", gates={2: gate}))

    with proxy.openai() as client:
        begun = client.responses.create(model="gpt-4o", input="Count.", background=True)
        assert begun.status == "queued"
        gate.open()
        response = begun
        while response.status in ("queued", "in_progress"):
            response = client.responses.retrieve(begun.id)
        again = list(client.responses.retrieve(begun.id, stream=True, starting_after=1))

    assert response.output_text == "one two three"
    assert again[0].sequence_number == 2 and again[-1].type == "response.completed"


def test_a_conversation_is_the_clients_own_object(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text="Hello Ann."), Reply(text="Ann."))

    with proxy.openai() as client:
        conversation = client.conversations.create(items=[{"role": "user", "content": "I am Ann."}])
        client.responses.create(model="gpt-4o", input="Hello", conversation=conversation.id)
        answer = client.responses.create(model="gpt-4o", input="Who am I?", conversation=conversation.id)
        items = list(client.conversations.items.list(conversation.id, order="asc"))

    assert answer.output_text == "Ann."
    assert [item.type for item in items] == ["message"] * 5
    assert "I am Ann." in str(cloud.turns[1].body["messages"])
