"""One line in the log for each exchange."""

import logging

from mitmproxy import http

from addons.stream_events import ENDED

log = logging.getLogger("understudy")


class LogExchanges:
    """Say what was asked, who answered, how it ended and how long it took."""

    def response(self, flow: http.HTTPFlow) -> None:
        """Log an exchange that was answered."""
        if flow.response is not None:
            status = flow.response.status_code
            # Whoever is refused can be refused ten thousand times.
            log.info("%s", describe(flow, str(status)), extra={"folds": f"{status}"} if status >= 400 else None)

    def error(self, flow: http.HTTPFlow) -> None:
        """Log an exchange that was cut off. Some clients hang up as soon as they have read what ends a stream."""
        if flow.metadata.get(ENDED) and flow.response is not None:
            log.info("%s", describe(flow, str(flow.response.status_code)))
            return
        how = f"cut off ({flow.error.msg if flow.error else 'unknown'})"
        log.info("%s", describe(flow, how), extra={"folds": "cut off"})


def describe(flow: http.HTTPFlow, end: str) -> str:
    """Return the line about a flow."""
    request, response = flow.request, flow.response
    parts = [f"{request.method} {request.scheme}://{request.pretty_host}{request.path.partition('?')[0]} {end}"]
    if response is not None:
        headers = response.headers
        if model := headers.get("x-understudy-model"):
            parts.append(f"by {model} ({headers.get('x-understudy-process', 'no')} process)")
        if "x-understudy-rehearsal" in headers:
            parts.append("REHEARSAL: no model was asked")
    began, ended = request.timestamp_start, (response.timestamp_end if response else None)
    if began and ended:
        parts.append(f"{ended - began:.2f} s")
    return ", ".join(parts)
