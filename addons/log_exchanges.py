"""Logs one line for each exchange, and counts how exchanges ended."""

import logging
from collections import Counter
from typing import Any

from mitmproxy import http

from addons.each_ending import EachEnding
from addons.ending import Ending
from cassettes.outcome import DONE
from translate.printable import one_line

log = logging.getLogger("understudy")


class LogExchanges(EachEnding):
    """Logs what was requested, which model answered, how it ended and how long it took."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        """The number of exchanges for each outcome: ``done``, ``failed``, ``cut_by_app``."""

    def status(self) -> dict[str, Any]:
        """Return the counts, for monitors."""
        return {"exchanges": {"done": 0, "failed": 0, "cut_by_app": 0, **self.counts}}

    def ended(self, flow: http.HTTPFlow, ending: Ending) -> None:
        """Log an exchange, and count it."""
        self.counts[ending.outcome] += 1
        # A client may send thousands of requests that are refused, so equal lines are folded into one.
        log.info("%s", describe(flow, ending), extra={"folds": _kind(flow, ending)} if ending.failed else None)

    def opened(self, flow: http.HTTPFlow) -> None:
        """Log that a WebSocket was opened."""
        log.info("%s", describe(flow, Ending(DONE)))


def _kind(flow: http.HTTPFlow, ending: Ending) -> str:
    """Return the status or the outcome. Lines with the same one are folded into one line."""
    status = flow.response.status_code if flow.response is not None else None
    return f"{status}" if status is not None and status >= 400 else ending.outcome


def describe(flow: http.HTTPFlow, ending: Ending) -> str:
    """Return the line about a flow."""
    request, response = flow.request, flow.response
    status = str(response.status_code) if response is not None else "no answer"
    parts = [f"{request.method} {request.scheme}://{request.pretty_host}{request.path.partition('?')[0]} {status}"]
    if ending.failed:
        word = "cut off" if ending.outcome == "cut_by_app" else "failed"
        parts.append(f"{word} ({ending.reason})" if ending.reason else word)
    if response is not None:
        headers = response.headers
        if model := headers.get("x-understudy-model"):
            parts.append(f"by {model} ({headers.get('x-understudy-process', 'no')} process)")
        # Other lines of the log about this failure have the same id.
        if response.status_code >= 400 and (request_id := headers.get("x-request-id")):
            parts.append(f"request {request_id}")
        if "x-understudy-rehearsal" in headers:
            parts.append("REHEARSAL: no model was asked")
    began, ended = request.timestamp_start, (response.timestamp_end if response else None)
    if began and ended:
        parts.append(f"{ended - began:.2f} s")
    # mitmproxy's own programs print the log without escaping.
    return one_line(", ".join(parts))
