"""Answer requests from a cassette, without Claude.

:mod:`cassettes.replay.match` finds the entry for a request. :mod:`cassettes.replay.play` plays its response at the
recorded pace or faster, perhaps with faults. A request without a matching entry is a miss. It is either refused, with
the nearest entry and the differences, or passed on to Claude.
"""

import asyncio
import contextlib
import datetime
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from api.http.responder import Responder
from api.http.server import Request
from api.http.websocket import is_upgrade
from cassettes.format import Entry
from cassettes.outcome import failed_at_the_proxy, reason
from cassettes.redact.pseudonyms import Names
from cassettes.redact.redact import Redactor, parse_json
from cassettes.replay.faults import Faults, apply
from cassettes.replay.library import GoneError, shelve
from cassettes.replay.match import Matcher, Miss, OnExpired, Place, Rules
from cassettes.replay.pace import recut, script_of
from cassettes.replay.play import play
from engine import ClaudeError, Running
from translate.errors import OpenAIError
from translate.printable import one_line
from translate.turn import Turn

log = logging.getLogger("understudy")

REPLAYED_HEADER = "x-understudy-replayed"
"""The response header with the id of the cassette entry that was played."""


type Handler = Callable[[Request, Responder], Awaitable[None]]


def now() -> datetime.datetime:
    """Return the current time in UTC."""
    return datetime.datetime.now(datetime.UTC)


class ReplayError(Exception):
    """A cassette cannot be played. The message gives the reason."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The timing and the chunks of played responses. ``speed``: a factor of the recorded speed; None for no delays.

    ``recut``: a random seed for new chunk boundaries; None for the recorded ones.
    """

    speed: float | None = 1.0
    recut: int | None = None


@dataclass(frozen=True, slots=True)
class Expiry:
    """The age in seconds after which an entry expires, and what happens then."""

    after_s: float
    how: OnExpired = "warn"


type Failures = Literal["as_recorded", "last", "never"]
"""When recorded failures of the proxy (:mod:`cassettes.outcome`) are played.

``as_recorded``: like other entries. ``last``: only if no other entry matches. ``never``: not at all, because Claude can
be asked again."""

MOST_TOLD = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """One answered request and the ``entry`` of ``file`` that answered it. Both are None if Claude answered it."""

    request: str
    file: Path | None = None
    entry: str | None = None
    failure: str = ""
    """The failure, if the entry is a recorded failure of the proxy; otherwise empty."""


@dataclass(slots=True)
class Score:
    """The result of a replay. ``entries`` are the ids of all entries. ``used`` is how often each was played.

    ``missed`` are the requests that were refused. ``nearest`` has the id of the nearest entry for each, "" if there is
    none. ``live`` is the number of requests that were passed on to Claude because no entry matched.
    ``passed_over``: the entries that are failures of the proxy and are played last or never. ``told``: the most recent
    answered requests, in order.
    """

    entries: tuple[str, ...] = ()
    used: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    nearest: list[str] = field(default_factory=list)
    live: int = 0
    passed_over: tuple[str, ...] = ()
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=MOST_TOLD))
    asked: int = 0
    """The number of all answered requests. ``told`` has only the last ones."""
    unmatched_paths: Callable[[], Sequence[str]] = tuple
    """Returns the user's JSON paths (``ignore_paths``) that have named no place so far."""

    def tell(self, told: Told) -> None:
        """Add a request that is being answered."""
        self.told.append(told)
        self.asked += 1

    @property
    def unused(self) -> list[str]:
        """The ids of the entries that were not played."""
        return [id for id in self.entries if id not in self.used]

    def lines(self, recorded: int = 0) -> Iterator[str]:
        """Return lines of text for people. ``recorded``: how many live responses were recorded. The text is escaped."""
        return map(one_line, self._lines(recorded))

    def _lines(self, recorded: int) -> Iterator[str]:
        answers = sum(self.used.values())
        if self.live:
            requests = "request" if answers == 1 else "requests"
            kept = (
                "" if not recorded else " and recorded" if recorded == self.live else f", {recorded} of them recorded"
            )
            refused = f", {len(self.missed)} refused" if self.missed else ""
            yield f"replay: {answers} {requests} answered from the cassette, {self.live} asked live{kept}{refused}"
        else:
            used = f"{len(self.used)} of {len(self.entries)} entries used"
            yield f"replay: {answers} of {answers + len(self.missed)} requests answered; {used}"
        if self.unused:
            more = f" and {len(self.unused) - 10} more" if len(self.unused) > 10 else ""
            yield f"replay: not used: {', '.join(self.unused[:10])}{more}"
        if passed := [id for id in self.passed_over if id not in self.used]:
            more = f" and {len(passed) - 10} more" if len(passed) > 10 else ""
            yield f"replay: recorded failures of the proxy, not played: {', '.join(passed[:10])}{more}"
        if self.used and (paths := self.unmatched_paths()):
            yield f"replay: ignore_paths that named nothing in any request: {', '.join(paths)}"
        for missed, nearest in list(zip_longest(self.missed, self.nearest, fillvalue=""))[:10]:
            yield f"replay: missed: {missed}" + (f" (the nearest entry is {nearest})" if nearest else "")
        if len(self.missed) > 10:
            yield f"replay: {len(self.missed) - 10} more missed"


