"""Maps OpenAI's model names to Claude's, and knows which parameters each Claude model accepts.

Claude Code resolves the aliases ``opus``, ``sonnet`` and ``haiku`` itself. A request must be adapted to the model
before a process is chosen, so the aliases are in a table here too. A test compares it with the bundled CLI
(``test_f99_…``).
"""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from translate.chat.wire import Model, ModelList
from translate.errors import OpenAIError

# The first pattern that matches wins. Small and cheap models map onto haiku, everyday ones onto sonnet, those that
# reason onto opus. Patterns are fnmatch's; matching is on the lower-cased name.
DEFAULT_MODEL_MAP: dict[str, str] = {
    "*-nano*": "haiku",
    "*-mini*": "haiku",
    "gpt-3.5*": "haiku",
    "o1*": "opus",
    "o3*": "opus",
    "o4*": "opus",
    "gpt-*-pro*": "opus",
    "gpt-*-codex*": "opus",
    "gpt-5*": "opus",
    "gpt-4*": "sonnet",
    "chatgpt-*": "sonnet",
    "codex-*": "opus",
    "gpt-*": "sonnet",
}

DEFAULT_MODEL = "sonnet"
"""The model for names that match no pattern."""

ALIASES: dict[str, str] = {
    "default": "claude-opus-5-5",
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    "fable": "claude-fable-5-2",
}
"""What the bundled CLI's aliases stand for."""

_PLAIN = re.compile(r"[A-Za-z0-9._:@/\[\]+-]{1,256}")

# Ids that `GET /v1/models` lists: names that apps commonly check for, beside Claude's own.
LISTED = ("gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o3", "o4-mini")

# /v1/models has a creation time for each model. These names have no real one.
CREATED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The Claude model for a name, and whether the name was known."""

    model: str
    known: bool


def choose_model(
    name: str, model_map: Mapping[str, str] = DEFAULT_MODEL_MAP, default: str = DEFAULT_MODEL
) -> ModelChoice:
    """Return the Claude model for the name that an app asked for.

    The rules, in this order: an entry of ``model_map`` that is exactly the name; Claude's own names and aliases, which
    stay as they are; the first pattern of ``model_map`` that matches; ``default``. A fine-tuned model
    (``ft:gpt-4o-mini:…``) is looked up by its base name. Raises OpenAIError (404) for a name with forbidden characters.
    """
    lowered = name.lower()
    base = lowered.split(":")[1] if lowered.startswith("ft:") and lowered.count(":") else lowered
    if (exact := model_map.get(name)) is not None:
        return ModelChoice(exact, known=True)
    if base.startswith("claude-") or base in ALIASES or is_cloud_name(name):
        if not _PLAIN.fullmatch(name):
            # The name would be sent unchanged to Claude Code and in a header.
            message = f"The model {name[:100]!r} does not exist: no name of a model has such characters, or so many."
            raise OpenAIError(message, status=404, param="model", code="model_not_found")
        return ModelChoice(name, known=True)
    for pattern, model in model_map.items():
        if fnmatchcase(base, pattern.lower()):
            return ModelChoice(model, known=True)
    return ModelChoice(default, known=False)


def is_cloud_name(name: str) -> bool:
    """Whether the name is Bedrock's (``us.anthropic.claude-…``) or Vertex's (``claude-…@20250929``)."""
    return "anthropic.claude-" in name or bool(re.fullmatch(r"claude-[\w.-]+@\w+", name))


_CLI_ALIASES = frozenset({*ALIASES, "best", "opusplan"})
_SUFFIX = re.compile(r"\[\w+\]$")


def doubt(model: str, others: Collection[str] = ()) -> str | None:
    """Return a warning if ``model`` is not an alias, not the name of a model and not in ``others``; else None.

    >>> doubt("opsu"), doubt("sonnet[1m]")
    ("'opsu' is neither an alias nor a Claude model's name (did you mean opus?)", None)
    """
    name = _SUFFIX.sub("", model.lower())
    if name in _CLI_ALIASES or name.startswith(("claude-", "arn:")) or is_cloud_name(name) or model in others:
        return None
    near = difflib.get_close_matches(name, [*_CLI_ALIASES, *others], n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"{model!r} is neither an alias nor a Claude model's name{hint}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The parameters that a model accepts.

    ``sampling``: ``all`` means temperature, top_p and top_k; ``one`` means temperature or top_p, but not both; ``none``
    means that any value except the default gets a 400. ``thinking_off``: thinking can be switched off.
    ``forced_tools``: a tool_choice of ``any`` or ``tool`` is accepted. ``adaptive_thinking``: the model decides how
    much to think. Older models get a budget.
    """

    sampling: Literal["all", "one", "none"]
    thinking_off: bool
    forced_tools: bool
    adaptive_thinking: bool = True


# Claude 4.7 and everything after: no sampling parameters. From 5.5 on (Fable: from 5) thinking is adaptive and stays
# on, and a tool cannot be forced.
# Sources, read 2026-11-20: platform.claude.com/docs/en/about-claude/models/migration-guide (Opus 4.7: «Sampling
# parameters removed»), …/models/sonnet-5-5/migration-guide («five settings that return a 400 error: thinking budgets,
# sampling parameters, assistant prefill, forced tool choice, and thinking: {"type": "disabled"}»),
# …/models/opus-5-5/whats-new-opus-5-5; `supportsThinkingOff` in the CLI's own answer to `initialize`.
_CAPABILITIES: tuple[tuple[str, Capabilities], ...] = (
    (r"claude-(3|instant|2)", Capabilities("all", thinking_off=True, forced_tools=True, adaptive_thinking=False)),
    (
        r"claude-(opus|sonnet)-4(-0|-2\d{7}|$)",
        Capabilities("all", thinking_off=True, forced_tools=True, adaptive_thinking=False),
    ),
    # «temperature and top_p cannot both be specified for this model»
    (
        r"claude-(opus|sonnet|haiku)-4-[1-5](\D|$)",
        Capabilities("one", thinking_off=True, forced_tools=True, adaptive_thinking=False),
    ),
    (r"claude-(opus|sonnet|haiku)-4-6", Capabilities("one", thinking_off=True, forced_tools=True)),
    (r"claude-(opus|sonnet|haiku)-4-[7-9]", Capabilities("none", thinking_off=True, forced_tools=True)),
    (r"claude-(opus|sonnet)-5(-0|-2\d{7}|$)", Capabilities("none", thinking_off=True, forced_tools=True)),
    (r"", Capabilities("none", thinking_off=False, forced_tools=False)),
)


def capabilities(model: str) -> Capabilities:
    """Return the capabilities of a model, by alias or any provider's name. Unknown models are treated as new ones."""
    name = ALIASES.get(model.lower(), model.lower())
    name = name[name.find("claude-") :] if "claude-" in name else name
    return next(caps for pattern, caps in _CAPABILITIES if re.match(pattern, name))


def model_list(extra: Sequence[str] = ()) -> ModelList:
    """Return the body of ``GET /v1/models``: Claude's names, then OpenAI's usual ones, then the map's plain names."""
    names = dict.fromkeys([*ALIASES.values(), *LISTED, *(name for name in extra if not set(name) & set("*?["))])
    return ModelList(data=[model_object(name) for name in names])


def model_object(name: str) -> Model:
    """Return the row of ``GET /v1/models`` for a name."""
    return Model(id=name, created=CREATED, owned_by="anthropic" if name.startswith("claude-") else "understudy")
