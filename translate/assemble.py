"""What an app asks of the model -> a Turn. Both dialects use this, so they cannot differ.

Each dialect reads its own request: messages, tools and the output format. What is left is the same in both, under
different names: lengths, sampling, thinking, the service tier and the user. It is an :class:`Options` here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from translate.chat.response_format import OutputFormat
from translate.chat.wire import ReasoningEffort
from translate.errors import OpenAIError
from translate.known_keys import Ignored
from translate.models import Capabilities, capabilities
from translate.tools import Tools, tool_names, tools_for_history
from translate.turn import Effort, Message, ServiceTier, Turn

# OpenAI's reasoning_effort -> Claude's effort. Claude has nothing below low.
EFFORT: dict[ReasoningEffort, Effort] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}

# Source: https://docs.anthropic.com/en/api/messages, «metadata.user_id»: «an opaque identifier … do not include any
# identifying information such as name, email address, or phone number», at most 256 characters. The API answers 400 to
# an email address.
MAX_USER_ID = 256
_IDENTIFYING = re.compile(r".*@.*|[+(]?[\d\s().-]{7,}", re.DOTALL)

# OpenAI's service_tier -> Claude's. Source: https://docs.anthropic.com/en/api/service-tiers
SERVICE_TIER: dict[str, ServiceTier] = {"auto": "auto", "default": "standard_only"}

# reasoning_effort -> budget_tokens, for the models that think by budget.
BUDGET: dict[ReasoningEffort, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 24000,
    "max": 31999,
}
MIN_BUDGET = 1024
BUDGET_ROOM = 64_000

# Why parameters have no effect.
NO_SAMPLING = "the model takes no sampling parameters, at least not while it thinks"
NO_THINKING = "this model does not think when it gets a tool's result, or if `max_tokens` leaves no room for it"
BEYOND = "Claude's grammar cannot express this schema, so Claude is told of it, but not held to it"


@dataclass(frozen=True, slots=True)
class Options:
    """What an app asks of the model, in either dialect. None: the app does not ask for it.

    ``thinking`` and ``top_k`` are Claude's own parameters, which OpenAI does not have. ``user`` is the value that
    stands for the app's user. ``show_reasoning`` asks for a summary of the thinking, if the model thinks at all.
    """

    model: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: Mapping[str, Any] | None = None
    reasoning_effort: ReasoningEffort | None = None
    service_tier: str | None = None
    user: str | None = None
    show_reasoning: bool = False


class Assembly:
    """Builds one Turn. ``model`` of the options is the name of the Claude model.

    ``thinks_about`` are the messages that decide whether the model can think; by default all of them.

    The tools depend on whether the model thinks, so they are translated between the two steps: make an Assembly, use
    ``can_force`` to translate the tools, then call :meth:`turn`.
    """

    def __init__(
        self, options: Options, messages: Sequence[Message], *, thinks_about: Sequence[Message] | None = None
    ) -> None:
        self._options = options
        self._messages = tuple(messages)
        self._can = capabilities(options.model)
        self._thinking = thinking_for(options, self._can, messages if thinks_about is None else thinks_about)

    @property
    def can_force(self) -> bool:
        """Whether the model can be forced to call a tool. A model that thinks cannot."""
        return self._can.forced_tools and self._thinking is None

    def turn(
        self,
        system: str | None,
        tools: Tools,
        output: OutputFormat,
        *,
        strict: str,
        effort: str = "reasoning_effort",
        stop_sequences: tuple[str, ...] = (),
    ) -> tuple[Turn, list[str]]:
        """Return the Turn, and the names of the parameters that have no effect on it.

        ``strict`` and ``effort`` are the paths of the output format's ``strict`` and of the reasoning effort in the
        dialect's request.
        """
        options = self._options
        # A model that thinks takes no sampling parameters.
        can = self._can if self._thinking is None else replace(self._can, sampling="none")
        sampling, unused = sampling_for(options, can)
        tier = SERVICE_TIER.get(options.service_tier or "")
        if options.service_tier and tier is None:
            unused.append(Ignored("service_tier", "Claude has no such tier"))
        unused += self._unused_thinking(effort)
        unused += [Ignored(path, BEYOND) for path in tools.loose]
        unused += [Ignored(path, "the conversation offers another tool of this name") for path in tools.replaced]
        if output.loose:
            unused.append(Ignored(strict, BEYOND))
        called = tool_names([block for message in self._messages for block in message.content])
        offered = tools.tools or tools_for_history(called)
        turn = Turn(
            model=options.model,
            messages=self._messages,
            system="\n\n".join(filter(None, [system, tools.instruction, output.instruction])) or None,
            max_tokens=options.max_tokens,
            temperature=sampling.get("temperature"),
            top_p=sampling.get("top_p"),
            top_k=options.top_k if "top_k" in sampling else None,
            stop_sequences=stop_sequences,
            thinking=self._thinking,
            effort=effort_for(options.reasoning_effort, self._can),
            tools=offered,
            tool_choice=tools.tool_choice if tools.tools or not offered else {"type": "none"},
            output_format=output.format,
            service_tier=tier,
            metadata=metadata_for(options.user),
        )
        return turn, unused

    def _unused_thinking(self, effort: str) -> list[Ignored]:
        """Return the path of what asks to think or not to think, if the model cannot do so now."""
        options, can = self._options, self._can
        if (options.thinking or {}).get("type") == "disabled":
            return [] if can.thinking_off else [Ignored("thinking", "this model's thinking cannot be switched off")]
        if self._thinking is not None or can.adaptive_thinking:
            return []
        if options.thinking is not None:
            return [Ignored("thinking", NO_THINKING)]
        return [Ignored(effort, NO_THINKING)] if options.reasoning_effort not in (None, "none") else []


def sampling_for(options: Options, can: Capabilities) -> tuple[dict[str, float], list[str]]:
    """Return the sampling parameters that the model accepts, and the names of those that it does not accept."""
    asked: dict[str, float] = {}
    # 1 is the default on both sides, so it does not have to be sent.
    if options.temperature is not None and options.temperature != 1:
        asked["temperature"] = min(options.temperature, 1.0)
    if options.top_p is not None and options.top_p != 1:
        asked["top_p"] = options.top_p
    if options.top_k is not None:
        asked["top_k"] = options.top_k
    if can.sampling == "none":
        return {}, [Ignored(name, NO_SAMPLING) for name in asked]
    if can.sampling == "one" and "temperature" in asked and "top_p" in asked:
        del asked["top_p"]
        return asked, [Ignored("top_p", "the model takes one sampling parameter: `temperature` wins")]
    return asked, []


def thinking_for(options: Options, can: Capabilities, messages: Sequence[Message]) -> Mapping[str, Any] | None:
    """Return Claude's ``thinking``; None if the app does not ask for thinking, or the model cannot think now.

    The app's own ``thinking`` is passed on as it is, but without a budget it asks for the effort. Other vendors' APIs
    have that form too. Raises OpenAIError (400) if ``thinking`` has no type that Claude knows.
    """
    effort, given = options.reasoning_effort, options.thinking or {}
    kind = given.get("type")
    if options.thinking is not None and kind not in ("enabled", "adaptive", "disabled"):
        message = "Invalid value for 'thinking.type'. Supported values are: 'enabled', 'adaptive', and 'disabled'."
        raise OpenAIError(message, param="thinking.type", code="invalid_value")
    if kind == "adaptive" or (given.get("budget_tokens") is not None and kind == "enabled"):
        return given
    if kind == "disabled":
        effort = "none"
    elif kind == "enabled" and effort in (None, "none"):
        effort = "medium"
    display = given.get("display") or ("summarized" if options.show_reasoning else None)
    shown = {"display": display} if display else {}
    if can.adaptive_thinking:
        # Thinking that cannot be switched off only has to be mentioned so that its summary is shown.
        wanted = effort not in (None, "none") or (options.show_reasoning and not can.thinking_off)
        return {"type": "adaptive", **shown} if wanted else None
    # Models that think by budget need the thinking that led to a tool call, and the app does not have it.
    if effort is None or effort == "none" or _answers_a_tool(messages[-1]):
        return None
    # A budget must be at least 1,024 tokens and less than max_tokens. The answer must fit in as well.
    room = (options.max_tokens or BUDGET_ROOM) // 2
    budget = min(BUDGET[effort], room)
    return (
        {"type": "enabled", "budget_tokens": budget, **({"display": given["display"]} if given.get("display") else {})}
        if budget >= MIN_BUDGET
        else None
    )


def _answers_a_tool(message: Message) -> bool:
    return any(block["type"] == "tool_result" for block in message.content)


def effort_for(reasoning_effort: ReasoningEffort | None, can: Capabilities) -> Effort | None:
    """Return Claude's effort for OpenAI's; None leaves the model's default."""
    if reasoning_effort is not None and reasoning_effort != "none":
        return EFFORT[reasoning_effort]
    # If thinking cannot be switched off, the lowest effort is the nearest to a quick answer without thinking.
    return None if can.thinking_off else "low"


def metadata_for(user: str | None) -> Mapping[str, str]:
    """Return Claude's ``metadata`` for OpenAI's ``user``. A name that Claude's API would refuse is sent as a digest."""
    if not user:
        return {}
    if len(user) > MAX_USER_ID or _IDENTIFYING.fullmatch(user):
        return {"user_id": sha256(user.encode()).hexdigest()}
    return {"user_id": user}
