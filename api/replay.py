"""Answers from a cassette: what was recorded is played to whoever asks the same, and no Claude is asked.

What counts as the same is :mod:`cassettes.replay.match`'s to say; at what pace, and with what faults, an answer is
played is :mod:`cassettes.replay.play`'s. A request that nothing recorded answers is a miss: refused with the nearest
entry and how it differs, or let through to Claude.
"""

import asyncio
import contextlib
import datetime
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from api.http.server import Exchange, Handler, Request
from api.http.websocket import is_upgrade
from cassettes.format import Entry
from cassettes.outcome import failed_at_the_proxy, reason
from cassettes.redact.pseudonyms import Names
from cassettes.redact.redact import Redactor, parse_json
from cassettes.replay.faults import Faults, apply
from cassettes.replay.library import GoneError, shelve
from cassettes.replay.match import Matcher, Miss, Place, Rules
from cassettes.replay.pace import recut, script_of
from cassettes.replay.play import play
from engine import ClaudeError, Running
from translate.errors import OpenAIError
from translate.printable import one_line
from translate.turn import Turn

log = logging.getLogger("understudy")

REPLAYED_HEADER = "x-understudy-replayed"
"""Which entry of a cassette an answer is."""


def now() -> datetime.datetime:
    """Return the time."""
    return datetime.datetime.now(datetime.UTC)


class ReplayError(Exception):
    """A cassette cannot be played; the message says why."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How answers are played. ``speed``: how many times faster than recorded, None for at once.

    ``recut``: a seed; chunk boundaries are then cut anew at random.
    """

    speed: float | None = 1.0
    recut: int | None = None


type OnExpired = Literal["warn", "fail", "record"]


@dataclass(frozen=True, slots=True)
class Expiry:
    """When an entry is too old, in seconds, and what happens then: ``warn``, ``fail`` or ``record``."""

    after_s: float
    how: OnExpired = "warn"


type Failures = Literal["as_recorded", "last", "never"]
"""When recorded failures of the proxy (:mod:`cassettes.outcome`) answer: as they were recorded, only where nothing
better is recorded, or never, because Claude can be asked anew."""

MOST_TOLD = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """One request that was answered, and from where: ``entry`` of ``file``; both None if it was answered live."""

    request: str
    file: Path | None = None
    entry: str | None = None
    failure: str = ""
    """Of an entry that is a failure of the proxy: which one."""


@dataclass(slots=True)
class Score:
    """What a replay came to: ids of entries by how often they answered, and the requests that nothing answered.

    ``missed`` are the requests that were refused, ``nearest`` the id of the entry most like each, "" for none.
    ``live`` counts the requests that Claude was asked, because nothing recorded answered them.
    ``passed_over``: the entries that are failures of the proxy, and answer last or never. ``told``: the last requests
    that were answered, in order.
    """

    entries: tuple[str, ...] = ()
    used: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    nearest: list[str] = field(default_factory=list)
    live: int = 0
    passed_over: tuple[str, ...] = ()
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=MOST_TOLD))
    asked: int = 0
    """How many requests were answered: ``told`` is the end of them."""

    def tell(self, told: Told) -> None:
        """Note a request that is answered now."""
        self.told.append(told)
        self.asked += 1

    @property
    def unused(self) -> list[str]:
        """The entries that answered nothing."""
        return [id for id in self.entries if id not in self.used]

    def lines(self, recorded: int = 0) -> Iterator[str]:
        """Say it to a person; ``recorded`` of the live answers were. What a cassette or an app has said is escaped."""
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
        for missed, nearest in list(zip_longest(self.missed, self.nearest, fillvalue=""))[:10]:
            yield f"replay: missed: {missed}" + (f" (the nearest entry is {nearest})" if nearest else "")
        if len(self.missed) > 10:
            yield f"replay: {len(self.missed) - 10} more missed"


class Player:
    """Plays a cassette. Raises OSError if it cannot be read, ValueError or re.error for rules that cannot be."""

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
        self.score = Score(entries=tuple(self._matcher.ids()), passed_over=(*self._failures.ids(), *passed_over))

    @classmethod
    def of(cls, path: Path, *, failures: Failures = "as_recorded", rules: Rules | None = None, **more: Any) -> "Player":
        """Open a cassette. Where entries answer once or in order, "last" is as recorded: each has its place."""
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
        """Return what answers a request. Raises GoneError."""
        # In a thread, because the nearest of many entries takes a while to find and other answers are being played;
        # one at a time, because each changes what answers the next.
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
            # The recorder knew the headers' secrets, and took them out of bodies too: a key may be any word.
            self._knowing.headers(request.headers)
            if (known := _asked(request, self._knowing)) != asked:
                again = matcher.find(*known)
                found = again if isinstance(again, Entry) else found
        return found

    def expired(self, entry: Entry) -> str | None:
        """Say how old an entry is, if that is too old."""
        if self._expiry is None:
            return None
        try:
            age = self._clock() - datetime.datetime.fromisoformat(entry.started)
        except (ValueError, TypeError):  # by another hand, and without a time or a zone
            return f"the entry {entry.id} does not say when it was recorded"
        if age.total_seconds() <= self._expiry.after_s:
            return None
        return f"the entry {entry.id} was recorded {age.days} days ago and has expired"

    @property
    def on_expired(self) -> OnExpired:
        """What happens to an entry that is too old."""
        return self._expiry.how if self._expiry else "warn"

    async def answer(self, entry: Entry, request: Request, exchange: Exchange) -> None:
        """Play an entry to whoever asked."""
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
    """Return what is looked for: what was recorded had been redacted, so this is."""
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

    ``live``: what nothing recorded answers goes to ``handler``; else only the paths that ``always_live`` begins.
    """

    async def ask(request: Request, exchange: Exchange) -> None:
        player.score.tell(Told(_named(request)))
        player.score.live += 1
        await handler(request, exchange)

    async def handle(request: Request, exchange: Exchange) -> None:
        if is_upgrade(request):
            # What is asked over it comes here again.
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
        # OpenAI's clients try a 409 again, unless told that it is of no use.
        exchange.headers.append(("x-should-retry", "false"))
        raise OpenAIError(found.diff, status=409, code="no_recorded_answer")

    return handle


class NoEngine:
    """The engine of a replay that never goes live: there is no Claude."""

    def status(self) -> dict[str, Any]:
        """Return nothing: nothing runs."""
        return {}

    def run(self, turn: Turn) -> AbstractAsyncContextManager[Running]:
        """Raise ClaudeError."""
        raise ClaudeError("not_logged_in", detail="answers come from a cassette, and Claude is not asked")
