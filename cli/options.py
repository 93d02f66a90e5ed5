"""The options that several commands have, each written once."""

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[list[str] | None, typer.Option(help="One more host to stand in for; wildcards allowed.")]
Passthrough = Annotated[
    bool | None, typer.Option("--passthrough", help="Send unsupported paths on to the real host, with the app's key.")
]
ModelMap = Annotated[
    list[str] | None, typer.Option(help="PATTERN=MODEL: who answers for which model name, e.g. 'gpt-4*=opus'.")
]
DefaultModel = Annotated[str | None, typer.Option(help="Who answers for a name that nothing maps.")]
Rehearsal = Annotated[
    bool | None, typer.Option("--rehearsal", help="Ask a simulated API; needs no account. Answers say so.")
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Another configuration file than understudy.toml.")]
Listen = Annotated[str | None, typer.Option(help="HOST:PORT of the proxy. Port 0: one that is free.")]
ClientAuth = Annotated[
    bool | None, typer.Option("--client-auth", help="Ask for a key at every door (`understudy keys make`).")
]
RecordFile = Annotated[Path | None, typer.Option("--record", help="Record every exchange into this cassette (.jsonl).")]
Replay = Annotated[Path | None, typer.Option("--replay", help="Answer from this cassette; no Claude, no credentials.")]
OnMiss = Annotated[
    str | None, typer.Option(help="What no recorded request is like: fail (409), live, or record (live, and kept).")
]
Speed = Annotated[float | None, typer.Option(help="Replay so many times faster than recorded; 0: at once.")]
Faults = Annotated[Path | None, typer.Option(help="A file of faults to replay with the answers (docs/faults.md).")]
Mode = Annotated[
    list[str] | None,
    typer.Option(help="One more door, as mitmproxy names them: socks5@1080, local:curl, transparent, wireguard."),
]
Web = Annotated[
    bool, typer.Option("--web", help="Show what happens in the browser: mitmweb, with exchanges as conversations.")
]
WebListen = Annotated[str, typer.Option("--web-listen", help="HOST:PORT of mitmweb.")]
Summary = Annotated[
    bool | None,
    typer.Option(
        "--summary/--quiet",
        help="Say at the end what came through the proxy and what it cost. By default only on a terminal.",
    ),
]
UpstreamProxy = Annotated[
    str | None, typer.Option(help="http://[user:password@]HOST:PORT that our own traffic must go through.")
]
BaseUrl = Annotated[str | None, typer.Option(help="HOST:PORT of a door for apps that can set OPENAI_BASE_URL.")]
