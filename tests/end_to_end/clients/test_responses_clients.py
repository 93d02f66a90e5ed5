"""Libraries that speak OpenAI's Responses API, unmodified, each doing what its own tutorial shows."""

from pathlib import Path

from rehearsal import Reply
from rehearsal.reply import ToolCall
from tests.end_to_end.clients import test_clients
from tests.end_to_end.clients.test_clients import kinds, output
from tests.end_to_end.cloud import Cloud

pytestmark = test_clients.pytestmark


def call(name: str, arguments: str = "{}") -> Reply:
    """Return a reply that calls one tool and says nothing."""
    return Reply(text="", tool_calls=(ToolCall(name, input_json=arguments),))


def test_the_agents_sdk_hands_off_streams_remembers_and_structures(cloud: Cloud, home: Path) -> None:
    cloud.script(
        call("transfer_to_history_tutor"),
        call("history_fun_fact", '{"year": 1900}'),
        Reply(text="Sharks are old."),
        Reply(text="Very old."),
        Reply(text="Yes."),
        call("transfer_to_math_tutor"),
        Reply(text="It is three."),
        *(Reply(text=text) for text in ("San Francisco", "California") * 2),
        Reply(text='{"name": "tea", "participants": ["Ann", "Bob"]}'),
        call("do_sums", '{"input": "3 + 4"}'),
        Reply(text="seven"),
        Reply(text="It is seven."),
    )

    result = output("agents_app.py", cloud, home)

    triage, tutor, answered, again, by_id, _, streamed, *sessions, structured, sums, inner, summed = cloud.turns
    assert (result["answer"], result["last_agent"]) == ("Sharks are old.", "History Tutor")
    assert result["items"] == [
        "handoff_call_item",
        "handoff_output_item",
        "tool_call_item",
        "tool_call_output_item",
        "message_output_item",
    ]
    assert result["tokens"] > 0
    assert [t["name"] for t in triage.body["tools"]] == ["transfer_to_history_tutor", "transfer_to_math_tutor"]
    loop = [("assistant", ["tool_use"]), ("user", ["tool_result"])]
    assert kinds(tutor) == [("user", ["text"]), *loop]
    assert kinds(answered) == [("user", ["text"]), *loop, *loop]
    assert kinds(again) == [*kinds(answered), ("assistant", ["text"]), ("user", ["text"])]
    assert kinds(by_id) == [*kinds(again), ("assistant", ["text"]), ("user", ["text"])]
    assert (result["again"], result["by_id"]) == ("Very old.", "Yes.")
    assert result["events"] == ["agent_updated_stream_event", "raw_response_event", "run_item_stream_event"]
    assert result["streamed_items"] == ["handoff_call_item", "handoff_output_item", "message_output_item"]
    assert result["deltas"] == result["streamed"] == "It is three."
    assert kinds(streamed) == [("user", ["text"]), *loop]
    for name, second in (("sqlite", sessions[1]), ("conversations", sessions[3])):
        assert result[name] == ["California", 4]
        assert result[f"{name} popped"] == 3
        assert kinds(second) == [("user", ["text"]), ("assistant", ["text"]), ("user", ["text"])]
    assert result["structured"] == {"name": "tea", "participants": ["Ann", "Bob"]}
    assert structured.body["output_config"]["format"]["type"] == "json_schema"
    assert result["sums"] == "It is seven."
    assert inner.body["messages"][0]["content"][0]["text"] == "3 + 4"
    assert kinds(summed)[-1] == ("user", ["tool_result"])
    assert [tool["name"] for tool in sums.body["tools"]] == ["do_sums"]


