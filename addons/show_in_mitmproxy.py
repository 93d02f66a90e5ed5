"""Exchanges as people read them, in mitmproxy's own programs."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from mitmproxy import contentviews, ctx, hooks, http

from addons.contentview import METADATA, ConversationContentview
from addons.ending import ending_of, ending_of_message
from addons.redirect_to_origin import REAL_ADDRESS
from engine import Event, Running
from engine.observers import FLOW_HEADER, Observers
from translate.turn import Turn, to_json

FAILED = ":x:"
"""How mitmproxy marks what went wrong."""


class ShowInMitmproxy:
    """Register the content view, and keep with each flow what it shows of Claude's side.

    ``flow.metadata["understudy"]``: ``turns``, ``events`` as [ms, turn, event], ``chunks`` as [ms, bytes], ``how`` it
    ended. The flow's comment says who answered, on what process, when the first piece came, and what went wrong; what
    went wrong is marked (``~marked`` finds it).
    """

    def __init__(self, observers: Observers) -> None:
        self._witnesses = observers
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

    async def response(self, flow: http.HTTPFlow) -> None:
        """Say what came of it."""
        await self._end(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        """Say what came of it."""
        await self._end(flow)

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Mark a WebSocket over which a request has failed."""
        assert flow.websocket is not None  # noqa: S101 - that is what the hook is for
        message = flow.websocket.messages[-1]
        if message.from_client or REAL_ADDRESS not in flow.metadata:
            return
        ending = ending_of_message(message.content)
        if ending is not None and ending.failed:
            flow.marked = FAILED
            flow.comment = " · ".join(filter(None, [flow.comment, ending.reason]))
            await changed(flow)

    async def _end(self, flow: http.HTTPFlow) -> None:
        note = self._noting.pop(flow.id, None)
        if note is None:
            return
        self._witnesses.forget(flow.id)
        if flow.response is not None and flow.response.raw_content is None:
            # mitmproxy keeps nothing of a stream that broke off.
            flow.response.raw_content = b"".join(note.sent)
        note.sent.clear()
        ending = ending_of(flow)
        note.told["how"] = ending.outcome
        flow.comment = note.comment(flow, ending.reason)
        if ending.failed:
            flow.marked = FAILED
        await changed(flow)


async def changed(flow: http.HTTPFlow) -> None:
    """Have mitmproxy's views look at a flow again: they have done so before we could mark it."""
    await ctx.master.addons.trigger_event(hooks.UpdateHook([flow]))


class _Note:
    """What is noted of one flow."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.told: dict[str, Any] = {"turns": [], "events": [], "chunks": []}
        self.sent: list[bytes] = []

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
                self.sent.append(data)
            return before(data) if callable(before) else data

        return note

    def comment(self, flow: http.HTTPFlow, reason: str) -> str:
        """Say in a line who answered, how and when, and what went wrong."""
        headers = flow.response.headers if flow.response is not None else http.Headers()
        facts = [headers.get("x-understudy-process", ""), headers.get("x-understudy-model", "")]
        if self.told["chunks"]:
            facts.append(f"{self.told['chunks'][0][0]:.0f} ms")
        facts.append(reason)
        return " · ".join(filter(None, facts))

    def _at(self) -> float:
        return round((time.monotonic() - self._began) * 1000, 3)
