"""Record each exchange in a cassette while it happens: the app's side and Claude's side."""

import asyncio
import contextlib
import datetime
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mitmproxy import command, exceptions, http
from mitmproxy.types import Path as PathArgument

from addons.bounded_websocket import REFUSED
from addons.hosts import matches
from addons.redirect_to_origin import REAL_ADDRESS
from api.access import KEY_HEADER
from api.app import TOKEN_HEADER
from api.client_identity import CLIENT_HEADER
from api.endpoints.status import RECORD_PATH, STATUS_PATH
from api.meter import messages_of
from api.replay import REPLAYED_HEADER
from cassettes.assemble import assemble, is_complete, is_event_stream
from cassettes.openai_bodies import error_in, usage_in
from cassettes.record.record import CassetteError, Keep, Recorder, Recording
from cassettes.redact.redact import Redactor
from cassettes.unpack import unpack_all
from engine import Event, Running
from engine.observers import FLOW_HEADER, Observers
from settings import Settings
from translate.prices import cost_of
from translate.turn import Turn, to_json, turn_weight

log = logging.getLogger("understudy")

OURS = frozenset({TOKEN_HEADER, CLIENT_HEADER, KEY_HEADER, FLOW_HEADER, "proxy-authorization"})
"""Headers that the proxy's addons exchange with the origin. They are not part of the app's request."""

REFUSALS = frozenset({401, 403, 404, 405})
"""Statuses of requests that were refused before Claude was asked: no valid key, no permission, or no endpoint."""

NOT_ACCEPTED = "a request that is refused, or breaks off before it is accepted, is kept without its body"

SETTLE_S = 5.0
"""How long :meth:`Record.settle` waits for unfinished turns. Each is interrupted within milliseconds."""


LAST_BYTES = 1024 * 1024
"""How many of the last bytes sent are searched for the end of the stream."""


