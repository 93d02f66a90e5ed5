"""Runs a program once, and observes whether it uses the proxy and trusts its certificate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mitmproxy import http
from mitmproxy.tls import TlsData

from addons.hosts import matches
from cli.doctor.checks import Finding
from translate.errors import OpenAIError

ASKED = OpenAIError(
    "`understudy doctor` only checks how this program connects. It answers no requests.", status=503, code="doctor"
)


@dataclass(slots=True)
class Watcher:
    """An addon that observes a program. It answers requests for OpenAI's hosts with an error; Claude is not asked."""

    hosts: Sequence[str]
    connected: list[str] = field(default_factory=list)
    """The hosts of all tunnels that the program asked for, OpenAI's and others."""
    trusted: set[str] = field(default_factory=set)
    distrusted: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Note a tunnel."""
        self.connected.append(flow.request.host)

    def tls_established_client(self, data: TlsData) -> None:
        """Note that the program accepted our certificate."""
        self.trusted.add(data.conn.sni or "")

    def tls_failed_client(self, data: TlsData) -> None:
        """Note that the program rejected our certificate."""
        self.distrusted[data.conn.sni or (data.context.server.address or ("",))[0]] = data.conn.error or ""

    def request(self, flow: http.HTTPFlow) -> None:
        """Note a request, and answer it with 503."""
        if matches(flow.request.pretty_host, self.hosts):
            self.asked.append(f"{flow.request.method} {flow.request.path.partition('?')[0]}")
            flow.response = http.Response.make(ASKED.status, ASKED.body(), {"content-type": "application/json"})

    def findings(self, command: Sequence[str], status: int) -> Iterator[Finding]:
        """Yield what was observed, after the program has ended with this exit status."""
        name = command[0]
        ours = [host for host in self.connected if matches(host, self.hosts)]
        refused = {host: why for host, why in self.distrusted.items() if matches(host, self.hosts)}
        if status in (126, 127):
            yield Finding(name, "fault", "it could not be run", "is the command right?")
        elif self.asked:
            many = f"{len(self.asked)} requests, the first {self.asked[0]}"
            yield Finding(name, "ok", f"it goes through the proxy and trusts its certificate: {many}")
        elif refused:
            host, why = next(iter(refused.items()))
            yield Finding(
                name,
                "fault",
                f"it asked for {host} and did not trust the certificate ({why or 'it hung up'})",
                "its runtime ignores the certificate variables (docs/trust.md), or it pins certificates:"
                " use a base URL instead, `understudy serve --base-url 127.0.0.1:8081`",
            )
        elif ours:
            todo = "it may have closed the connection because it does not trust the certificate (docs/trust.md)"
            yield Finding(name, "fault", f"it opened a tunnel to {ours[0]} and sent nothing through it", todo)
        elif self.connected:
            told = f"it goes through the proxy, but asked only for {', '.join(sorted(set(self.connected))[:5])}"
            yield Finding(
                name,
                "warning",
                told,
                "if one of these hosts is the API, add it with --host; otherwise the program did not use the API",
            )
        elif status:
            told = f"it ended with status {status} before it sent a request; see its own error above"
            yield Finding(name, "warning", told, "fix that first, then run the doctor again")
        else:
            yield Finding(
                name,
                "warning",
                "it sent nothing to the proxy",
                "it made no request, or its runtime ignores proxy variables (docs/trust.md): use a base URL instead,"
                " `understudy serve --base-url 127.0.0.1:8081`",
            )
