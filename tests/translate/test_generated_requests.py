"""Requests generated from OpenAI's own schema: each becomes a Turn whose answer is valid, or gets a valid error."""

import copy
import json
import random
import string
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests import openai_document
from tests.openai_document import DOCUMENT
from tests.sizes import sample
from translate.chat.completion import fold
from translate.chat.request import Translated, translate_request
from translate.chat.stream import ChatCompletionStream
from translate.errors import OpenAIError
from translate.request_body import decode_object

REQUESTS = sample(300, large=800)

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason=f"OpenAI's OpenAPI document is not at {DOCUMENT}")

EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"model": "claude-test", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
]


class Generator:
    """Writes values of a schema; ``wildness`` is how often a value is of another kind than the schema says."""

    def __init__(self, schemas: dict[str, Any], seed: int, wildness: float) -> None:
        self._schemas = schemas
        self._random = random.Random(seed)
        self._wildness = wildness

    def request(self) -> dict[str, Any]:
        """Return a request: the required fields, and a few of the others."""
        fields = self._properties(self._schemas["CreateChatCompletionRequest"])
        chosen = self._random.sample(sorted(fields), k=self._random.randint(0, 5))
        names = dict.fromkeys(["model", "messages", *chosen])
        return {name: self.value(fields[name]) for name in names}

    def value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """Return a value of a schema."""
        pick = self._random
        if pick.random() < self._wildness:
            return pick.choice([None, True, -1, 1e300, "", "\x00", [], {}, [[]], {"type": "x"}, "é" * 70])
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        if schema.get("nullable") and pick.random() < 0.1:
            return None
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return pick.choice(schema["enum"])
        for word in ("anyOf", "oneOf"):
            if word in schema:
                return self.value(pick.choice(schema[word]), depth + 1)
        kind = schema.get("type", "object" if "allOf" in schema or "properties" in schema else "string")
        return getattr(self, f"_{kind if isinstance(kind, str) else pick.choice(kind)}")(schema, depth)

    def _properties(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._schemas[schema["$ref"].rsplit("/", 1)[1]]
        found = dict(schema.get("properties", {}))
        for part in schema.get("allOf", ()):
            found |= self._properties(part)
        return found

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", [])
        wanted = {
            name: sub
            for name, sub in self._properties(schema).items()
            if name in required or (depth < 6 and self._random.random() < 0.4)
        }
        return {name: self.value(sub, depth + 1) for name, sub in wanted.items()}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        count = self._random.randint(schema.get("minItems", 0), max(2, schema.get("minItems", 0)))
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _string(self, schema: dict[str, Any], depth: int) -> str:
        letters = string.ascii_letters + "_- \n{}é"
        text = "".join(self._random.choices(letters, k=self._random.randint(0, 12)))
        return self._random.choice(
            [text, "name", "user", '{"a": 1}', "https://example.com/i.png", "data:image/png;base64,AA"]
        )

    def _integer(self, schema: dict[str, Any], depth: int) -> int:
        return self._random.randint(int(schema.get("minimum", -5)), int(schema.get("maximum", 300)))

    def _number(self, schema: dict[str, Any], depth: int) -> float:
        return self._random.uniform(schema.get("minimum", -3), schema.get("maximum", 3))

    def _boolean(self, schema: dict[str, Any], depth: int) -> bool:
        return self._random.random() < 0.5

    def _null(self, schema: dict[str, Any], depth: int) -> None:
        return None


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return openai_document.document()


@pytest.fixture(scope="module")
def validators(spec: dict[str, Any]) -> dict[str, Draft202012Validator]:
    schemas = copy.deepcopy(spec["components"]["schemas"])
    without_nullable(schemas)
    document = {"components": {"schemas": schemas}}
    registry: Registry[Any] = Registry().with_resource("urn:spec", DRAFT202012.create_resource(document))
    return {
        name: Draft202012Validator({"$ref": f"urn:spec#/components/schemas/{name}"}, registry=registry)
        for name in ("ErrorResponse", "CreateChatCompletionResponse", "CreateChatCompletionStreamResponse")
    }


def without_nullable(node: Any) -> None:
    """Write what is left of OpenAPI 3.0 (``nullable``) as 3.1 has it."""
    children = node if isinstance(node, list) else list(node.values()) if isinstance(node, dict) else []
    for child in children:
        without_nullable(child)
    if isinstance(node, dict) and node.pop("nullable", False) is True:
        inner = {key: node.pop(key) for key in list(node)}
        node["anyOf"] = [inner, {"type": "null"}]


def answer(translated: Translated) -> tuple[list[Any], Any]:
    """Return the chunks and the folded body of an answer to a request, as JSON."""
    stream = ChatCompletionStream(
        id="chatcmpl-1",
        created=1,
        model=translated.request.model,
        include_usage=True,
        legacy_functions=translated.legacy_functions,
    )
    chunks = [chunk for event in EVENTS for chunk in stream.feed(event)]
    encoded = [json.loads(msgspec.json.encode(chunk)) for chunk in chunks]
    return encoded, json.loads(msgspec.json.encode(fold(chunks)))


@pytest.mark.parametrize("wildness", [0.0, 0.03], ids=["as the schema says", "with wild values"])
def test_every_generated_request_is_answered_validly_or_refused_validly(
    wildness: float, spec: dict[str, Any], validators: dict[str, Draft202012Validator]
) -> None:
    accepted, refused = 0, 0
    for seed in range(REQUESTS):
        request = Generator(spec["components"]["schemas"], seed, wildness).request()
        result = translated_or_error(request)
        if isinstance(result, OpenAIError):
            refused += 1
            problems = [f"status {result.status}"] if not 400 <= result.status < 500 else []
            problems += [e.message for e in validators["ErrorResponse"].iter_errors(json.loads(result.body()))]
        else:
            accepted += 1
            chunks, body = answer(result)
            problems = [e.message for e in validators["CreateChatCompletionResponse"].iter_errors(body)]
            validator = validators["CreateChatCompletionStreamResponse"]
            problems += [e.message for chunk in chunks for e in validator.iter_errors(chunk)]

        assert problems == [], request

    assert accepted + refused == REQUESTS
    assert accepted > REQUESTS // 20


def translated_or_error(request: Any) -> Translated | OpenAIError:
    try:
        return translate_request(decode_object(json.dumps(request).encode()))
    except OpenAIError as error:
        return error
