"""Requests that real apps and SDKs sent to OpenAI: each becomes a Turn or is refused in OpenAI's shape."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from translate.chat.request import translate_request
from translate.errors import OpenAIError
from translate.request_body import decode_object

CORPUS = Path(os.environ.get("UNDERSTUDY_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
CHAT = CORPUS / "openai.chat"

# What OpenAI answered and we refuse, because Claude has no counterpart.
REFUSED = {"audio", "messages[3].content[0].file.file_id"}

pytestmark = pytest.mark.skipif(not CHAT.exists(), reason=f"the shared corpus is not at {CORPUS}")


def requests() -> list[Any]:
    found = []
    for path in sorted(CHAT.glob("*.json")) if CHAT.exists() else []:
        exchange = json.loads(path.read_text(encoding="utf-8"))
        if exchange["request"]["body"] is not None:
            body = json.dumps(exchange["request"]["body"]).encode()
            found.append(pytest.param(body, exchange["response"]["status"], id=path.stem))
    return found


@pytest.mark.parametrize(("body", "status"), requests())
def test_a_recorded_request_is_understood_or_refused_by_name(body: bytes, status: int) -> None:
    try:
        refused = None
        turn = translate_request(decode_object(body)).turn
    except OpenAIError as error:
        refused = error

    if refused is None:
        assert turn.messages[-1].role == "user"
    elif status == 200:
        assert refused.param in REFUSED
    else:
        assert refused.status == 400