class Player:
    """Play a cassette. Raises OSError if it cannot be read, ValueError or re.error if a rule is invalid."""

    def __init__(
        self,
        places: Iterable[Place],
        *,
        failures: Iterable[Place] = (),
        passed_over: Iterable[str] = (),
        rules: Rules | None = None,
        redactor: Redactor | None = None,
        pace: Pace | None = None,
        faults: Faults | None = None,
        expiry: Expiry | None = None,
        clock: Callable[[], datetime.datetime] = now,
    ) -> None:
        self._matcher = Matcher(places, rules)
        self._failures = Matcher(failures, rules)
        for why in (*self._matcher.unreadable, *self._failures.unreadable):
            log.warning("%s", one_line(why))
        self._redactor = redactor or Redactor()
        self._knowing = self._redactor.named_by(Names())
        self._pace = pace or Pace()
        self._faults = faults
        self._expiry = expiry
        self._clock = clock
        self._plays = 0
        self._turn = asyncio.Lock()
        self.score = Score(
            entries=tuple(self._matcher.ids()),
            passed_over=(*self._failures.ids(), *passed_over),
            unmatched_paths=self._matcher.unmatched_paths,
        )

    @classmethod
    def of(cls, path: Path, *, failures: Failures = "as_recorded", rules: Rules | None = None, **more: Any) -> "Player":
        """Open a cassette. If entries are played only once or in order, "last" means "as_recorded"."""
        places, summaries = shelve(path)
        if failures == "as_recorded" or (failures == "last" and rules and (rules.in_order or not rules.reuse)):
            return cls(places, rules=rules, **more)
        pairs = list(zip(places, summaries, strict=True))
        sound = [place for place, summary in pairs if not summary.failed_at_the_proxy]
        failed = [place for place, summary in pairs if summary.failed_at_the_proxy]
        if failures == "never":
            return cls(sound, passed_over=[place.id for place in failed], rules=rules, **more)
        return cls(sound, failures=failed, rules=rules, **more)

    async def find(self, request: Request) -> Entry | Miss:
        """Return the entry that answers a request, or a Miss. Raises GoneError."""
        # Search in a thread, because the nearest of many entries takes a while to find, and other responses are being
        # played. Search for one request at a time, because each search affects the next.
        async with self._turn:
            return await asyncio.to_thread(self._find, request)

    def _find(self, request: Request) -> Entry | Miss:
        found = self._find_among(self._matcher, request)
        if isinstance(found, Miss) and self._failures.ids():
            failed = self._find_among(self._failures, request)
            return failed if isinstance(failed, Entry) or found.nearest is None else found
        return found

    def _find_among(self, matcher: Matcher, request: Request) -> Entry | Miss:
        asked = _asked(request, self._redactor)
        found = matcher.find(*asked)
        if isinstance(found, Miss):
            # The recorder also redacted the secrets of the headers in bodies. Do the same: a key may be any word.
            self._knowing.headers(request.headers)
            if (known := _asked(request, self._knowing)) != asked:
                again = matcher.find(*known)
                found = again if isinstance(again, Entry) else found
        return found

    def expired(self, entry: Entry) -> str | None:
        """Return a message if the entry has expired, otherwise None."""
        if self._expiry is None:
            return None
        try:
            age = self._clock() - datetime.datetime.fromisoformat(entry.started)
        except (ValueError, TypeError):  # an edited entry may lack the time or its zone
            return f"the entry {entry.id} does not say when it was recorded"
        if age.total_seconds() <= self._expiry.after_s:
            return None
        return f"the entry {entry.id} was recorded {age.days} days ago and has expired"

    @property
    def on_expired(self) -> OnExpired:
        """What happens to an expired entry."""
        return self._expiry.how if self._expiry else "warn"

    async def answer(self, entry: Entry, request: Request, exchange: Responder) -> None:
        """Play an entry as the response to a request."""
        self._plays += 1
        self.score.used[entry.id] = self.score.used.get(entry.id, 0) + 1
        failure = ""
        if failed_at_the_proxy(entry.how, entry.status, entry.error, entry.request.method):
            failure = reason(entry.status, entry.error)
            log.warning("the entry %s is a recorded failure of the proxy: %s", entry.id, failure)
        self.score.tell(Told(_named(request), entry.file, entry.id, failure))
        script = script_of(entry, speed=self._pace.speed)
        if self._pace.recut is not None:
            script = recut(script, self._pace.recut + self._plays)
        if self._faults is not None and (fault := self._faults.next(request.path, request.body)):
            script = apply(script, fault)
        exchange.headers.append((REPLAYED_HEADER, entry.id))
        await play(script, exchange)


