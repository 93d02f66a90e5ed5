"""Items as they grow; how they follow each other is tested with the stream."""

from collections.abc import Callable
from itertools import count

import msgspec

from translate.responses.growing import GrowingCall, GrowingMessage, GrowingReasoning
from translate.responses.offered import Offered
from translate.sse import type_of


def numbers() -> Callable[[], int]:
    counter = count()
    return lambda: next(counter)


def test_a_message_ends_one_part_before_it_begins_another() -> None:
    message = GrowingMessage("msg_1", 2, numbers())

    events = [*message.add_text("a"), *message.add_text("b"), *message.add_refusal("No."), *message.close("completed")]

    assert [type_of(event).removeprefix("response.") for event in events] == [
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
    ]
    assert [event.sequence_number for event in events] == list(range(9))
    assert {msgspec.to_builtins(event)["output_index"] for event in events} == {2}


def test_a_call_that_is_cut_is_not_given_arguments() -> None:
    call = GrowingCall("fc_1", 0, numbers(), call_id="t", tool=Offered("f"))

    assert [type_of(event) for event in call.close("incomplete")] == ["response.function_call_arguments.done"]
    assert msgspec.to_builtins(call.done("incomplete"))["arguments"] == ""


def test_thinking_is_sealed_for_the_store_even_if_it_is_not_shown() -> None:
    thought = GrowingReasoning(
        "rs_1", 0, numbers(), data=None, seal=bytes.decode, show_summary=False, show_encrypted=False
    )
    thought.add("Hm", "")
    thought.add("", "sig")

    done = thought.done("completed")
    assert msgspec.to_builtins(done) == {"type": "reasoning", "id": "rs_1", "summary": []}
    assert msgspec.to_builtins(thought.kept(done)) == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "encrypted_content": '{"type":"thinking","thinking":"Hm","signature":"sig"}',
    }