def test_langchain_invokes_streams_calls_tools_structures_and_reasons(cloud: Cloud, home: Path) -> None:
    weather, movie = '{"city": "Paris"}', '{"title": "Inception", "year": 2010}'
    cloud.script(
        Reply(text="Hello."),
        Reply(text="Hello again."),
        Reply(text="one two three"),
        call("get_weather", weather),
        Reply(text="It is sunny."),
        call("get_weather", weather),
        Reply(text=movie),
        call("Movie", movie),
        Reply(text="Hello Bob."),
        Reply(text="Bob."),
        Reply(text="27", thinking="Three times nine."),
        Reply(text="Sure."),
        Reply(text="A dot."),
    )

    result = output("langchain_responses_app.py", cloud, home)

    invoked, after, _, asked, answered, _, by_schema, by_function, _, kept, _, thought, seen = cloud.turns
    assert (result["invoked"], result["next"], result["streamed"]) == ("Hello.", "Hello again.", "one two three")
    assert result["id"].startswith("resp_") and result["tokens"] > 0
    assert invoked.body["system"][-1]["text"] == "Be brief."
    assert kinds(after) == [("user", ["text"]), ("assistant", ["text"]), ("user", ["text"])]
    assert result["chunks"] > 1
    assert result["calls"] == result["streamed_calls"] == [["get_weather", {"city": "Paris"}]]
    assert (asked.body["tools"][0]["name"], asked.body["tools"][0]["strict"]) == ("get_weather", True)
    assert kinds(answered) == test_clients.TOOL_LOOP
    assert result["answer"] == "It is sunny."
    assert result["by_schema"] == result["by_function"] == {"title": "Inception", "year": 2010}
    assert by_schema.body["output_config"]["format"]["type"] == "json_schema"
    assert [tool["name"] for tool in by_function.body["tools"]] == ["Movie"]
    assert kinds(kept) == kinds(after)
    assert result["kept"] == "Bob."
    assert (result["reasoning"], result["summary"]) == (["reasoning", "text"], ["Three times nine."])
    assert kinds(thought) == [("user", ["text"]), ("assistant", ["thinking", "text"]), ("user", ["text"])]
    assert result["thought"] == "Sure."
    assert (result["seen"], kinds(seen)) == ("A dot.", [("user", ["text", "image"])])


def test_pydantic_ai_runs_streams_structures_and_thinks(cloud: Cloud, home: Path) -> None:
    cloud.script(
        call("roll_die"),
        Reply(text="You win."),
        Reply(text="No."),
        call("roll_die"),
        Reply(text="Once upon a time there was a four."),
        call("final_result", '{"name": "London", "country": "GB"}'),
        Reply(text='{"name": "Rio", "country": "BR"}'),
        Reply(text="I keep it."),
        Reply(text="1234"),
        Reply(text="Four.", thinking="A horse, then."),
        Reply(text="Sure."),
    )

    result = output("pydantic_ai_responses_app.py", cloud, home)

    _, won, again, _, told, by_tool, by_schema, _, kept, _, sure = cloud.turns
    assert (result["answer"], result["again"]) == ("You win.", "No.")
    assert kinds(won) == test_clients.TOOL_LOOP
    assert kinds(again) == [*test_clients.TOOL_LOOP, ("assistant", ["text"]), ("user", ["text"])]
    assert result["streamed"] == "Once upon a time there was a four."
    assert result["pieces"] > 1 and result["tokens"] > 0
    assert kinds(told) == test_clients.TOOL_LOOP
    assert result["calls"] == ["roll_die", "roll_die"]
    assert result["by_tool"] == {"name": "London", "country": "GB"}
    assert [tool["name"] for tool in by_tool.body["tools"]] == ["final_result"]
    assert result["by_schema"] == {"name": "Rio", "country": "BR"}
    assert by_schema.body["output_config"]["format"]["type"] == "json_schema"
    assert kinds(kept) == [("user", ["text"]), ("assistant", ["text"]), ("user", ["text"])]
    assert result["told"] == "1234"
    assert result["thoughts"] == ["A horse, then."]
    assert kinds(sure) == [("user", ["text"]), ("assistant", ["thinking", "text"]), ("user", ["text"])]
    assert result["sure"] == "Sure."


