"""Whether an answer follows the format that only an instruction asked for.

Claude is held to most schemas by its grammar. JSON without a schema, and schemas that the grammar cannot express, are
asked for in words, and a model may not follow words. OpenAI promises the format, so the answer is checked.

The schema is the app's and the answer is the model's, so a check is bounded. Patterns are matched by RE2. References
are resolved inside the schema alone, and only so often. What cannot be checked counts as followed.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import re2

from engine.late_imports import import_late

log = logging.getLogger(__name__)

FORMAT_HEADER = ("x-understudy-format", "not followed")
"""The header of an answer that does not follow the format, after a second try."""

MAX_REFERENCES = 20_000
MAX_UNIQUE_ITEMS = 1000

type Check = Callable[..., Iterator[Any] | None]


class _TooMuchError(Exception):
    """The check would take too long."""


async def broken_rule(schema: Mapping[str, Any], text: str) -> str | None:
    """Return the rule of a JSON Schema that a text breaks, such as ``'required'``; None if it follows the schema.

    The rule is one of the schema's keywords, and says nothing of the text.
    """
    await import_late("jsonschema")
    return await asyncio.to_thread(_broken_rule, schema, text)


def _broken_rule(schema: Mapping[str, Any], text: str) -> str | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return "it is not JSON"
    try:
        error = next(_validator(schema).iter_errors(value), None)
    except Exception as problem:  # a schema may be wrong in any way, and the app's answer must not fail for it
        log.debug("an answer could not be checked: %s", type(problem).__name__)
        return None
    return None if error is None else f"{str(error.validator)!r} is not met"


def _validator(schema: Mapping[str, Any]) -> Any:
    import jsonschema
    import referencing

    base = jsonschema.Draft202012Validator
    rules: Mapping[str, Any] = base.VALIDATORS
    left = MAX_REFERENCES

    def reference(validator: Any, target: Any, value: Any, inside: Any) -> Iterator[Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooMuchError
        yield from rules["$ref"](validator, target, value, inside) or ()

    def additional(validator: Any, more: Any, value: Any, inside: Any) -> Iterator[Any]:
        # jsonschema looks at the patterns of properties with Python's own expressions, which may take for ever.
        if "patternProperties" not in inside:
            yield from rules["additionalProperties"](validator, more, value, inside) or ()

    own = {
        "$ref": reference,
        "additionalProperties": additional,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "unevaluatedProperties": _unchecked,
        "uniqueItems": lambda validator, wanted, value, inside: (
            None
            if isinstance(value, list) and len(value) > MAX_UNIQUE_ITEMS
            else rules["uniqueItems"](validator, wanted, value, inside)
        ),
    }
    # An empty registry: nothing is fetched.
    checker: Any = jsonschema.validators.extend(base, own)  # type: ignore[no-untyped-call]
    return checker(dict(schema), registry=referencing.Registry())


def _unchecked(validator: Any, wanted: Any, value: Any, inside: Any) -> None:
    return None


def _pattern(validator: Any, pattern: str, value: Any, inside: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError("the text does not match")


def _pattern_properties(validator: Any, patterns: Any, value: Any, inside: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        for key, item in value.items():
            if _matches(pattern, key, unknown=False):
                yield from validator.descend(item, schema, path=key, schema_path=pattern)


def _matches(pattern: str, text: str, *, unknown: bool = True) -> bool:
    """Whether a pattern is found in a text. ``unknown``: the answer for a pattern that RE2 cannot read."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.search(pattern, text, options) is not None
    except re2.error:
        return unknown
