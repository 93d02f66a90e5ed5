"""Writes docs/models.md from the tables in translate/: `uv run python docs/make_models.py`."""

from pathlib import Path

from translate.model_table import ModelRow, model_table
from translate.models import ALIASES, DEFAULT_MODEL
from translate.prices import AS_OF

PAGE = Path(__file__).with_name("models.md")

HEAD = f"""\
# Which Claude model answers

`docs/make_models.py` writes this page from the tables in `translate/`.

An app asks for a model by OpenAI's name. This table says which Claude model answers. Prices are Anthropic's list
prices in US dollars per million tokens, as of {AS_OF}. **The `gpt-5` family and the `o` models go to Opus, the
most expensive of the three**; their `mini` and `nano` models go to Haiku.

| the app asks for | Claude model | in | out |
|---|---|---:|---:|
"""

RULES = """
The rules, in this order:

1. If the map has exactly this name, without `*`, its model answers.
2. Claude's own names are passed on unchanged: `claude-*`, the aliases below, and the names of Bedrock
   (`us.anthropic.claude-…`) and Vertex (`claude-…@20250929`).
3. The first pattern that matches decides. `*` matches anything. Upper and lower case are the same. Your own patterns
   come before the built-in ones.
4. For any other name `default_model` answers.

A fine-tuned model (`ft:gpt-4o-mini:…`) is looked up by its base name. The answer's header
`x-understudy-model` names the Claude model. Its `model` field repeats the name that the app sent.

## Change it

```console
$ understudy run --model-map 'gpt-5*=sonnet' --model-map 'o3*=claude-opus-4-8' -- python app.py
$ understudy run --default-model haiku -- python app.py
```

```toml
# understudy.toml
default_model = "haiku"

[model_map]
"gpt-5*" = "sonnet"
```

`UNDERSTUDY_MODEL_MAP` and `UNDERSTUDY_DEFAULT_MODEL` do the same.

## See it

- `understudy models` prints the table with your settings, and where each row comes from. With names
  (`understudy models gpt-5-mini o3`) it prints the rows for these names only.
- `understudy serve` logs at the start which model answers for which names, and the prices.
  `understudy run` does so with `--log-level info`.
- On a terminal `understudy run` ends with a line that says how many turns each model answered, and what they cost.

## Aliases

| alias | Claude model | in | out |
|---|---|---:|---:|
"""


def line(row: ModelRow) -> str:
    """Return a row of the page."""
    prices = ("?", "?") if row.price is None else (f"${row.price.input:g}", f"${row.price.output:g}")
    name = row.pattern if row.pattern.startswith("(") else f"`{row.pattern}`"
    return f"| {name} | `{row.resolved}` | {prices[0]} | {prices[1]} |\n"


def page() -> str:
    """Return the page."""
    rows = model_table({}, DEFAULT_MODEL)
    # An alias is a pattern without a star.
    aliases = model_table({alias: alias for alias in ALIASES}, DEFAULT_MODEL)[: len(ALIASES)]
    return HEAD + "".join(map(line, rows)) + RULES + "".join(map(line, aliases))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
