"""Anthropic's limits for the schemas that constrain one answer.

The limits hold for all strict tools and the output format of a request together. Beyond them the API answers 400. An
app that OpenAI would answer must not get that error. So what is beyond the limits is sent without a grammar. The output
format comes first, because the app parses it. The tools follow in their order.

Source: https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#schema-complexity-limits. The limits on
the size of the compiled grammar are not numbers that anybody can count: for them see :mod:`engine.retry`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translate.json_schema import required_names, subschemas

MAX_STRICT_TOOLS = 20
MAX_OPTIONAL = 24
MAX_UNIONS = 16


@dataclass(frozen=True, slots=True)
class Load:
    """How much of the limits schemas use: strict tools, optional parameters, and parameters with a union type."""

    strict_tools: int = 0
    optional: int = 0
    unions: int = 0

    def plus(self, other: "Load") -> "Load":
        """Return the sum."""
        return Load(self.strict_tools + other.strict_tools, self.optional + other.optional, self.unions + other.unions)

    @property
    def fits(self) -> bool:
        """Whether the API accepts a request with this load."""
        return self.strict_tools <= MAX_STRICT_TOOLS and self.optional <= MAX_OPTIONAL and self.unions <= MAX_UNIONS


@dataclass(frozen=True, slots=True)
class Beyond:
    """What must be sent without a grammar: the output format or not, and the tools with these names."""

    format: bool
    tools: frozenset[str]


def beyond_limits(tools: Sequence[Mapping[str, Any]], format: Mapping[str, Any] | None) -> Beyond:
    """Return what is beyond the limits. The arguments have the form of the Messages API."""
    used = Load()
    format_is_beyond = False
    if format is not None:
        format_is_beyond = not (load := load_of(format["schema"])).fits
        used = used if format_is_beyond else load
    loose = set()
    for tool in tools:
        if tool.get("strict") is not True:
            continue
        more = used.plus(Load(strict_tools=1)).plus(load_of(tool["input_schema"]))
        if more.fits:
            used = more
        else:
            loose.add(str(tool["name"]))
    return Beyond(format_is_beyond, frozenset(loose))


def load_of(schema: Mapping[str, Any]) -> Load:
    """Return what the properties in a schema, and in all its subschemas, use of the limits."""
    load = Load()
    for node in subschemas(schema):
        properties = node.get("properties")
        if not isinstance(properties, dict):
            continue
        names = required_names(node)
        load = load.plus(
            Load(
                optional=sum(name not in names for name in properties),
                unions=sum(_is_union(inside) for inside in properties.values()),
            )
        )
    return load


def _is_union(schema: Any) -> bool:
    return isinstance(schema, dict) and ("anyOf" in schema or isinstance(schema.get("type"), list))
