"""OpenAI's legacy dialect as an unmodified client uses it."""

from rehearsal import Reply
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.understudy import Proxy


def test_a_text_is_continued_whole_and_streamed(proxy: Proxy, cloud: Cloud) -> None:
    cloud.script(Reply(text=" a time."), Reply(text=" a time, there was."))

    with proxy.openai() as client:
        whole = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon", echo=True, max_tokens=50)
        stream = client.completions.create(model="davinci-002", prompt="Once upon", stream=True, max_tokens=50)
        pieces = [chunk.choices[0].text for chunk in stream]

    assert whole.choices[0].text == "Once upon a time."
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None and whole.usage.completion_tokens > 0
    assert "".join(pieces) == " a time, there was." and len(pieces) > 2
    assert "Continue the text" in cloud.turns[0].body["system"][-1]["text"]


def test_many_prompts_are_answered_side_by_side(proxy: Proxy, cloud: Cloud) -> None:
    with proxy.openai() as client:
        answer = client.completions.create(model="davinci-002", prompt=["one", "two"], n=2, max_tokens=100)

    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    told = [next(word for word in ("one", "two") if f"“{word}”" in choice.text) for choice in answer.choices]
    assert told == ["one", "one", "two", "two"]
    assert len(cloud.turns) == 4
