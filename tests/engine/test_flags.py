"""Every setting is said each time, so that nothing of an earlier turn stays."""

import json

from engine.flags import flag_settings
from translate.turn import Message, Turn

HELLO = (Message("user", ({"type": "text", "text": "Hello"},)),)


def test_a_turn_without_parameters_takes_back_those_of_the_last() -> None:
    assert flag_settings(Turn("haiku", HELLO)) == {
        "model": "haiku",
        "effortLevel": None,
        "env": {"CLAUDE_CODE_EXTRA_BODY": '{"tools": []}', "CLAUDE_CODE_MAX_OUTPUT_TOKENS": ""},
    }


def test_a_logins_own_metadata_is_kept() -> None:
    turn = Turn("haiku", HELLO, metadata={"user_id": "u"})

    bodies = [
        json.loads(flag_settings(turn, user_id=user_id)["env"]["CLAUDE_CODE_EXTRA_BODY"]) for user_id in (True, False)
    ]

    assert [body.get("metadata") for body in bodies] == [{"user_id": "u"}, None]


def test_claude_codes_own_words_are_never_replaced() -> None:
    turn = Turn(
        "haiku", HELLO, system="S", temperature=0.1, top_p=0.2, top_k=3, stop_sequences=("x",), thinking={"type": "x"}
    )

    body = json.loads(flag_settings(turn)["env"]["CLAUDE_CODE_EXTRA_BODY"])

    assert body.keys() & {"system", "messages", "model"} == set()
