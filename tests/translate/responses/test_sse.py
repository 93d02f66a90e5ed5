"""Events on the wire."""

import json

from translate.responses.sse import event, name
from translate.responses.wire import OutputTextDelta


def test_an_event_goes_under_its_name() -> None:
    delta = OutputTextDelta("msg_1", 0, 0, "a\nb", 4)

    lines = event(delta).decode().split("\n")
    assert lines[0] == "event: response.output_text.delta"
    assert lines[2:] == ["", ""]
    assert json.loads(lines[1].removeprefix("data: ")) == {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "a\nb",
        "logprobs": [],
        "sequence_number": 4,
    }
    assert name(delta) == "response.output_text.delta"