class Record:
    """Record the exchanges that the origin answers and, if the settings ask for it, others too.

    Its hooks must run after a request is redirected to the origin, and before the real address is restored.
    """

    def __init__(self, settings: Settings, observers: Observers) -> None:
        self._settings = settings
        self._witnesses = observers
        self._recorder: Recorder | None = None
        self._taken: dict[str, Taken] = {}
        self._ending: dict[asyncio.Task[None], Taken] = {}
        self._not_kept: list[str] = []
        self._has_recorded = False

    # Starting and stopping

    def running(self) -> None:
        """Start recording if the settings ask for it. Raises CassetteError."""
        settings = self._settings
        path = settings.record
        to_be_replayed = path is None and "record" in (settings.replay_on_miss, settings.replay_on_expired)
        if to_be_replayed:
            path = settings.replay
        if self._recorder is None and path is not None:
            # A recording may contain failures, since its user can inspect them. A replay that adds to its own cassette
            # must not record them: it would answer with the failure for ever.
            self.start(path, failures=settings.replay_keep_errors or not to_be_replayed)

    def done(self) -> None:
        """Stop recording."""
        self.stop()

    async def settle(self) -> None:
        """Wait for the usage of exchanges that have ended. The engine reports it only while it runs."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=SETTLE_S)

    @command.command("understudy.record")  # type: ignore[untyped-decorator]
    def record(self, path: PathArgument) -> None:
        """Record into a cassette from now on."""
        try:
            self.start(Path(str(path)).expanduser())
        except CassetteError as error:
            raise exceptions.CommandError(str(error)) from error

    @command.command("understudy.record.stop")  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop recording. Exchanges that still run are recorded as interrupted."""
        if self._recorder is not None:
            log.info("recording to %s has ended", self._recorder.file)
            for taken in self._ending.values():
                taken.finish()
            for taken in self._taken.values():
                taken.begin_entry()
            self._recorder.close()
            paths = self._recorder.redactor.unmatched_paths() if self._has_recorded else []
            if paths:
                log.warning("record.redact.paths that named nothing in any exchange: %s", ", ".join(paths))
            self._not_kept += self._recorder.not_kept
            self._recorder = None
            self._taken.clear()

    def start(self, path: Path, *, failures: bool = True) -> None:
        """Record into a cassette. ``failures``: also record failures not caused by the app. Raises CassetteError."""
        settings = self._settings
        recorder = Recorder(
            path,
            redact=Redactor(
                headers=settings.record_redact_headers,
                json_paths=settings.record_redact_paths,
                patterns=settings.record_redact_patterns,
            ),
            fsync=settings.record_fsync,  # type: ignore[arg-type]
            max_bytes=settings.record_max_mb * 1024 * 1024 or None,
            keep=Keep(body_bytes=settings.max_body_bytes, failures=failures),
            beside=True,
        )
        self.stop()
        self._recorder = recorder
        log.info("recording to %s", recorder.file)

    @property
    def not_kept(self) -> list[str]:
        """The exchanges that were not recorded because they failed, each with its reason."""
        return [*self._not_kept, *(self._recorder.not_kept if self._recorder else ())]

    def switch(self, on: bool) -> None:
        """Start or stop recording into the configured file. The caller cannot choose the file. Raises CassetteError."""
        if not on:
            self.stop()
        elif self._recorder is None:
            self.start(self._settings.record or self._settings.data_dir / "recordings")

    def status(self) -> dict[str, Any]:
        """Return the cassette's file, its problem if any, and how many exchanges were not recorded."""
        if self._recorder is None:
            return {"recording": None}
        recorder = self._recorder
        return {
            "recording": {
                "file": str(recorder.file),
                "problem": recorder.problem,
                "not_kept": len(recorder.not_kept),
            }
        }

    # What happens to a flow

    def request(self, flow: http.HTTPFlow) -> None:
        """Begin an entry."""
        if self._recorder is None or flow.response or not self._is_wanted(flow) or is_handshake(flow):
            return
        real = flow.metadata.get(REAL_ADDRESS)
        if real is None:
            # Secrets cannot be found in a compressed body.
            flow.request.headers["accept-encoding"] = "identity"
        # If API keys are required, clients without a key may send requests too. Do not redact or write such a request
        # before it is accepted.
        may_be_refused = real is not None and self._settings.client_auth and self._settings.record_refused != "whole"
        self._taken[flow.id] = taken = self._take(self._recorder, flow, at_once=not may_be_refused)
        if real is not None:
            flow.request.headers[FLOW_HEADER] = flow.id
            self._witnesses.add(flow.id, taken)

    def _take(self, recorder: Recorder, flow: http.HTTPFlow, *, at_once: bool) -> "Taken":
        request, real = flow.request, flow.metadata.get(REAL_ADDRESS)
        host = real[3] or real[1] if real else request.headers.get("host", request.host)
        headers = [("host", host)]
        headers += [(name, value) for name, value in pairs(request) if name.lower() not in {*OURS, "host"}]
        method, path = request.method, request.path
        began = datetime.datetime.now(datetime.UTC)

        def begin(why_no_body: str | None) -> Recording:
            body, fields = request.raw_content or b"", headers
            self._has_recorded = True
            if why_no_body is None:
                body = decoded(request, self._settings.max_body_bytes)
            if body != request.raw_content:
                fields = [(name, value) for name, value in headers if name.lower() != "content-encoding"]
            return recorder.begin(method, path, fields, body, started=began, why_no_body=why_no_body)

        return Taken(begin, at_once=at_once)

    def _take_refused(self, flow: http.HTTPFlow) -> "Taken | None":
        """Begin the entry of a request that was refused at its headers. Its body was never read."""
        path = flow.request.path.partition("?")[0]
        if self._recorder is None or REFUSED not in flow.metadata or flow.websocket is not None:
            return None
        if self._settings.record_refused == "never" or path in (STATUS_PATH, RECORD_PATH):
            return None
        self._taken[flow.id] = taken = self._take(self._recorder, flow, at_once=False)
        return taken

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Record the response's status and headers, and copy its chunks as they pass."""
        taken, response = self._taken.get(flow.id), flow.response
        if taken is None or response is None:
            return
        if REPLAYED_HEADER in response.headers:
            self._forget(flow).discard()
            return
        if taken.is_refused(response.status_code) and self._settings.record_refused == "never":
            self._forget(flow).discard()
            return
        taken.respond(response.status_code, pairs(response))
        if response.stream:
            response.stream = taken.passing(response.stream)

    def response(self, flow: http.HTTPFlow) -> None:
        """End the entry of a response that is complete."""
        taken = self._taken.get(flow.id) or self._take_refused(flow)
        if taken is None or flow.response is None:
            return
        if not taken.responded:  # an addon made the response
            taken.respond(flow.response.status_code, pairs(flow.response))
        if not flow.response.stream:
            taken.chunk(decoded(flow.response, self._settings.max_body_bytes))
        self._end(flow, "done")

    def error(self, flow: http.HTTPFlow) -> None:
        """End the entry of an exchange that broke off."""
        taken = self._taken.get(flow.id)
        if taken is None:
            return
        if is_complete(b"".join(taken.sent)[-LAST_BYTES:]):
            # Clients may disconnect as soon as they have read the last event of a stream.
            self._end(flow, "done")
        else:
            by_app = flow.error is None or "client" in flow.error.msg.lower()
            self._end(flow, "cut_by_app" if by_app else "failed", error=flow.error.msg if flow.error else None)

    def begin(self, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> "Taken | None":
        """Begin an entry; return None if nothing is recorded."""
        recorder = self._recorder
        return None if recorder is None else Taken(lambda _: recorder.begin(method, path, headers, body))

    def finish(self, taken: "Taken", how: str, *, error: Any = None) -> None:
        """End an entry when Claude's side has ended too. That side may go on in the background, or be interrupted."""
        taken.app_ended(how, error)
        task = asyncio.get_running_loop().create_task(taken.claude_ended(), name="the end of an exchange")
        if not task.done():
            self._ending[task] = taken
            task.add_done_callback(self._ending.pop)

    def _is_wanted(self, flow: http.HTTPFlow) -> bool:
        path = flow.request.path.partition("?")[0]
        if REAL_ADDRESS in flow.metadata:
            return path not in (STATUS_PATH, RECORD_PATH)
        return self._settings.record_passthrough and matches(flow.request.pretty_host, self._settings.hosts)

    def _forget(self, flow: http.HTTPFlow) -> "Taken":
        self._witnesses.forget(flow.id)
        return self._taken.pop(flow.id)

    def _end(self, flow: http.HTTPFlow, how: str, *, error: Any = None) -> None:
        self.finish(self._forget(flow), how, error=error)


class Taken:
    """One exchange that is being recorded. It observes Claude's side and holds the app's side.

    ``begin`` begins the entry. Its argument is the reason to leave out the request's body, or None to include it. If
    ``at_once`` is false, the entry begins when the request has been accepted or refused.
    """

    def __init__(self, begin: Callable[[str | None], Recording], *, at_once: bool = True) -> None:
        self._begin = begin
        self._recording = begin(None) if at_once else None
        self.responded = False
        self.sent: list[bytes] = []
        self._since = time.monotonic()
        self._content_type = ""
        self._process = ""
        self._turns: list[Running] = []
        self._ended: tuple[str, float, Any] = "interrupted", 0.0, None
        self._is_asked = False
        self._left: asyncio.Event | None = None

    def begin(self) -> None:
        """Note that Claude's work has begun."""
        self._is_asked, self._left = True, asyncio.Event()

    def end(self) -> None:
        """Note that Claude's work has ended."""
        if self._left is not None:
            self._left.set()

    def begin_entry(self, status: int | None = None) -> Recording:
        """Begin the entry if it has not begun. Leave out the request's body if the status is a refusal or unknown."""
        if self._recording is None:
            self._recording = self._begin(NOT_ACCEPTED if status is None or self.is_refused(status) else None)
        return self._recording

    def is_refused(self, status: int) -> bool:
        """Whether the status is a refusal and the entry has not begun."""
        return self._recording is None and status in REFUSALS

    def discard(self) -> None:
        """Discard the entry."""
        if self._recording is not None:
            self._recording.discard()

    @property
    def recording(self) -> Recording:
        """The entry. It begins now if it has not begun."""
        return self.begin_entry()

    def turn(self, of: int, turn: Turn, running: Running) -> None:
        """Record a turn."""
        self.begin_entry(200)
        self._turns.append(running)
        self.recording.turn_of(turn_weight(turn), lambda: to_json(turn), at_ms=self._at(), of=of)

    def event(self, of: int, event: Event) -> None:
        """Keep an event."""
        self.recording.event(self._at(), event, of=of)

    def respond(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Keep the head of the answer."""
        self.responded = True
        named = {name.lower(): value for name, value in headers}
        self._content_type = named.get("content-type", "")
        self._process = named.get("x-understudy-process", "")
        self.begin_entry(status).respond(self._at(), status, headers)

    def passing(self, before: Any) -> Callable[[bytes], Any]:
        """Return a stream function that records each chunk and then calls ``before``, the previous stream function."""

        def keep(data: bytes) -> Any:
            if data:
                self.chunk(data)
            return before(data) if callable(before) else data

        return keep

    def chunk(self, data: bytes) -> None:
        """Record a chunk that was sent to the app."""
        if data:
            self.sent.append(data)
            self.recording.chunk(self._at(), data)

    def app_ended(self, how: str, error: Any) -> None:
        """Note how the exchange ended for the app."""
        self._ended = how, self._at(), error

    async def claude_ended(self) -> None:
        """Finish the entry when Claude's side of it has ended."""
        if self._left is not None:
            await self._left.wait()
        with contextlib.suppress(Exception):  # the response reports why a turn did not run
            await messages_of(self._turns)
        self.finish()
        if self.recording.is_busy:
            await asyncio.to_thread(self.recording.wait)

    def finish(self) -> None:
        """Finish the entry with what is known now, if it is not finished.

        A large response is assembled outside the event loop.
        """
        used: dict[str, Any] = {}
        if self._is_asked:
            messages = [message for running in self._turns for message in running.messages]
            used = {"claude_usage": messages, "cost_usd": cost_of(messages)}
        sent, self.sent = self.sent, []
        self.recording.end_with(sum(map(len, sent)), lambda: {**self._about(b"".join(sent)), **used})

    def _about(self, body: bytes) -> dict[str, Any]:
        """Return the fields that end the entry, without Claude's usage and cost."""
        how, at_ms, error = self._ended
        message = assemble(self._content_type, body)
        told = error_in(message)
        if is_event_stream(self._content_type) and (told is not None or (how == "done" and not is_complete(body))):
            # Clients disconnect when they have read an error. The cause of the end is the error.
            how, error = "failed", told or error
        return {
            "how": how,
            "at_ms": at_ms,
            "message": message,
            "usage": usage_in(message),
            "process": self._process or None,
            "error": error or told,
        }

    def _at(self) -> float:
        return (time.monotonic() - self._since) * 1000


def is_handshake(flow: http.HTTPFlow) -> bool:
    """Whether the flow is a WebSocket handshake. WebSocket messages are recorded one by one."""
    return str(flow.request.headers.get("upgrade", "")).strip().lower() == "websocket"


def pairs(message: http.Message) -> list[tuple[str, str]]:
    """Return a message's headers in their original order, with repeated headers separate."""
    return [
        (name.decode("utf-8", "replace"), value.decode("utf-8", "replace")) for name, value in message.headers.fields
    ]


def decoded(message: http.Message, most: int) -> bytes:
    """Return a body without its content encoding. Return it unchanged if it cannot be decoded.

    A decoded body is cut after ``most`` + 1 bytes.
    """
    body = message.raw_content or b""
    with contextlib.suppress(ValueError):
        # Decode one byte more than the limit, so that the caller can detect a body that is too long.
        return unpack_all(body, str(message.headers.get("content-encoding", "")), most + 1)
    return body
