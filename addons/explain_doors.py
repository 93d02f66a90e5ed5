"""Whoever opens one of the proxy's addresses by hand is told what it is and what to do with it.

There are three such addresses: the proxy's own (``http://127.0.0.1:8080/``), which many take for a base URL or open in
a browser; the base-URL door; and, through the proxy, the root of a host that we stand in for. Where keys are asked for,
it is only said that a key is needed.
"""

import html
import json

from mitmproxy import http
from mitmproxy.proxy import mode_specs

from addons.guard_base_url import REACHED_AS
from addons.hosts import is_loopback, matches
from addons.redirect_to_origin import MAGIC_HOST, refuse
from settings import Settings, write_address
from translate.errors import OpenAIError

PROXIES = (mode_specs.RegularMode, mode_specs.UpstreamMode)
"""The doors that programs come to by ``HTTPS_PROXY``."""

ASK_FOR_A_KEY = "This is Understudy. It answers those who have a key. Whoever runs it gives out keys."


class ExplainOwnAddress:
    """Answer whatever is asked of the proxy's own address.

    It does so by the head, before other addons judge where the request leads, and whether its body is kept.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Explain, or refuse what takes this address for a base URL."""
        if flow.response or flow.error or not flow.live or not is_own_address(flow):
            return
        at = f"http://{write_address(flow.request.host, flow.request.port)}"
        if is_icon(flow.request):
            answer_icon(flow)
        elif is_root(flow.request):
            explain(flow, self._about_proxy(at))
        else:
            refuse(flow, misdirected(at, self._base_url()))

    def _base_url(self) -> str:
        """Return the base URL that apps can have here, or else what makes one."""
        door = self._settings.base_url
        if door is None or door[1] == 0:
            return "start it with --base-url 127.0.0.1:8081 and set OPENAI_BASE_URL=http://127.0.0.1:8081/v1"
        return f"set OPENAI_BASE_URL=http://{write_address(*door)}/v1"

    def _about_proxy(self, at: str) -> list[str]:
        if self._settings.client_auth:
            return [ASK_FOR_A_KEY]
        return [
            "This is Understudy: a proxy that has Claude answer programs that speak the OpenAI API.",
            "Send a program through it: understudy run -- COMMAND",
            f'Or set the variables in its shell: eval "$(understudy env --listen {at.removeprefix("http://")})"',
            f"This address is a proxy (HTTPS_PROXY={at}), not a base URL. For a program that takes only a base URL,"
            f" {self._base_url()}",
            f"What it is doing: curl --proxy {at} http://{MAGIC_HOST}/",
        ]


class ExplainDoors:
    """Answer ``GET /`` at the base-URL door, and of the hosts that we stand in for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def request(self, flow: http.HTTPFlow) -> None:
        """Explain."""
        request = flow.request
        if flow.response or flow.error or not flow.live or not (is_root(request) or is_icon(request)):
            return
        is_door = isinstance(flow.client_conn.proxy_mode, mode_specs.ReverseMode)
        stands_in = not self._settings.passthrough and matches(request.pretty_host, self._settings.hosts)
        if is_icon(request):
            if is_door or stands_in:
                answer_icon(flow)
        elif is_door:
            reached = flow.metadata.get(REACHED_AS) or write_address(*flow.client_conn.sockname[:2])
            explain(flow, self._about_base_url(f"http://{reached}"))
        elif stands_in:
            explain(flow, self._about_host(request.pretty_host))

    def _about_base_url(self, at: str) -> list[str]:
        if self._settings.client_auth:
            return [
                ASK_FOR_A_KEY,
                f"It takes the key where OpenAI's would be: OPENAI_BASE_URL={at}/v1 OPENAI_API_KEY=…",
            ]
        return [
            "This is the base-URL door of Understudy, which has Claude answer programs that speak the OpenAI API.",
            f"Send a program here: OPENAI_BASE_URL={at}/v1 OPENAI_API_KEY=anything",
            f"What it answers: {at}/v1",
            f"What it is doing: {at}/understudy/status",
        ]

    def _about_host(self, host: str) -> list[str]:
        if self._settings.client_auth:
            return [ASK_FOR_A_KEY]
        return [
            f"This is Understudy, which stands in for {host} and has Claude answer.",
            f"What it answers: https://{host}/v1",
            f"What it is doing: http://{MAGIC_HOST}/",
        ]


def is_root(request: http.Request) -> bool:
    """Whether a request is one for a page that explains."""
    return request.method in ("GET", "HEAD") and request.path.partition("?")[0] == "/"


def is_icon(request: http.Request) -> bool:
    """Whether a request is the one that browsers make for a page's icon, unasked."""
    return request.method in ("GET", "HEAD") and request.path.partition("?")[0] == "/favicon.ico"


def answer_icon(flow: http.HTTPFlow) -> None:
    """Answer that there is no icon. A 404 would be counted and logged as a request that failed."""
    flow.response = http.Response.make(204)


def is_own_address(flow: http.HTTPFlow) -> bool:
    """Whether a request is for the very address at which the proxy listens for programs.

    A browser that opens the address asks so, and a program that has it for a base URL.
    """
    client, request = flow.client_conn, flow.request
    if not isinstance(client.proxy_mode, PROXIES):
        return False
    # Loopback's other names count too: mitmproxy refuses to connect to them as to itself.
    host, port = client.sockname[:2]
    return request.port == port and (request.host == host or is_loopback(request.host))


def misdirected(at: str, base_url: str) -> OpenAIError:
    """Return what a program is told that takes the proxy's own address for a base URL."""
    return OpenAIError(
        f"{at} is the address of a proxy, not a base URL. Set HTTPS_PROXY to it (`understudy env` prints all that it "
        f"takes). Or, for `understudy serve`, {base_url}.",
        status=421,
        code="misdirected_request",
    )


def explain(flow: http.HTTPFlow, lines: list[str]) -> None:
    """Answer with some lines: as a page for a browser, as JSON for who wants only that, else as text."""
    accept = flow.request.headers.get("accept", "")
    if "text/html" in accept:
        kind, body = "text/html", page(lines)
    elif "json" in accept:
        kind, body = "application/json", json.dumps({"message": lines}, indent=2) + "\n"
    else:
        kind, body = "text/plain", "\n".join(lines) + "\n"
    content = b"" if flow.request.method == "HEAD" else body.encode()
    headers = {"content-type": f"{kind}; charset=utf-8", "cache-control": "no-store", "vary": "accept"}
    flow.response = http.Response.make(200, content, headers)


def page(lines: list[str]) -> str:
    """Return a page with a paragraph for each line. Its text is escaped; it loads nothing."""
    paragraphs = "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<!doctype html>\n<meta charset="utf-8">\n<title>Understudy</title>\n{paragraphs}\n'
