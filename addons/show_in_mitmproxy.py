"""Shows exchanges as conversations in mitmproxy's own programs."""

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
"""The marker of failed flows in mitmproxy."""


class ShowInMitmproxy:
    """Registers the content view, and stores Claude's side of each exchange with its flow.

    ``flow.metadata["understudy"]`` has ``turns``, ``events`` as [ms, turn, event], ``chunks`` as [ms, bytes], and
    ``how`` the exchange ended. The flow's comment has the model, the process, the time of the first piece and the
    error. Failed flows are marked. The filter ``~marked`` finds them.
    """

    def __init__(self, observers: Observers) -> None:
        self._witnesses = observers
        self._noting: dict[str, _Note] = {}

    def running(self) -> None:
        """Register the view."""
        with contextlib.suppress(ValueError):  # already registered: mitmproxy loads a script again after it was edited
            contentviews.add(ConversationContentview)

    def request(self, flow: http.HTTPFlow) -> None:
        """Observe a flow that the origin answers."""
        if REAL_ADDRESS in flow.metadata and flow.response is None:
            note = self._noting[flow.id] = _Note()
            flow.metadata[METADATA] = note.told
            flow.request.headers[FLOW_HEADER] = flow.id
            self._witnesses.add(flow.id, note)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Note the pieces of a streamed response."""
        note = self._noting.get(flow.id)
        if note is not None and flow.response is not None and flow.response.stream:
            flow.response.stream = note.passing(flow.response.stream)

    async def response(self, flow: http.HTTPFlow) -> None:
        """Note how the flow ended."""
        await self._end(flow)

    async def error(self, flow: http.HTTPFlow) -> None:
        """Note how the flow ended."""
        await self._end(flow)

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Mark a WebSocket if one of its requests has failed."""
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
            # mitmproxy stores nothing of a stream that broke off.
            flow.response.raw_content = b"".join(note.sent)
        note.sent.clear()
        ending = ending_of(flow)
        note.told["how"] = ending.outcome
        flow.comment = note.comment(flow, ending.reason)
        if ending.failed:
            flow.marked = FAILED
        await changed(flow)


async def changed(flow: http.HTTPFlow) -> None:
    """Make mitmproxy's views show a flow again. They have shown it before it was marked."""
    await ctx.master.addons.trigger_event(hooks.UpdateHook([flow]))


class _Note:
    """The notes about one flow."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.told: dict[str, Any] = {"turns": [], "events": [], "chunks": []}
        self.sent: list[bytes] = []

    def begin(self) -> None:
        """Do nothing: the turns are noted when they come."""

    def end(self) -> None:
        """Do nothing: the notes end with the flow."""

    def turn(self, of: int, turn: Turn, running: Running) -> None:
        """Note a turn."""
        self.told["turns"].append(to_json(turn))

    def event(self, of: int, event: Event) -> None:
        """Note an event."""
        self.told["events"].append([self._at(), of, dict(event)])

    def passing(self, before: Any) -> Callable[[bytes], Any]:
        """Return a stream function that notes each piece, and then calls ``before``, the previous stream function."""

        def note(data: bytes) -> Any:
            if data:
                self.told["chunks"].append([self._at(), len(data)])
                self.sent.append(data)
            return before(data) if callable(before) else data

        return note

    def comment(self, flow: http.HTTPFlow, reason: str) -> str:
        """Return the flow's comment: process, model, time of the first piece, and the error."""
        headers = flow.response.headers if flow.response is not None else http.Headers()
        facts = [headers.get("x-understudy-process", ""), headers.get("x-understudy-model", "")]
        if self.told["chunks"]:
            facts.append(f"{self.told['chunks'][0][0]:.0f} ms")
        facts.append(reason)
        return " · ".join(filter(None, facts))

    def _at(self) -> float:
        return round((time.monotonic() - self._began) * 1000, 3)
