"""Find the endpoint for a request by its method and path."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from api.path_suggestions import LONGEST, VERSION, closest_path
from translate.errors import OpenAIError

WHAT_THERE_IS = (
    "GET /v1 lists what Understudy answers. Start it with --passthrough to send other paths on to the real host."
)

NO_IDS = frozenset({"input_tokens"})
"""Path segments of OpenAI's API that stand in the place of an id but are not ids."""

_PARAMETER = re.compile(r"\{(\w+)(…?)\}")


@dataclass(frozen=True)
class Route[Call]:
    """A method and a path, and the endpoint that answers.

    In the path, ``{name}`` matches one segment. ``{name…}`` at the end matches the rest of the path, since model ids
    may contain slashes. The endpoint gets the values by these names.

    ``asks_claude``: the answer costs tokens, so the key's budget applies. ``for_everybody``: no API key is required.
    ``reads_form``: the body is a form, and no JSON.
    ``background`` is the endpoint for requests with ``background: true``.
    """

    method: str
    path: str
    endpoint: Callable[[Call], Awaitable[None]]
    asks_claude: bool = False
    for_everybody: bool = False
    reads_form: bool = False
    background: Callable[[Call], Awaitable[None]] | None = None

    @cached_property
    def template(self) -> str:
        """The path with ``*`` for each parameter, and ``**`` for a parameter that matches the rest of the path."""
        return _PARAMETER.sub(lambda found: "**" if found[2] else "*", self.path)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the path's parameters, in order."""
        return tuple(found[1] for found in _PARAMETER.finditer(self.path))

    def fits(self, path: str) -> bool:
        """Whether this route's path matches ``path``."""
        return self._values(path) is not None

    def params(self, path: str) -> Mapping[str, str]:
        """Return the decoded values of the parameters in ``path``. Raises ValueError if the path does not match."""
        values = self._values(path)
        if values is None:
            raise ValueError(f"{path} is not {self.path}")
        return dict(zip(self.names, map(unquote, values), strict=True))

    def _values(self, path: str) -> list[str] | None:
        template = self.template
        if template.endswith("/**"):
            start = template[:-2]
            return [path[len(start) :]] if path.startswith(start) and len(path) > len(start) else None
        mine, theirs = template.split("/"), path.rstrip("/").split("/")
        if len(mine) != len(theirs) or not all(theirs[1:]):
            return None
        if not all(m == t or (m == "*" and t not in NO_IDS) for m, t in zip(mine, theirs, strict=True)):
            return None
        return [t for m, t in zip(mine, theirs, strict=True) if m == "*"]


type Routes[Call] = tuple[Route[Call], ...]


def route_of[Call](routes: Routes[Call], method: str, path: str) -> Route[Call] | None:
    """Return the first route with this method and path, or None."""
    return next((route for route in routes if route.method == method and route.fits(path)), None)


def find[Call](routes: Routes[Call], method: str, path: str) -> Route[Call]:
    """Return the route. Raises OpenAIError: 404 if the path is unknown, 405 if it does not allow the method."""
    route = route_of(routes, method, path)
    if route is not None:
        return route
    if fitting := [route for route in routes if route.fits(path)]:
        allowed = ", ".join(route.method for route in fitting)
        raise OpenAIError(
            f"Not allowed to {method} on {path} (allowed: {allowed})", status=405, code="method_not_allowed"
        )
    shown = path if len(path) <= LONGEST else f"{path[:LONGEST]}…"
    meant = closest_path(path, [route.template for route in routes], lambda other: supports(routes, other))
    raise OpenAIError(
        f"Unknown request URL: {method} {shown}. {f'Did you mean {meant}? ' if meant else ''}{WHAT_THERE_IS}",
        status=404,
        code="unknown_url",
    )


def supports[Call](routes: Routes[Call], path: str) -> bool:
    """Whether any route matches this path, with any method."""
    return any(route.fits(path) for route in routes)


def with_version[Call](routes: Routes[Call], path: str) -> str:
    """Return the path with ``/v1`` added if only then a route matches: the app's base URL lacks it."""
    if not path.strip("/") or supports(routes, path):
        return path
    versioned = f"/{VERSION}{path}"
    return versioned if supports(routes, versioned) else path


def is_for_everybody[Call](routes: Routes[Call], method: str, path: str) -> bool:
    """Whether a request needs no key."""
    return any(route.for_everybody for route in routes if route.method == method and route.fits(path))