def test_openai_python_streams_resumes_keeps_and_sends_files(cloud: Cloud, home: Path) -> None:
    solution = '{"steps": [{"explanation": "Look up.", "output": "sun"}], "final_answer": "sunny"}'
    gate = cloud.gate()
    cloud.script(
        *[Reply(text="Hello.")] * 3,
        Reply(text="one two three"),
        call("GetWeather", '{"city": "Paris"}'),
        Reply(text=solution),
        Reply(text="Bytes."),
        Reply(text="Lines."),
        Reply(text="one two three four"),
        Reply(text="Never ever.", gates={1: gate}),
        Reply(text="Hello."),
        Reply(text="A dot, and a page."),
    )

    result = output("openai_responses_app.py", cloud, home)

    *_, asked, answered, _, _, _, _, _, seen = cloud.turns
    assert result["gathered"] == ["Hello."] * 3
    assert result["async"] == "one two three"
    assert result["snapshot"] == result["arguments"] == '{"city": "Paris"}'
    assert asked.body["tools"][0]["strict"] is True
    assert asked.body["tool_choice"]["disable_parallel_tool_use"] is True
    assert kinds(answered) == test_clients.TOOL_LOOP
    assert answered.body["messages"][-1]["content"][0]["content"][0]["text"] == "sun"
    assert (result["done"], result["parsed"]["final_answer"]) == ("response.completed", "sunny")
    assert (result["content_type"], result["raw"]) == ("application/json", "response")
    assert (result["lines"][0], result["lines"][-1]) == ("response.created", "response.completed")
    assert result["resumed"] == "one two three four"
    assert result["cancelled"] == "cancelled"
    assert (result["topic"], result["read"], result["left"]) == ({"topic": "tea"}, "Hello.", ["assistant"])
    assert (result["gone"], result["missing"]) == (True, 404)
    assert (result["seen"], kinds(seen)) == ("A dot, and a page.", [("user", ["text", "image", "document"])])


def test_litellm_responses_are_whole_streamed_and_kept(cloud: Cloud, home: Path) -> None:
    cloud.script(
        Reply(text="Hello."),
        Reply(text="one two three"),
        call("look_up", '{"what": "it"}'),
        Reply(text="It is 42."),
        Reply(text="At once."),
    )

    result = output("litellm_responses_app.py", cloud, home)

    whole, _, _, answered, limited = cloud.turns
    assert (result["whole"], result["streamed"]) == ("Hello.", "one two three")
    assert whole.body["system"][-1]["text"] == "Be brief."
    assert (result["types"][0], result["types"][-1]) == ("response.created", "response.completed")
    assert (result["arguments"], result["answer"]) == ('{"what": "it"}', "It is 42.")
    assert kinds(answered) == test_clients.TOOL_LOOP
    assert (result["asynchronous"], limited.body["max_tokens"]) == ("At once.", 100)
    assert (result["again"], result["deleted"]) == ("Hello.", True)


def test_three_libraries_have_the_web_searched_and_send_back_what_was_found(cloud: Cloud, home: Path) -> None:
    cloud.script(*[Reply(text="It is so.", search="is it so"), Reply(text="Still.")] * 3)

    result = output("web_search_app.py", cloud, home)

    assert result["agents"] == ["tool_call_item", "message_output_item", "It is so.", "Still."]
    found = "https://example.com/rehearsal"
    assert result["langchain"] == ["web_search_call", "text", found, "It is so.", "Still."]
    assert result["pydantic_ai"] == ["builtin-tool-call", "builtin-tool-return", "text", "It is so.", "Still."]
    assert len(cloud.turns) == 6
    assert {turn.body["tools"][0]["name"] for turn in cloud.turns} == {"web_search"}


def test_the_agents_sdk_takes_its_turns_over_a_websocket(cloud: Cloud, home: Path) -> None:
    cloud.script(
        call("get_weather", '{"city": "Paris"}'), Reply(text="Sunny."), Reply(text="Still."), Reply(text="Ever.")
    )

    result = output("agents_websocket_app.py", cloud, home)

    assert result["events"] == ["agent_updated_stream_event", "raw_response_event", "run_item_stream_event"]
    assert result["items"] == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    assert result["outputs"] == ["Sunny.", "Still.", "Ever."]
    _, _, by_id, by_history = cloud.turns
    expected = [*test_clients.TOOL_LOOP, ("assistant", ["text"]), ("user", ["text"])]
    assert kinds(by_id) == kinds(by_history) == expected
