"""What happens to a flow: one file, one class, one job.

The order matters: the origin must be there before a flow is sent to it, a flow's real address must be put back before
anything looks at the finished flow, and a connection's bytes wait between the first addon that sees a head and the one
that judges it.
"""

from collections.abc import Mapping
from typing import Any

from addons.bound_connections import BoundConnections
from addons.bound_requests import BoundRequests
from addons.count_requests import CountRequests
from addons.decrypt_only_ours import DecryptOnlyOurs
from addons.explain_doors import ExplainDoors, ExplainOwnAddress
from addons.guard_base_url import GuardBaseUrl
from addons.guard_own_page import GuardOwnPage
from addons.guard_tunnels import GuardTunnels
from addons.log_exchanges import LogExchanges
from addons.login_upstream import LoginUpstream
from addons.name_in_certificate import NameInCertificate
from addons.proxy_login import ProxyLogin
from addons.record import Record
from addons.record_sockets import RecordSockets
from addons.redirect_to_origin import RedirectToOrigin
from addons.refuse_loops import RefuseLoops
from addons.serve_origin import ServeOrigin
from addons.show_in_mitmproxy import ShowInMitmproxy
from addons.stream_events import StreamEvents
from addons.trust_hint import TrustHint
from settings import Settings


def default_addons(settings: Settings, environ: Mapping[str, str], *, shown: bool = False) -> list[Any]:
    """Return the addons in their order. ``environ`` is what Claude Code's processes may know of.

    ``shown``: somebody looks at the flows in one of mitmproxy's programs.
    """
    serve = ServeOrigin(settings, environ)
    record = Record(settings, serve.observers)
    log = LogExchanges()
    serve.more_status = lambda: {**log.status(), **record.status()}
    serve.record = record.switch
    serve.before_done = record.settle
    connections = BoundConnections(settings)
    redirect = RedirectToOrigin(settings, serve)
    keys: list[Any] = []
    if settings.client_auth:
        login = ProxyLogin(serve.access, connections.is_known)
        keys = [
            login,
            GuardTunnels(settings, redirect, serve.access, key_of=login.key_of, is_tunnel=connections.is_tunnel),
        ]
    return [
        DecryptOnlyOurs(settings.hosts),
        NameInCertificate(settings.hosts),
        connections,
        serve,
        ExplainOwnAddress(settings),
        *keys,
        RefuseLoops(settings),
        GuardBaseUrl(settings),
        GuardOwnPage(settings),
        ExplainDoors(settings),
        redirect,
        BoundRequests(settings, redirect, serve.access, known=connections.is_known, judged=connections.was_judged),
        *([LoginUpstream(settings.upstream_proxy)] if settings.upstream_proxy else []),
        StreamEvents(),
        record,
        RecordSockets(record, serve.observers),
        *([ShowInMitmproxy(serve.observers)] if shown else []),
        TrustHint(settings.hosts),
        CountRequests(settings.hosts),
        log,
    ]
