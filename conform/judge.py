"""Runs all checks on one exchange."""

import dataclasses
import re
from collections.abc import Iterator

from conform.accumulators import check_with_openai
from conform.answers import check_answer
from conform.chat_stream import check_chunks
from conform.document import EXTRA, MISSING, Difference, Document, Walk
from conform.errors import check_error, check_headers
from conform.exchange import NOT_JSON, Exchange, Finding, Problem, short
from conform.response_stream import check_events
from conform.shapes import walks
from conform.wire import Wire

SHAPE = "shape"
"""The check that finds an answer whose types another check cannot read."""


def judge(exchange: Exchange, document: Document, wire: Wire, *, recorded: bool = False) -> list[Finding]:
    """Run all checks on an exchange. ``recorded``: it is a recording, and may lack headers."""
    checks: dict[str, Iterator[Problem]] = {
        "headers": check_headers(exchange, recorded=recorded),
        "error": check_error(exchange),
        "document": _document(exchange, document, wire),
        "wire": _wire(exchange, document, wire),
        "stream": _stream(exchange),
        "answer": check_answer(exchange),
        "openai-python": check_with_openai(exchange),
    }
    found = []
    for check, problems in checks.items():
        try:
            told = list(_told_once(problems))
        except (TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
            # The checks read the types of the real API, and a server may send any other.
            check, came = SHAPE, f"what the check «{check}» cannot read ({type(error).__name__})"
            told = [Problem("the answer", came, "values of the types in the document")]
        found += [Finding(check, exchange.name, one.place, one.came, one.wanted) for one in told]
    return found


def _document(exchange: Exchange, document: Document, wire: Wire) -> Iterator[Problem]:
    """Yield all differences from the document, except those that the real API has too."""
    if not exchange.is_stream and exchange.body is NOT_JSON:
        if not exchange.is_error:  # an error has its own check
            yield Problem("$", short(exchange.text), "JSON")
        return
    for walk in walks(exchange, document):
        for difference in walk.differences:
            if difference.how == EXTRA:
                if wire.is_extra(difference):
                    wanted = f"no such key in {document.title}, nor in {wire.seen(difference.shape)}"
                    yield Problem(difference.place, short(difference.came), wanted)
            elif not wire.allows(exchange, difference, _parent(walk, difference)):
                came = "no such key" if difference.how == MISSING else short(difference.came)
                place = f"{difference.place}.{difference.key}" if difference.how == MISSING else difference.place
                yield Problem(place, came, f"{difference.wanted} ({difference.shape} in {document.title})")


def _parent(walk: Walk, difference: Difference) -> dict[str, object]:
    """Return the object in which a key is missing. Empty for other differences."""
    return next((value for place, _, value in walk.objects if place == difference.place), {})


def _wire(exchange: Exchange, document: Document, wire: Wire) -> Iterator[Problem]:
    for walk in walks(exchange, document):
        told = {(one.place, one.key) for one in walk.differences if one.how == MISSING}
        for place, shape, value in walk.objects:
            for problem in wire.missing(exchange, place, shape, value):
                if (place, problem.place.rpartition(".")[2]) not in told:
                    yield problem


def _stream(exchange: Exchange) -> Iterator[Problem]:
    if not exchange.is_stream:
        return
    yield from check_events(exchange) if exchange.dialect == "responses" else check_chunks(exchange)


def _told_once(problems: Iterator[Problem]) -> Iterator[Problem]:
    """Join problems that are the same difference at the same key of several events or items."""
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((re.sub(r"\d+", "", problem.place), problem.wanted), []).append(problem)
    for first, *more in alike.values():
        place = f"{first.place}, and {len(more)} more" if more else first.place
        yield dataclasses.replace(first, place=place)
