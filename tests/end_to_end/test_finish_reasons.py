"""How an answer ends, and that it ends there: Claude Code never goes on by itself."""

from typing import Any

import pytest

from rehearsal import Reply
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TEXT = "one two END three four"

ENDINGS: dict[str, tuple[Reply, dict[str, Any], str, str]] = {
    # what ends it: what the API answers, what the app asks, and the answer's text and finish reason
    "Claude": (Reply(text=TEXT), {}, TEXT, "stop"),
    "a stop sequence": (Reply(text=TEXT), {"stop": ["END", "four"]}, "one two ", "stop"),
    "max_tokens": (Reply(text=TEXT), {"max_tokens": 2}, "one two ", "length"),
    "max_completion_tokens": (Reply(text=TEXT), {"max_completion_tokens": 1}, "one ", "length"),
    "the context window": (Reply(text="so", stop_reason="model_context_window_exceeded"), {}, "so", "length"),
    "a refusal": (Reply(text="", stop_reason="refusal"), {}, "", "content_filter"),
    "a refusal midway": (Reply(text="Well, ", stop_reason="refusal"), {}, "Well, ", "content_filter"),
    "silence": (Reply(text=""), {}, "", "stop"),
    "a stop sequence before any word": (Reply(text="END"), {"stop": "END"}, "", "stop"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("what", ENDINGS)
def test_the_finish_reason_says_what_ended_the_answer_after_one_request(
    what: str, stream: bool, proxy: Proxy, cloud: Cloud
) -> None:
    reply, asked, text, reason = ENDINGS[what]
    since = len(proxy.err.text)
    cloud.script(reply)

    with proxy.openai() as client:
        answer: Any = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=stream, **asked)
        if stream:
            choices = [choice for chunk in answer for choice in chunk.choices]
            said = "".join(choice.delta.content or "" for choice in choices)
            reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
        else:
            said, reasons = answer.choices[0].message.content or "", [answer.choices[0].finish_reason]
    proxy.wait_for_end_of_turn(since)

    assert (said, reasons) == (text, [reason])
    assert cloud.paths == ["POST /v1/messages"]
