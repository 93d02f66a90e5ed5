"""Events folded into the one body that an app gets when it does not stream."""

from collections.abc import Iterable

from translate.responses.wire import Completed, Failed, Incomplete, Response, ResponseEvent


def fold(events: Iterable[ResponseEvent]) -> Response:
    """Return the response whose stream these events are. Raises ValueError unless the last of them ends it."""
    last: ResponseEvent | None = None
    for event in events:
        last = event
    match last:
        case Completed() | Incomplete() | Failed():
            return last.response
        case _:
            raise ValueError("the events are not a complete response")
