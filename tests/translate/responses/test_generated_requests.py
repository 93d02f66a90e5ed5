"""Requests generated from OpenAI's own schema: each becomes a Turn whose response is valid, or gets a valid error."""

import json
import random
from dataclasses import fields
from typing import Any

import msgspec
import pytest

from tests.openai_document import DOCUMENT
from tests.translate.responses.test_stream import machine
from tests.translate.test_corpus_tools import validator  # noqa: F401 — a fixture
from tests.translate.test_generated_requests import EVENTS, REQUESTS, Generator
from tests.translate.test_generated_requests import spec as spec  # a fixture
from translate import sse
from translate.errors import OpenAIError
from translate.request_body import decode_object
from translate.responses.fold import fold
from translate.responses.parameters import RESPONSE_PARAMETERS
from translate.responses.request import TranslatedResponse, needed, read_request, translate_response_request
from translate.responses.wire import ResponseEvent

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"OpenAI's OpenAPI document is not at {DOCUMENT}")


class ResponseGenerator(Generator):
    """Writes requests of the Responses API."""

    def request(self) -> dict[str, Any]:
        fields = self._properties(self._schemas["CreateResponse"])
        allowed = [name for name, row in RESPONSE_PARAMETERS.items() if name in fields and row.fate.name != "REFUSED"]
        chosen = self._random.sample(sorted(allowed), k=self._random.randint(0, 5))
        names = dict.fromkeys(["model", "input", *chosen])
        request = {name: self.value(fields[name]) for name in names}
        # Most alternatives of the document's lists are refused by name: some are put where they are not.
        if self._random.random() < 0.7:
            request["input"] = (
                "JSON" if self._random.random() < 0.3 else [*self._items(), {"role": "user", "content": "Hi"}]
            )
        if "tools" in request and self._random.random() < 0.7:
            kind = self._random.choice(["FunctionTool", "CustomToolParam", "NamespaceToolParam"])
            request["tools"] = [self.value(self._schemas[kind])]
        return request

    def _integer(self, schema: dict[str, Any], depth: int) -> int:
        least = int(schema.get("minimum", -5))
        return self._random.randint(least, max(least, int(schema.get("maximum", 300))))

    def _items(self) -> list[Any]:
        kinds = ["EasyInputMessage", "InputMessage", "OutputMessage", "ReasoningItem"]
        return [self.value(self._schemas[kind]) for kind in self._random.choices(kinds, k=self._random.randint(0, 2))]


def result_of(request: Any) -> TranslatedResponse | OpenAIError:
    encoded = json.dumps(request).encode()
    try:
        read = read_request(decode_object(encoded))
        asked = needed(read)
        previous: list[Any] | None = [] if asked.conversation_id or asked.previous_response_id else None
        return translate_response_request(read, previous=previous, open_reasoning=lambda _: None)
    except OpenAIError as error:
        return error


def answer(translated: TranslatedResponse) -> list[ResponseEvent]:
    stream = machine(**{spec.name: getattr(translated.options, spec.name) for spec in fields(translated.options)})
    return [event for raw in EVENTS for event in stream.feed(raw)]


@pytest.mark.parametrize("wildness", [0.0, 0.03], ids=["as the schema says", "with wild values"])
def test_every_generated_request_is_answered_validly_or_refused_validly(
    wildness: float,
    spec: dict[str, Any],
    validator: Any,  # noqa: F811
) -> None:
    accepted, refused = 0, 0
    for seed in range(REQUESTS):
        request = ResponseGenerator(spec["components"]["schemas"], seed, wildness).request()
        result = result_of(request)
        if isinstance(result, OpenAIError):
            refused += 1
            problems = [f"status {result.status}"] if not 400 <= result.status < 500 else []
            problems += validator.body("ErrorResponse", json.loads(result.body()))
        else:
            accepted += 1
            events = answer(result)
            problems = validator.body("Response", json.loads(msgspec.json.encode(fold(events))))
            # The events between the first and the last do not depend on the request.
            problems += validator.sse("ResponseStreamEvent", sse.stream_bytes([sse.event(events[0])]).decode())

        assert problems == [], request

    assert accepted + refused == REQUESTS
    assert accepted > REQUESTS // 20


def test_bytes_at_random_are_refused() -> None:
    source = random.Random(7)
    for _ in range(REQUESTS):
        with pytest.raises(OpenAIError):
            read_request(decode_object(source.randbytes(source.randint(0, 40))))
