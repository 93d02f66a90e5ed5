"""OpenAI's web search <-> Anthropic's: the tool, its results, and the citations of an answer.

Sources: https://platform.openai.com/docs/guides/tools-web-search,
https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool. Anthropic runs the search
during the answer. So Claude Code runs nothing, and none of its own tools is enabled for it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from translate.errors import OpenAIError

NAME = "web_search"
TYPE = "web_search_20250305"

# https://platform.openai.com/docs/guides/tools-web-search#chat-completions: these models search without the parameter.
SEARCHING_MODEL = re.compile(r"gpt-.+-search-(?:preview|api)(?:-.+)?")

CONTEXT_SIZE = "Anthropic's web search has one size"
"""Why ``search_context_size`` has no effect."""

type ContextSize = Literal["low", "medium", "high"]


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """The user's approximate location. OpenAI and Claude have the same fields, and a ``type`` that never changes."""

    city: str | None = None
    region: str | None = None
    country: str | None = None
    timezone: str | None = None


class Domains(msgspec.Struct, frozen=True, omit_defaults=True):
    """The domains to search, or not to search."""

    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class UserLocation(msgspec.Struct, frozen=True):
    """``web_search_options.user_location``."""

    approximate: Place
    type: Literal["approximate"] = "approximate"


class WebSearchOptions(msgspec.Struct, frozen=True):
    """``web_search_options`` of a chat completion."""

    user_location: UserLocation | None = None
    search_context_size: ContextSize | None = None


def searches_by_itself(model: str) -> bool:
    """Whether this model name implies a web search."""
    return SEARCHING_MODEL.fullmatch(model) is not None


def web_search_tool(
    place: Place | None = None, domains: Domains | None = None, *, where: str = "", max_uses: int | None = None
) -> dict[str, Any]:
    """Return Claude's tool. ``where`` is the path of ``domains``. Raises OpenAIError (400)."""
    tool: dict[str, Any] = {"type": TYPE, "name": NAME}
    if max_uses is not None and max_uses > 0:
        tool["max_uses"] = max_uses
    if domains is not None:
        if domains.allowed_domains and domains.blocked_domains:
            message = f"Invalid value for '{where}': Claude takes allowed or blocked domains, not both."
            raise OpenAIError(message, param=where, code="unsupported_value")
        tool |= {name: found for name, found in msgspec.to_builtins(domains).items() if found}
    if place is not None and (found := {name: told for name, told in msgspec.to_builtins(place).items() if told}):
        tool["user_location"] = {"type": "approximate", **found}
    return tool


def found_urls(content: Any) -> list[str] | None:
    """Return the URLs in a ``web_search_tool_result``, or None if the search failed."""
    if not isinstance(content, list):
        return None
    return [str(result["url"]) for result in content if isinstance(result, Mapping) and "url" in result]


@dataclass(frozen=True, slots=True)
class UrlCitation:
    """A page that is cited for the text from character ``start`` up to ``end``."""

    url: str
    title: str
    start: int
    end: int


class Citations:
    """The citations in the text blocks of an answer. A citation holds for the whole block."""

    def __init__(self) -> None:
        self._start = 0
        self._cited: dict[str, str] = {}

    def begin(self, at: int) -> None:
        """Begin a block whose text begins at character ``at``."""
        self._start, self._cited = at, {}

    def cite(self, citation: Mapping[str, Any] | None) -> None:
        """Add one of Claude's citations. Citations of documents are left out, because OpenAI has none."""
        if citation and citation.get("type") == "web_search_result_location" and citation.get("url"):
            self._cited.setdefault(str(citation["url"]), str(citation.get("title") or ""))

    def end(self, at: int) -> list[UrlCitation]:
        """End the block, and return what it cites."""
        cited, self._cited = self._cited, {}
        return [UrlCitation(url, title, self._start, at) for url, title in cited.items()] if at > self._start else []
