"""The model map as a person reads it: which Claude model answers for which names, at what price, and who says so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from translate.models import ALIASES, DEFAULT_MODEL_MAP
from translate.prices import Price, list_price

BUILT_IN = "default"
"""Where a row comes from that nobody has set, in the word of ``understudy config``."""

ANY_OTHER = "(any other)"
"""In place of a pattern: every name that no pattern fits."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One row of the model map.

    ``model`` is the name as it is set (``opus``), ``resolved`` what it stands for (``claude-opus-5-5``). ``price`` is
    that of a prompt of usual length, None if the price list lacks the model. ``source`` is ``default``, ``flag``, a
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

    ``own`` are the person's patterns, which come first, and ``source`` is where they were set. The last row is for any
    other name.
    """
    rows = [row(pattern, model, source) for pattern, model in own.items()]
    rows += [row(pattern, model, BUILT_IN) for pattern, model in DEFAULT_MODEL_MAP.items() if pattern not in own]
    return [*rows, row(ANY_OTHER, default_model, default_source)]


def row(pattern: str, model: str, source: str) -> ModelRow:
    """Return the row for a pattern."""
    resolved = ALIASES.get(model.lower(), model)
    return ModelRow(pattern, model, resolved, list_price(resolved), source)


def priced(price: Price | None) -> str:
    """Write a price: ``$4 in, $20 out per million tokens``."""
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
