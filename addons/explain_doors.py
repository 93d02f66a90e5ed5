"""Answer requests to the proxy's own addresses with an explanation of how to use them.

There are three such addresses. The first is the proxy's own (``http://127.0.0.1:8080/``). Many users open it in a
browser or set it as a base URL. The second is the address for base URLs. The third is the root of a simulated API's
host, reached through the proxy. If API keys are required, the answer says only that.
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
"""The modes that programs use with ``HTTPS_PROXY``."""

ASK_FOR_A_KEY = "This is Understudy. It answers those who have a key. Its operator gives out keys."


class ExplainOwnAddress:
    """Answer all requests to the proxy's own address.

    It answers at the request headers, before other addons check the target and decide whether to store the body.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Send an explanation, or an error if the client uses this address as a base URL."""
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
        """Return text on how to set the base URL, or on how to enable it."""
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
    """Answer ``GET /`` at the address for base URLs and at the hosts of simulated APIs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def request(self, flow: http.HTTPFlow) -> None:
        """Send an explanation."""
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
    """Whether a request is a GET or HEAD of ``/``."""
    return request.method in ("GET", "HEAD") and request.path.partition("?")[0] == "/"


def is_icon(request: http.Request) -> bool:
    """Whether a request is for the icon that browsers request automatically."""
    return request.method in ("GET", "HEAD") and request.path.partition("?")[0] == "/favicon.ico"


def answer_icon(flow: http.HTTPFlow) -> None:
    """Answer with 204. A 404 would be counted and logged as a failed request."""
    flow.response = http.Response.make(204)


def is_own_address(flow: http.HTTPFlow) -> bool:
    """Whether a request is for the address at which the proxy itself listens.

    Browsers that open the address send such requests. So do programs that use it as a base URL.
    """
    client, request = flow.client_conn, flow.request
    if not isinstance(client.proxy_mode, PROXIES):
        return False
    # Include other loopback names: mitmproxy refuses to connect to them, since it would connect to itself.
    host, port = client.sockname[:2]
    return request.port == port and (request.host == host or is_loopback(request.host))


def misdirected(at: str, base_url: str) -> OpenAIError:
    """Return the error for a program that uses the proxy's own address as a base URL."""
    return OpenAIError(
        f"{at} is the address of a proxy, not a base URL. Set HTTPS_PROXY to it (`understudy env` prints all that it "
        f"takes). Or, for `understudy serve`, {base_url}.",
        status=421,
        code="misdirected_request",
    )


def explain(flow: http.HTTPFlow, lines: list[str]) -> None:
    """Answer with lines of text, as HTML, JSON or plain text according to the Accept header."""
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
    """Return an HTML page with a paragraph for each line. The text is escaped. The page loads no other files."""
    paragraphs = "\n".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<!doctype html>\n<meta charset="utf-8">\n<title>Understudy</title>\n{paragraphs}\n'
