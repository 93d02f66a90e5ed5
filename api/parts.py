"""The parts of the program that endpoints work with, each of one kind of endpoint."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.access import Access
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
"""``show``: the answer shows what Claude thinks. Any other value: it does not."""

type Work = Callable[[Engine], Awaitable[None]]
type Charge = Callable[[Work], Awaitable[None]]
"""Runs work on an engine at the cost of whoever asked, also after their request has been answered."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What answers a request that asks Claude."""

    engine: Engine
    model_map: Mapping[str, str]
    default_model: str
    images: Images = field(default_factory=Images)
    stores: Stores | None = None
    """Where things are kept; None: nowhere."""
    agent: Agent | None = None
    """The agent that answers; None: a model does."""
    show_reasoning: bool = False
    web_search: bool = True
    """Whether apps may have the web searched."""
    rehearsal: bool = False
    keep_alive_s: float = 15.0

    @property
    def searches_web(self) -> bool:
        """Whether the web may be searched for this request. An agent has tools of its own."""
        return self.web_search and self.agent is None

    def shows_reasoning(self, wish: str | None) -> bool:
        """Whether an answer shows what Claude thinks. ``wish`` is what the request's header says of it."""
        return wish == "show" if wish else self.show_reasoning

    def refuse_own_tools(self, turn: Turn) -> None:
        """Refuse tools of the app's where an agent answers, which has its own. Raises OpenAIError (400)."""
        if self.agent is not None and turn.tools:
            raise OpenAIError(
                f"The agent {self.agent.model_name} works with tools of its own and takes none of yours.",
                param="tools",
                code="unsupported_parameter",
            )


@dataclass(frozen=True, slots=True)
class Responding:
    """What answers a request of the Responses API."""

    turns: Turns
    sealer: Sealer
    mcp_servers: tuple[str, ...] = ()
    """Patterns of the addresses of MCP servers that apps may have Claude use."""
    recent: Recent | None = None
    """What the connection remembers by itself; None: nothing."""


@dataclass(frozen=True, slots=True)
class Background:
    """What answers a request of the Responses API while nobody waits."""

    responding: Responding
    charge: Charge


@dataclass(frozen=True, slots=True)
class KeptResponses:
    """The stored responses, whose events can be streamed again."""

    stores: Stores
    keep_alive_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Models:
    """The names that apps can ask for."""

    model_map: Mapping[str, str]
    default_model: str
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """What the program tells of itself, and what it can be told.

    ``credentials`` says which kind Claude Code gets, and nothing of them. ``more`` is what the addons know. ``record``
    starts and stops recording; None: that is not for those who ask over the wire. It raises CassetteError.
    """

    engine: Engine
    rehearsal: bool = False
    totals: Totals = field(default_factory=Totals)
    credentials: Mapping[str, Any] = field(default_factory=dict)
    more: Callable[[], Mapping[str, Any]] = dict
    record: Callable[[bool], None] | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Who may come in: those that show the proxy's token, as long as the proxy does not end, with a key if any."""

    token: str | None = None
    is_ending: Callable[[], bool] = lambda: False
    access: Access | None = None
    """The keys; None: everybody may ask."""


def required(stores: Stores | None) -> Stores:
    """Return where responses, conversations and sessions are stored. Raises OpenAIError (404) if nothing is stored."""
    if stores is None:
        raise OpenAIError("Nothing is stored here.", status=404)
    return stores
