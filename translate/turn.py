"""Turn: the one neutral form between OpenAI's dialects and Claude.

Every dialect becomes a Turn; the engine plays Turns and knows no OpenAI. The words are Anthropic's
(https://docs.anthropic.com/en/api/messages).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

type ContentBlock = Mapping[str, Any]
"""One block of a message as the Messages API has it: ``{"type": "text", "text": …}`` and so on."""

type Effort = Literal["low", "medium", "high", "xhigh", "max"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation. Roles alternate in a Turn; the last one is the user's."""

    role: Literal["user", "assistant"]
    content: tuple[ContentBlock, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """All that the engine needs to have Claude answer once.

    ``model`` is Claude's name or alias (``opus``, ``sonnet``, ``haiku``). ``system`` is None for no system prompt.
    ``max_tokens`` None means the model's own maximum. ``effort`` None leaves the model's default; ``thinking`` None
    switches thinking off where the model allows it. ``timeout_s`` bounds the whole turn; None: the engine's own limit.
    ``thinking``, ``tools``, ``tool_choice``, ``output_format`` (``output_config.format``): the Messages API's own.
    ``client`` tells apart those who share the engine, so that it can be fair to each; it goes nowhere else.
    """

    model: str
    messages: Sequence[Message]
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    thinking: Mapping[str, Any] | None = None
    effort: Effort | None = None
    timeout_s: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Mapping[str, Any] | None = None
    output_format: Mapping[str, Any] | None = None
    top_k: int | None = None
    service_tier: str | None = None
    client: str = ""


def to_json(turn: Turn) -> dict[str, Any]:
    """Return a Turn as JSON has it, without what is not set and without whose it is."""
    told = {spec.name: getattr(turn, spec.name) for spec in fields(turn) if spec.name != "client"}
    return {name: _plain(value) for name, value in told.items() if value not in (None, (), {}, "")}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {spec.name: _plain(getattr(value, spec.name)) for spec in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
