"""The objects that endpoints work with. Each class serves one kind of endpoint."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from api.access import Access
from api.client_identity import ClientIdentity
from api.images import Images
from api.meter import Totals
from api.recent import Recent
from api.sealing import Sealer
from engine import Engine
from engine.agents import Agent
from storage.stores import Stores
from translate.errors import OpenAIError
from translate.turn import Turn

REASONING_HEADER = "x-understudy-reasoning"
"""``show``: the response includes Claude's thinking. Any other value: it does not."""

type CountTokens = Callable[[Turn], Awaitable[int | None]]
"""Counts the input tokens of a turn. Returns None if that is not possible. Raises ClaudeError for a bad turn."""

type Work = Callable[[Engine], Awaitable[None]]
type Charge = Callable[[Work], Awaitable[None]]
"""Runs work on an engine and charges it to the client, even after the request has been answered."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The engine and the settings for requests that need Claude."""

    engine: Engine
    model_map: Mapping[str, str]
    default_model: str
    images: Images = field(default_factory=Images)
    stores: Stores | None = None
    """The stores. None if nothing is stored."""
    agent: Agent | None = None
    """The agent that answers. None if a model answers."""
    show_reasoning: bool = False
    web_search: bool = True
    """Whether apps may use web search."""
    rehearsal: bool = False
    keep_alive_s: float = 15.0
    version: str = ""
    """Understudy's version, for ``system_fingerprint``."""
    count_tokens: CountTokens | None = None
    """Counts tokens exactly. None if the credentials may not do that."""

    @property
    def searches_web(self) -> bool:
        """Whether this request may use web search. An agent has its own tools instead."""
        return self.web_search and self.agent is None

    def shows_reasoning(self, wish: str | None) -> bool:
        """Whether the response includes Claude's thinking. ``wish`` is the value of the request's header, if any."""
        return wish == "show" if wish else self.show_reasoning

    async def ready(self, turn: Turn, identity: ClientIdentity, content: object, param: str) -> Turn:
        """Return the turn as the engine gets it: with the client's limits, and with images that fit.

        ``content`` is the request's field named ``param``, which holds the images. Raises OpenAIError (400).
        """
        self._refuse_own_tools(turn)
        turn = replace(turn, timeout_s=identity.timeout_s, client=identity.client)
        return await self.images.fit_turn(turn, content, param)

    def _refuse_own_tools(self, turn: Turn) -> None:
        """Refuse the app's tools if an agent answers, since agents have their own. Raises OpenAIError (400)."""
        if self.agent is not None and turn.tools:
            raise OpenAIError(
                f"The agent {self.agent.model_name} works with tools of its own and takes none of yours.",
                param="tools",
                code="unsupported_parameter",
            )


@dataclass(frozen=True, slots=True)
class Responding:
    """The objects that answer a request of the Responses API."""

    turns: Turns
    sealer: Sealer
    mcp_servers: tuple[str, ...] = ()
    """Patterns for the addresses of the MCP servers that apps may use."""
    recent: Recent | None = None
    """The recent responses that the connection holds in memory. None if it holds none."""


@dataclass(frozen=True, slots=True)
class Background:
    """The objects that answer a request of the Responses API in the background."""

    responding: Responding
    charge: Charge


@dataclass(frozen=True, slots=True)
class KeptResponses:
    """The stored responses, whose events can be streamed again."""

    stores: Stores
    keep_alive_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Batching:
    """The stores, and the id of the key that pays for a new batch. None if no key is required."""

    stores: Stores
    client_id: str | None


@dataclass(frozen=True, slots=True)
class Models:
    """The model names that apps can request."""

    model_map: Mapping[str, str]
    default_model: str
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The data of the status page, and the switch for recording.

    ``credentials`` describes the kind of credentials that Claude Code gets, without the secrets. ``more`` returns the
    addons' status. ``record`` starts and stops recording, and may raise CassetteError. None: not allowed over HTTP.
    """

    engine: Engine
    rehearsal: bool = False
    totals: Totals = field(default_factory=Totals)
    credentials: Mapping[str, Any] = field(default_factory=dict)
    more: Callable[[], Mapping[str, Any]] = dict
    record: Callable[[bool], None] | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The conditions for a request: the proxy's token, a proxy that is not shutting down, and perhaps an API key."""

    token: str | None = None
    is_ending: Callable[[], bool] = lambda: False
    access: Access | None = None
    """The API keys. None if no key is required."""


def required(stores: Stores | None) -> Stores:
    """Return the stores. Raises OpenAIError (404) if there are none."""
    if stores is None:
        raise OpenAIError("Nothing is stored here.", status=404)
    return stores