def _named(request: Request) -> str:
    return f"{request.method} {request.path}"


def _asked(request: Request, redactor: Redactor) -> tuple[str, str, Any]:
    """Return the method, target and body to match. They are redacted, as in the recording."""
    target = f"{request.path}?{request.query}" if request.query else request.path
    body: Any = request.body
    with contextlib.suppress(ValueError, RecursionError):
        body = redactor.document(parse_json(body))
    if isinstance(body, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            body = redactor.text(body.decode())
    return request.method, redactor.target(target), body or None


def replaying(player: Player, handler: Handler, *, live: bool, always_live: Sequence[str] = ()) -> Handler:
    """Return a handler that answers from a cassette.

    ``live``: a request without a matching entry goes to ``handler``. Otherwise it goes there only if its path begins
    with one of ``always_live``.
    """

    async def ask(request: Request, exchange: Responder) -> None:
        player.score.tell(Told(_named(request)))
        player.score.live += 1
        await handler(request, exchange)

    async def handle(request: Request, exchange: Responder) -> None:
        if is_upgrade(request):
            # Each request on the WebSocket is handled here later.
            return await handler(request, exchange)
        try:
            found = await player.find(request)
        except GoneError as error:
            raise OpenAIError(str(error), status=409, code="no_recorded_answer") from error
        if isinstance(found, Entry):
            told = player.expired(found)
            if told:
                log.warning("%s", told)
            if told is None or player.on_expired == "warn":
                return await player.answer(found, request, exchange)
            if player.on_expired == "record":
                return await ask(request, exchange)
            found = Miss(found, told)
        if any(request.path.startswith(path) for path in always_live):
            return await handler(request, exchange)
        if live:
            return await ask(request, exchange)
        player.score.missed.append(_named(request))
        player.score.nearest.append(found.nearest.id if found.nearest else "")
        log.warning("%s", found.diff)
        # OpenAI's clients retry a 409 unless this header forbids it.
        exchange.headers.append(("x-should-retry", "false"))
        raise OpenAIError(found.diff, status=409, code="no_recorded_answer")

    return handle


class NoEngine:
    """The engine of a replay that never uses Claude."""

    def status(self) -> dict[str, Any]:
        """Return an empty status, since nothing runs."""
        return {}

    def run(self, turn: Turn) -> AbstractAsyncContextManager[Running]:
        """Raise ClaudeError, since Claude is not available."""
        raise ClaudeError("not_logged_in", detail="answers come from a cassette, and Claude is not asked")
