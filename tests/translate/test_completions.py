"""The legacy dialect: requests to chats, chunks to completions."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.translate.test_corpus_tools import CORPUS, validator  # noqa: F401 - a fixture
from translate.chat.stream import ChatCompletionStream
from translate.completions import (
    COMPLETION_PARAMETERS,
    INSTRUCTION,
    CompletionStream,
    fold_completion,
    translate_completion_request,
)
from translate.errors import OpenAIError
from translate.request_body import decode_object

BODY: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon"}


def translated(**more: Any) -> Any:
    return translate_completion_request(decode_object(json.dumps({**BODY, **more}).encode()))


def test_a_prompt_is_a_turn_with_the_instruction_to_continue_it() -> None:
    found = translated(stop=["END"], user="me")
    (chat,) = found.chats
    assert chat.turn.system == INSTRUCTION
    assert chat.turn.messages[0].content[0]["text"] == "Once upon"
    assert (chat.turn.max_tokens, chat.turn.stop_sequences) == (16, ("END",))
    assert chat.turn.metadata == {"user_id": "me"}
    assert translated(max_tokens=7).chats[0].turn.max_tokens == 7


def test_choices_are_prompt_by_prompt() -> None:
    found = translated(prompt=["a", "b"], n=2, echo=True)
    assert [chat.turn.messages[0].content[0]["text"] for chat in found.chats] == ["a", "a", "b", "b"]
    assert found.echoes == ("a", "a", "b", "b")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"best_of": True, "n": 1}, "best_of"),
        ({"logprobs": 2}, "logprobs"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"n": 0}, "n"),
        ({"n": 100, "prompt": ["a", "b"]}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"echo": "yes"}, "echo"),
        ({"messages": []}, "messages"),
        ({"model": ""}, "model"),
    ],
)
def test_an_unsupported_parameter_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(OpenAIError) as error:
        translated(**more)
    assert (error.value.status, error.value.param) == (400, param)


@pytest.mark.parametrize("more", [{"best_of": 1}, {"best_of": 2, "n": 2}, {"suffix": ""}, {"logprobs": None}])
def test_default_values_are_accepted(more: dict[str, Any]) -> None:
    assert translated(**more).ignored == ()


def test_parameters_without_effect_are_reported() -> None:
    assert set(translated(seed=1, presence_penalty=0.5, temperature=0.7).ignored) >= {"seed", "presence_penalty"}


def events(text: str, stop: str = "end_turn") -> list[dict[str, Any]]:
    pieces = [text[n : n + 3] for n in range(0, len(text), 3)]
    deltas = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}} for p in pieces]
    return [
        {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 5}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *deltas,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 2}},
    ]


def played(text: str, *, stop: str = "end_turn", echo: str = "", has_usage: bool = False) -> tuple[list[Any], Any]:
    chat = ChatCompletionStream(id="c", created=1, model="m", include_usage=has_usage)
    legacy = CompletionStream(id="c", created=1, model="m", echoes=[echo], has_usage=has_usage)
    chunks = [one for event in events(text, stop) for one in legacy.feed(chat.feed(event))]
    return chunks, fold_completion(chunks, chat.usage)


@given(st.text(min_size=1), st.text(max_size=20))
def test_the_whole_answer_is_its_stream_folded(text: str, echo: str) -> None:
    chunks, whole = played(text, echo=echo)
    assert whole.choices[0].text == echo + text
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == echo + text
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


@pytest.mark.parametrize(
    ("stop", "told"), [("max_tokens", "length"), ("refusal", "content_filter"), ("tool_use", "stop")]
)
def test_stop_reasons_become_finish_reasons(stop: str, told: str) -> None:
    _, whole = played("x", stop=stop)
    assert whole.choices[0].finish_reason == told


def test_usage_comes_last_where_it_was_asked_for() -> None:
    chunks, _ = played("x", has_usage=True)
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == 7
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_an_answer_without_an_end_is_none() -> None:
    chunks, _ = played("x")
    with pytest.raises(ValueError, match="not a complete answer"):
        fold_completion(chunks[:-1], chunks[-1].usage)


@pytest.mark.skipif(not CORPUS.exists(), reason=f"the shared corpus is not at {CORPUS}")
def test_answers_are_valid_by_openais_document(validator: Any) -> None:  # noqa: F811
    chunks, whole = played("Hello there", has_usage=True)
    assert validator.body("CreateCompletionResponse", json.loads(msgspec.json.encode(whole))) == []
    for chunk in played("Hello there")[0]:
        body = json.loads(msgspec.json.encode(chunk))
        # A chunk before the last has no finish reason yet; the document, made for whole answers, has no null there.
        body["choices"][0]["finish_reason"] = body["choices"][0]["finish_reason"] or "stop"
        assert validator.body("CreateCompletionResponse", body) == []
    assert chunks


@given(
    st.dictionaries(
        st.sampled_from([*COMPLETION_PARAMETERS, "nonsense"]),
        st.none()
        | st.booleans()
        | st.integers(-2, 5)
        | st.floats(0, 2)
        | st.text(max_size=5)
        | st.lists(st.integers()),
        max_size=6,
    )
)
def test_a_generated_request_is_taken_or_refused_and_never_crashes(more: dict[str, Any]) -> None:
    refused: OpenAIError | None = None
    try:
        translated(**more)
    except OpenAIError as error:
        refused = error
    assert refused is None or (refused.status == 400 and refused.message)


def test_stop_sequences_of_white_space_are_the_chats() -> None:
    chat = translated(stop=["\n", "END"]).chats[0]

    assert (chat.cuts, chat.turn.stop_sequences) == (("\n",), ("END",))
