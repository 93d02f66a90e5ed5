"""Exchanges as people read them, in mitmproxy's own programs."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from mitmproxy import contentviews, http

from addons.redirect_to_origin import REAL_ADDRESS
from engine import Event, Running
from origin.witness import FLOW_HEADER, Witnesses
from translate.turn import Turn, to_json
from views.conversation import METADATA, ConversationContentview

FAILED = ":x:"
"""How mitmproxy marks what went wrong."""


class ShowInMitmproxy:
    """Register the content view, and keep with each flow what it shows of Claude's side.

    ``flow.metadata["understudy"]``: ``turns``, ``events`` as [ms, turn, event], ``chunks`` as [ms, bytes].
    The flow's comment says who answered, on what process and when the first piece came; what went wrong is marked.
    """

    def __init__(self, witnesses: Witnesses) -> None:
        self._witnesses = witnesses
        self._noting: dict[str, _Note] = {}

    def running(self) -> None:
        """Register the view."""
        with contextlib.suppress(ValueError):  # it is there already: a script is loaded anew when it is edited
            contentviews.add(ConversationContentview)

    def request(self, flow: http.HTTPFlow) -> None:
        """Listen in on a flow that the origin answers."""
        if REAL_ADDRESS in flow.metadata and flow.response is None:
            note = self._noting[flow.id] = _Note()
            flow.metadata[METADATA] = note.told
            flow.request.headers[FLOW_HEADER] = flow.id
            self._witnesses.add(flow.id, note)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Listen in on the pieces of a stream."""
        note = self._noting.get(flow.id)
        if note is not None and flow.response is not None and flow.response.stream:
            flow.response.stream = note.passing(flow.response.stream)

    def response(self, flow: http.HTTPFlow) -> None:
        """Say what came of it."""
        self._end(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Say what came of it."""
        self._end(flow)

    def _end(self, flow: http.HTTPFlow) -> None:
        note = self._noting.pop(flow.id, None)
        if note is None:
            return
        self._witnesses.forget(flow.id)
        flow.comment = note.comment(flow)
        if flow.error is not None or (flow.response is not None and flow.response.status_code >= 400):
            flow.marked = FAILED


class _Note:
    """What is noted of one flow."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.told: dict[str, Any] = {"turns": [], "events": [], "chunks": []}

    def begin(self) -> None:
        """Note nothing: what is asked tells of itself."""

    def end(self) -> None:
        """Note nothing: the flow ends for the app."""

    def turn(self, of: int, turn: Turn, running: Running) -> None:
        """Note a turn."""
        self.told["turns"].append(to_json(turn))

    def event(self, of: int, event: Event) -> None:
        """Note an event."""
        self.told["events"].append([self._at(), of, dict(event)])

    def passing(self, before: Any) -> Callable[[bytes], Any]:
        """Return what notes each piece of a stream and passes it on, by way of what was to pass it on before."""

        def note(data: bytes) -> Any:
            if data:
                self.told["chunks"].append([self._at(), len(data)])
            return before(data) if callable(before) else data

        return note

    def comment(self, flow: http.HTTPFlow) -> str:
        """Say in a line who answered, how, and when."""
        headers = flow.response.headers if flow.response is not None else http.Headers()
        facts = [headers.get("x-understudy-process", ""), headers.get("x-understudy-model", "")]
        if self.told["chunks"]:
            facts.append(f"{self.told['chunks'][0][0]:.0f} ms")
        if flow.error is not None:
            facts.append(flow.error.msg)
        return " · ".join(filter(None, facts))

    def _at(self) -> float:
        return round((time.monotonic() - self._began) * 1000, 3)
