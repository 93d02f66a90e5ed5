"""The model map for people: which Claude model answers for which names, its price, and where this was set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from translate.models import ALIASES, DEFAULT_MODEL_MAP
from translate.prices import Price, list_price

BUILT_IN = "default"
"""The source of a row that was not set. ``understudy config`` uses the same word."""

ANY_OTHER = "(any other)"
"""The pattern of the last row: all names that match no other pattern."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One row of the model map.

    ``model`` is the name as it was set (``opus``). ``resolved`` is the full name (``claude-opus-5-5``). ``price``
    is for prompts of usual length, and None if the price list lacks the model. ``source`` is ``default``, ``flag``, a
    variable's name or a file's path.
    """

    pattern: str
    model: str
    resolved: str
    price: Price | None
    source: str


def model_table(
    own: Mapping[str, str], default_model: str, *, source: str = BUILT_IN, default_source: str = BUILT_IN
) -> list[ModelRow]:
    """Return the effective model map, in the order in which patterns are tried.

    ``own`` are the user's patterns. They come first. ``source`` is where they were set. The last row is for all other
    names.
    """
    rows = [row(pattern, model, source) for pattern, model in own.items()]
    rows += [row(pattern, model, BUILT_IN) for pattern, model in DEFAULT_MODEL_MAP.items() if pattern not in own]
    return [*rows, row(ANY_OTHER, default_model, default_source)]


def row(pattern: str, model: str, source: str) -> ModelRow:
    """Return the row for a pattern."""
    resolved = ALIASES.get(model.lower(), model)
    return ModelRow(pattern, model, resolved, list_price(resolved), source)


def priced(price: Price | None) -> str:
    """Return a price as text: ``$4 in, $20 out per million tokens``."""
    return "price unknown" if price is None else f"${price.input:g} in, ${price.output:g} out per million tokens"


def summary(rows: Iterable[ModelRow]) -> list[str]:
    """Return a line for each Claude model, with its price and the names that it answers for."""
    by_model: dict[str, list[ModelRow]] = {}
    for each in rows:
        by_model.setdefault(each.resolved, []).append(each)
    return [
        f"{model} ({priced(named[0].price)}) answers for {', '.join(each.pattern for each in named)}"
        for model, named in by_model.items()
    ]
