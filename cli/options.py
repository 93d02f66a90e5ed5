"""The options that several commands share. Each is declared once.

``SETTINGS`` has the options that set a setting. A command lists the ones that it takes with :func:`with_settings`. The
help shows options in panels. The first panel, "Options", has what most users need.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate

import typer

MODELS = "Models"
REPLAYING = "With --replay"
DOORS = "Hosts and connections"
REST = "Settings and log"

REPLAY = "replay_"
"""The prefix of settings that only a replay uses. Their options leave it out: ``--on-miss``."""


def levels() -> list[str]:
    """Return the values of `--log-level`, for the shell's completion."""
    return ["debug", "info", "warning", "error"]


def misses() -> list[str]:
    """Return the values of `--on-miss`, for the shell's completion."""
    return ["fail", "live", "record"]


SETTINGS: Mapping[str, Any] = {
    "rehearsal": Annotated[
        bool | None,
        typer.Option(
            "--rehearsal",
            help="Ask a simulated API instead of Claude. Needs no account. The answers say that they are simulated.",
        ),
    ],
    "record": Annotated[
        str | None,
        typer.Option("--record", metavar="FILE", help="Record every exchange into this cassette (.jsonl)."),
    ],
    "replay": Annotated[
        Path | None,
        typer.Option(
            "--replay", metavar="FILE", help="Answer from this cassette. Needs neither Claude nor credentials."
        ),
    ],
    "listen": Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="The address of the proxy. Port 0 means any free port.")
    ],
    "base_url": Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Also listen on this address, for apps that can set OPENAI_BASE_URL."),
    ],
    "model_map": Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=MODEL",
            help="The Claude model for a model name or a pattern of names: 'gpt-4*=opus'. Can be repeated.",
            rich_help_panel=MODELS,
        ),
    ],
    "default_model": Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The Claude model for all other model names.", rich_help_panel=MODELS),
    ],
    "replay_on_miss": Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="What to do with a request that is not in the cassette. fail: answer with status 409. live: ask "
            "Claude. record: ask Claude, and record the answer.",
            autocompletion=misses,
            rich_help_panel=REPLAYING,
        ),
    ],
    "replay_speed": Annotated[
        str | None,
        typer.Option(
            metavar="TIMES",
            help="The speed of the answers: 2 is twice as fast as recorded. 0 sends each answer at once.",
            rich_help_panel=REPLAYING,
        ),
    ],
    "replay_faults": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file of faults (errors, pauses, cuts) to play with the answers: docs/faults.md.",
            rich_help_panel=REPLAYING,
        ),
    ],
    "hosts": Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Answer for this host too, besides api.openai.com. Wildcards work. Can be repeated.",
            rich_help_panel=DOORS,
        ),
    ],
    "passthrough": Annotated[
        bool | None,
        typer.Option(
            "--passthrough",
            help="Send requests for paths that Understudy does not support to the real host, with the app's key.",
            rich_help_panel=DOORS,
        ),
    ],
    "upstream_proxy": Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send Understudy's own traffic through this proxy: http://[user:password@]HOST:PORT.",
            rich_help_panel=DOORS,
        ),
    ],
    "client_auth": Annotated[
        bool | None,
        typer.Option(
            "--client-auth",
            help="Require a key from each app (`understudy keys make`). Needed to listen for other machines.",
            rich_help_panel=DOORS,
        ),
    ],
    "mode": Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODE",
            help="Also accept connections in this mode of mitmproxy: socks5@1080, local:curl, transparent, wireguard. "
            "Can be repeated.",
            rich_help_panel=DOORS,
        ),
    ],
    "log_level": Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="The lowest level to log: debug, info, warning or error.",
            autocompletion=levels,
            rich_help_panel=REST,
        ),
    ],
    "log_file": Annotated[
        Path | None,
        typer.Option("--log-file", metavar="FILE", help="Also append the log to this file.", rich_help_panel=REST),
    ],
}
"""For each setting that has an option: the option's type, help and panel."""

FLAGGED = frozenset(SETTINGS)
"""The settings that have an option."""

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Read this settings file instead of understudy.toml.", rich_help_panel=REST
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
CassetteFile = Annotated[Path, typer.Argument(metavar="FILE", help="A cassette: a file or a folder.")]


@dataclass(frozen=True, slots=True)
class Given:
    """What the user typed: the file of ``--config``, and the value of each setting's option (None: not given)."""

    config: Path | None
    flags: Mapping[str, Any]


def option_of(setting: str) -> str:
    """Return the name of the option that sets a setting.

    >>> option_of("replay_on_miss"), option_of("hosts"), option_of("model_map")
    ('--on-miss', '--host', '--model-map')
    """
    return "--host" if setting == "hosts" else "--" + setting.removeprefix(REPLAY).replace("_", "-")


def with_settings[**P](
    *settings: str,
) -> Callable[[Callable[Concatenate[Given, P], None]], Callable[..., None]]:
    """Add ``--config`` and the options of these settings to a command, in this order.

    The command gets their values as its first parameter, a :class:`Given`. Its own parameters follow.
    """
    options = {option_of(setting)[2:].replace("-", "_"): setting for setting in settings}

    def decorate(command: Callable[Concatenate[Given, P], None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

        def run(config: Path | None = None, **values: Any) -> None:
            flags = {setting: values.pop(name) for name, setting in options.items()}
            command(Given(config, flags), **values)  # type: ignore[call-arg]

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = {name: SETTINGS[setting] for name, setting in options.items()} | {"config": ConfigFile}
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                *(inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in shared.items()),
                *(parameter.replace(kind=keyword) for parameter in own),
            ]
        )
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate
