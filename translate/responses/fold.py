"""Makes the body of an answer that is not streamed from its events."""

from collections.abc import Iterable

from msgspec.structs import replace

from translate.responses.wire import Billing, Completed, Failed, Incomplete, Response, ResponseEvent


def fold(events: Iterable[ResponseEvent]) -> Response:
    """Return the response that these events are the stream of. Raises ValueError if the last event does not end it."""
    last: ResponseEvent | None = None
    for event in events:
        last = event
    match last:
        case Completed() | Incomplete() | Failed():
            return last.response
        case _:
            raise ValueError("the events are not a complete response")


def body_of(response: Response) -> Response:
    """Return a response that has ended as a body has it: with ``billing``, which no event has."""
    return replace(response, billing=Billing())
