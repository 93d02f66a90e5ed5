"""Whether an answer follows the format that only an instruction asked for.

Claude is held to most schemas by its grammar. JSON without a schema, and schemas that the grammar cannot express, are
asked for in words, and a model may not follow words. OpenAI promises the format, so the answer is checked.

The schema is the app's and the answer is the model's, so a check is bounded: in its steps, in its time, and in the size
of the schema. Patterns are matched by RE2. References are resolved inside the schema alone. What cannot be checked
counts as followed.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import re2

from engine.late_imports import import_late
from translate.long_work import giving_way

log = logging.getLogger(__name__)

FORMAT_HEADER = ("x-understudy-format", "not followed")
"""The header of an answer that does not follow the format, after a second try."""

MAX_SCHEMA_BYTES = 1024 * 1024
"""A longer schema is not checked. Several times as much as OpenAI takes."""

MAX_STEPS = 200_000
"""How often one check may enter a schema, or try a pattern."""

MAX_CPU_S = 2.0
"""How long one check may compute."""

# A thread of its own. A check cannot be stopped, and others wait for the default threads: DNS is one.
_thread = ThreadPoolExecutor(1, thread_name_prefix="format check")


class _TooMuchError(Exception):
    """The check would take too long."""


@dataclass(slots=True)
class _Steps:
    """The steps that a check may still take, and the thread's CPU time at which it must end."""

    left: int
    end: float

    def take(self) -> None:
        """Count a step. Raises _TooMuchError."""
        self.left -= 1
        if self.left < 0 or time.thread_time() > self.end:
            raise _TooMuchError


async def broken_rule(schema: Mapping[str, Any], text: str) -> str | None:
    """Return the rule of a JSON Schema that a text breaks, such as ``'required'``; None if it follows the schema.

    The rule is one of the schema's keywords, and says nothing of the text.
    """
    await import_late("jsonschema")
    return await asyncio.get_running_loop().run_in_executor(_thread, _broken_rule, schema, text)


def _broken_rule(schema: Mapping[str, Any], text: str) -> str | None:
    with giving_way():
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return "it is not JSON"
        try:
            if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
                return None
            steps = _Steps(MAX_STEPS, time.thread_time() + MAX_CPU_S)
            error = next(_validator(schema, steps).iter_errors(value), None)
        except Exception as problem:  # a schema may be wrong in any way, and the app's answer must not fail for it
            log.debug("an answer could not be checked: %s", type(problem).__name__)
            return None
        return None if error is None else f"{str(error.validator)!r} is not met"


def _validator(schema: Mapping[str, Any], steps: _Steps) -> Any:
    import jsonschema
    import referencing

    base = jsonschema.Draft202012Validator
    rules: Mapping[str, Any] = base.VALIDATORS

    def additional(validator: Any, more: Any, value: Any, inside: Any) -> Iterator[Any]:
        # jsonschema looks at the patterns of properties with Python's own expressions, which may take for ever.
        if "patternProperties" not in inside:
            yield from rules["additionalProperties"](validator, more, value, inside) or ()

    own = {
        "additionalProperties": additional,
        "pattern": _pattern,
        "patternProperties": partial(_pattern_properties, steps),
        # For these two jsonschema checks the whole value again at each level.
        "unevaluatedItems": _unchecked,
        "unevaluatedProperties": _unchecked,
        "uniqueItems": _unique_items,
    }
    checker: Any = jsonschema.validators.extend(base, own)  # type: ignore[no-untyped-call]
    _count_steps(checker, steps)
    # An empty registry: nothing is fetched.
    return checker(dict(schema), registry=referencing.Registry())


def _count_steps(checker: Any, steps: _Steps) -> None:
    """Count each schema that a class of validators enters. All of jsonschema's keywords enter a schema by these two."""
    descend, evolve = checker.descend, checker.evolve

    def counted_descend(self: Any, *args: Any, **options: Any) -> Any:
        steps.take()
        return descend(self, *args, **options)

    def counted_evolve(self: Any, **changes: Any) -> Any:
        steps.take()
        schema = changes.get("schema")
        if isinstance(schema, dict) and "$schema" in schema:
            # With this key jsonschema would take a validator without these rules and bounds.
            changes["schema"] = {key: value for key, value in schema.items() if key != "$schema"}
        return evolve(self, **changes)

    checker.descend, checker.evolve = counted_descend, counted_evolve


def _unchecked(validator: Any, wanted: Any, value: Any, inside: Any) -> None:
    return None


def _unique_items(validator: Any, wanted: Any, value: Any, inside: Any) -> Iterator[Any]:
    # jsonschema compares each item with each other item.
    from jsonschema import ValidationError

    if wanted and isinstance(value, list) and len({json.dumps(one, sort_keys=True) for one in value}) < len(value):
        yield ValidationError("two items are equal")


def _pattern(validator: Any, pattern: str, value: Any, inside: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError("the text does not match")


def _pattern_properties(steps: _Steps, validator: Any, patterns: Any, value: Any, inside: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    for pattern, schema in patterns.items():
        for key, item in value.items():
            steps.take()
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
