"""What a prompt can ask for."""

import pytest

from rehearsal.directives import DirectiveError, find, reply_from, without, words_of
from rehearsal.reply import AT_HEAD, AT_START, Fault, FaultKind, Reply, ToolCall


def read(text: str) -> Reply:
    return reply_from(find(text))


def test_a_prompt_without_directives_asks_for_the_default() -> None:
    assert read("Hello [you]: rehearse: stop=x") == Reply()


CASES = {
    "[rehearse: stop=refusal]": Reply(stop_reason="refusal"),
    '[rehearse: stop=stop_sequence sequence="END NOW"]': Reply(stop_reason="stop_sequence", stop_sequence="END NOW"),
    "[rehearse: error=529]": Reply.error(529),
    "[rehearse: error=429 retry-after=7]": Reply.error(429, headers=(("retry-after", "7"),)),
    '[rehearse: error=400 type=billing_error message="No [credit]"]': Reply.error(400, "billing_error", "No [credit]"),
    "[rehearse: hang]": Reply(stall_after=AT_HEAD),
    "[rehearse: stall]": Reply(stall_after=AT_START),
    "[rehearse: stall after=3]": Reply(stall_after=3),
    "[rehearse: drop]": Reply(fault=Fault(FaultKind.DROP)),
    "[rehearse: cut after=3]": Reply(fault=Fault(FaultKind.CUT, 3)),
    "[rehearse: end after=0]": Reply(fault=Fault(FaultKind.END, 0)),
    "[rehearse: malformed after=3]": Reply(fault=Fault(FaultKind.MALFORMED, 3)),
    "[rehearse: sse-error]": Reply(fault=Fault(FaultKind.SSE_ERROR)),
    "[rehearse: sse-error=api_error after=3 message=Oops]": Reply(
        fault=Fault(FaultKind.SSE_ERROR, 3, "api_error", "Oops")
    ),
    r'[rehearse: text="a \"b\" ]\n"]': Reply(text='a "b" ]\n'),
    '[rehearse: text="line\nbreak"]': Reply(text="line\nbreak"),
    '[rehearse: text=""]': Reply(text=""),
    "[rehearse: words=3]": Reply(text="This is a"),
    "[rehearse: delay=0.1]": Reply(delay_s=0.1),
    '[rehearse: think="Hm."]': Reply(thinking="Hm."),
    "[rehearse: tool]": Reply(tool_calls=(ToolCall(),)),
    '[rehearse: tool=get_weather calls=2 input="{"]': Reply(tool_calls=(ToolCall("get_weather", input_json="{"),) * 2),
    "before [rehearse: delay=1] between [rehearse: text=x] after": Reply(delay_s=1, text="x"),
    "[rehearse:]": Reply(),
}


@pytest.mark.parametrize(("text", "reply"), CASES.items(), ids=CASES.keys())
def test_a_directive_becomes_a_reply(text: str, reply: Reply) -> None:
    assert read(text) == reply


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rehearse: bogus]", "unknown word 'bogus'"),
        ("[rehearse: stop]", "stop needs a value"),
        ("[rehearse: error=200]", "no error status"),
        ("[rehearse: error=yes]", "no number"),
        ("[rehearse: delay=-1]", "not between"),
        ("[rehearse: after=3]", "belongs to stall or cut"),
        ("[rehearse: retry-after=3]", "belongs to error"),
        ("[rehearse: text==x =]", "cannot read"),
        (r'[rehearse: text="\x"]', "no JSON string"),
    ],
)
def test_a_directive_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(DirectiveError, match=message):
        read(text)


def test_a_text_without_its_directives_is_what_the_person_said() -> None:
    assert without('Hello [rehearse: text="]"] there') == "Hello  there"


def test_many_words_are_counted() -> None:
    assert len(words_of(200).split()) == 200
