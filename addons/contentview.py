"""A content view that shows a conversation, and Claude's side of it, instead of JSON and event streams.

A body that is not a conversation is left to mitmproxy's other views.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mitmproxy import http
from mitmproxy.contentviews import Contentview, Metadata

from cassettes.assemble import assemble
from cassettes.format import HOW, Chunk, Entry, Event, How, Request
from cassettes.openai_bodies import array, error_in, parsed, usage_in
from cassettes.show.show import Line, about_lines, answer_lines, request_lines
from cassettes.show.story import Story, story
from cassettes.show.timeline import bar, timeline

METADATA = "understudy"
"""``flow.metadata``: Claude's side of the exchange (:mod:`addons.show_in_mitmproxy`)."""

PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/completions")

# Above mitmproxy's own views for JSON (1) and event streams (1).
PRIORITY = 2.0


class ConversationContentview(Contentview):
    """Shows a request as a conversation. Shows a response as one message, with Claude's side below it."""

    @property
    def name(self) -> str:
        """The name of the view in mitmproxy."""
        return "Understudy"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Return the highest priority for the paths of OpenAI's API that have conversations, and -1 for all others."""
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow) or not data:
            return -1
        path = flow.request.path.partition("?")[0].rstrip("/")
        return PRIORITY if any(path == one or path.startswith(f"{one}/") for one in PATHS) else -1

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return the conversation or the answer as text. Raises ValueError if the body is neither."""
        flow = metadata.flow
        if not isinstance(flow, http.HTTPFlow):
            raise ValueError("there is no flow to show")  # noqa: TRY004 - mitmproxy expects ValueError
        is_request = metadata.http_message is flow.request
        try:
            told = story(entry_of(flow, data, is_request=is_request))
            lines = request_lines(told) if is_request else _answer_lines(flow, data, told)
            return "\n".join(text for text in written(lines)).strip("\n") + "\n"
        except RecursionError:
            raise ValueError("it is nested too deeply to be shown") from None


def _answer_lines(flow: http.HTTPFlow, data: bytes, told: Story) -> Iterator[Line]:
    yield from answer_lines(told)
    yield from about_lines(told, bar(timeline(entry_of(flow, data, is_request=False), told.tokens.output)))


def written(lines: Iterator[Line]) -> Iterator[str]:
    """Yield the lines as plain text, each with its indent."""
    for indent, line in lines:
        yield "\n".join(f"{' ' * indent}{part}".rstrip() for part in line.plain.split("\n"))


def entry_of(flow: http.HTTPFlow, data: bytes, *, is_request: bool) -> Entry:
    """Return a flow as an entry of a cassette, which ``cassettes/show/`` can read. ``data`` is the shown body."""
    known = flow.metadata.get(METADATA)
    side: Mapping[str, Any] = known if isinstance(known, Mapping) else {}
    asked = data if is_request else _content(flow.request)
    answered = b"" if is_request else data
    response = flow.response
    chunks = tuple(_chunks(side.get("chunks"), answered))
    kind = response.headers.get("content-type", "") if response is not None else ""
    message = assemble(kind, answered) if answered else None
    turns = [turn for turn in array(side.get("turns")) if isinstance(turn, Mapping)]
    return Entry(
        id=flow.id,
        file=Path(),
        line=0,
        started="",
        request=Request(flow.request.method, flow.request.path, {}, parsed(asked), asked),
        turn=turns[0] if turns else None,
        more_turns=tuple(turns[1:]),
        events=tuple(_events(side.get("events"))),
        chunks=chunks,
        status=response.status_code if response is not None else None,
        headers={name.lower(): value for name, value in dict(response.headers).items()} if response is not None else {},
        message=message,
        usage=usage_in(message),
        cost_usd=None,
        process=response.headers.get("x-understudy-process") if response is not None else None,
        error=error_in(message) or (flow.error.msg if flow.error is not None else None),
        how=_how(side.get("how"), flow),
        ms=_ms(flow, chunks),
        left_out=(),
    )


def _ms(flow: http.HTTPFlow, chunks: Sequence[Chunk]) -> float:
    """Return the duration in ms. For an answer that broke off, it ends with the last piece."""
    began, ended = flow.request.timestamp_start, flow.response.timestamp_end if flow.response is not None else None
    if ended:
        return (ended - (began or ended)) * 1000
    return chunks[-1].at_ms if chunks else 0.0


def _how(noted: Any, flow: http.HTTPFlow) -> How:
    """Return how a flow ended, from the note. Without a note, mitmproxy's error decides."""
    for how in HOW:
        if how == noted:
            return how
    return "cut_by_app" if flow.error is not None else "done"


def _content(message: http.Message) -> bytes:
    return message.get_content(strict=False) or b""


def _events(noted: Any) -> Iterator[Event]:
    for one in array(noted):
        match one:
            case [int() | float() as at_ms, int() as of, Mapping() as value]:
                yield Event(float(at_ms), value, of)
            case _:
                pass


def _chunks(noted: Any, body: bytes) -> Iterator[Chunk]:
    """Split a body into the chunks in which it came. A part without a note is one chunk."""
    place = 0
    for one in array(noted):
        match one:
            case [int() | float() as at_ms, int() as size] if 0 < size <= len(body) - place:
                yield Chunk(float(at_ms), body[place : place + size])
                place += size
            case _:
                break
    if place < len(body):
        yield Chunk(0.0, body[place:])
