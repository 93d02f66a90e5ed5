"""The options that several commands have, each written once, and the panel of the help in which it stands.

What most people need stands in the first panel, "Options".
"""

from pathlib import Path
from typing import Annotated

import typer

MODELS = "Who answers"
REPLAYING = "With --replay"
DOORS = "Hosts and doors"
REST = "Settings and log"


def levels() -> list[str]:
    """Return what `--log-level` can be, for the shell's completion."""
    return ["debug", "info", "warning", "error"]


def misses() -> list[str]:
    """Return what `--on-miss` can be, for the shell's completion."""
    return ["fail", "live", "record"]


Rehearsal = Annotated[
    bool | None,
    typer.Option("--rehearsal", help="Ask a simulated API instead of Claude. Needs no account; the answers say so."),
]
RecordFile = Annotated[
    str | None,
    typer.Option("--record", metavar="FILE", help="Record every exchange into this cassette (.jsonl)."),
]
Replay = Annotated[
    Path | None,
    typer.Option("--replay", metavar="FILE", help="Answer from this cassette. Needs neither Claude nor credentials."),
]
Summary = Annotated[
    bool | None,
    typer.Option(
        "--summary",
        help="Print a summary at the end: the requests and what they cost. By default only on a terminal.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print neither the starting line nor the summary.")]
Listen = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where the proxy listens. Port 0 takes one that is free.")
]
BaseUrl = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Also listen here for apps that can set OPENAI_BASE_URL."),
]
Web = Annotated[bool, typer.Option("--web", help="Show the exchanges in the browser, in mitmweb, as conversations.")]
WebListen = Annotated[
    str | None,
    typer.Option("--web-listen", metavar="HOST:PORT", help="Where mitmweb listens, if not at 127.0.0.1:8082."),
]

ModelMap = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN=MODEL",
        help="Which Claude model answers for a model name, such as 'gpt-4*=opus'. May be given several times.",
        rich_help_panel=MODELS,
    ),
]
DefaultModel = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Which Claude model answers where no pattern fits.", rich_help_panel=MODELS),
]

OnMiss = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="What a request gets that is not in the cassette: fail (409), live (Claude answers), or record (Claude "
        "answers, and the answer is kept).",
        autocompletion=misses,
        rich_help_panel=REPLAYING,
    ),
]
Speed = Annotated[
    str | None,
    typer.Option(
        metavar="TIMES",
        help="How many times faster than recorded. 0 sends each answer at once.",
        rich_help_panel=REPLAYING,
    ),
]
Faults = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Faults to play with the answers (docs/faults.md).", rich_help_panel=REPLAYING),
]

Host = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST",
        help="One more host to answer for, besides api.openai.com. Wildcards work. May be given several times.",
        rich_help_panel=DOORS,
    ),
]
Passthrough = Annotated[
    bool | None,
    typer.Option(
        "--passthrough",
        help="Send paths that Understudy does not support to the real host, with the app's key.",
        rich_help_panel=DOORS,
    ),
]
UpstreamProxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The proxy that Understudy's own traffic must go through: http://[user:password@]HOST:PORT.",
        rich_help_panel=DOORS,
    ),
]
ClientAuth = Annotated[
    bool | None,
    typer.Option(
        "--client-auth",
        help="Ask each app for a key (`understudy keys make`). Needed to listen for other machines.",
        rich_help_panel=DOORS,
    ),
]
Mode = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODE",
        help="One more way in, in mitmproxy's words: socks5@1080, local:curl, transparent, wireguard. May be given "
        "several times.",
        rich_help_panel=DOORS,
    ),
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Another configuration file than understudy.toml.", rich_help_panel=REST
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(metavar="LEVEL", help="debug, info, warning or error.", autocompletion=levels, rich_help_panel=REST),
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Also write the log to this file.", rich_help_panel=REST),
]


FLAGGED = frozenset(
    {
        *("listen", "base_url", "mode", "upstream_proxy", "client_auth", "hosts", "passthrough"),
        *("model_map", "default_model", "rehearsal", "record", "replay"),
        *("replay_on_miss", "replay_speed", "replay_faults", "log_level", "log_file"),
    }
)
"""The settings that `serve` has an option for, and most of them `run` too."""
