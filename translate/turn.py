"""Turn: one request to Claude, whichever of OpenAI's APIs it came by.

Both dialects are translated to Turns, and the engine knows nothing else. The names are those of Anthropic's Messages
API (https://docs.anthropic.com/en/api/messages).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from translate.long_work import weight

type ContentBlock = Mapping[str, Any]
"""One content block of a message in the Messages API's form, such as ``{"type": "text", "text": …}``."""

type Effort = Literal["low", "medium", "high", "xhigh", "max"]
type ServiceTier = Literal["auto", "standard_only"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation. Roles alternate in a Turn, and the last message is the user's."""

    role: Literal["user", "assistant"]
    content: tuple[ContentBlock, ...]


@dataclass(frozen=True, slots=True)
class Fallback:
    """What a Turn asks for if Claude's API cannot compile its schemas.

    ``tools`` are the tools without ``strict``, by name. ``instruction`` asks for the output format in words; None if
    there is no output format. ``params`` are the paths of the app's parameters that then have no effect.
    """

    tools: Mapping[str, Mapping[str, Any]]
    instruction: str | None
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """All that the engine needs for one answer of Claude.

    ``model`` is the name or alias of a Claude model (``opus``, ``sonnet``, ``haiku``). ``system`` None means that there
    is no system prompt. ``max_tokens`` None means the model's maximum. ``effort`` None means the model's default.
    ``thinking`` None switches thinking off if the model allows it. ``timeout_s`` limits the whole turn; None means the
    engine's own limit. ``thinking``, ``tools``, ``tool_choice`` and ``output_format`` (``output_config.format``) have
    the form of the Messages API. ``client`` names the client, so that the engine can share its capacity fairly. It is
    sent to nobody. ``fallback`` is set if a schema constrains the answer.
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
    service_tier: ServiceTier | None = None
    client: str = ""
    fallback: Fallback | None = None

    def without_grammar(self) -> "Turn":
        """Return the Turn without strict tools and output format, as its fallback says. Without one it is the same."""
        if self.fallback is None:
            return self
        return replace(
            self,
            tools=tuple(self.fallback.tools.get(tool["name"], tool) for tool in self.tools),
            output_format=None,
            system="\n\n".join(filter(None, [self.system, self.fallback.instruction])) or None,
            fallback=None,
        )


# What a recording does not need: it is said elsewhere, or sent to nobody.
_NOT_TOLD = frozenset({"client", "fallback"})


def to_json(turn: Turn) -> dict[str, Any]:
    """Return a Turn as JSON, without fields that are not set, the client and the fallback."""
    told = {spec.name: getattr(turn, spec.name) for spec in fields(turn) if spec.name not in _NOT_TOLD}
    return {name: _plain(value) for name, value in told.items() if value not in (None, (), {}, "")}


def turn_weight(turn: Turn) -> int:
    """Return the approximate size of a Turn in bytes (:func:`translate.long_work.weight`)."""
    return weight([turn.system, turn.tools, *(message.content for message in turn.messages)])


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {spec.name: _plain(getattr(value, spec.name)) for spec in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
