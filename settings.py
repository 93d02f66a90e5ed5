"""Flags, environment and file -> one frozen Settings.

What is set on the command line wins over ``UNDERSTUDY_*`` in the environment, that over ``understudy.toml`` (in the
working directory, else in the user's configuration folder), that over the defaults. Each value remembers where it came
from. Only :func:`read_file` does I/O.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import platformdirs

from cassettes.redact.patterns import Pattern
from cassettes.redact.redact import parse_path
from cassettes.replay.match import IGNORED_PATHS, OnExpired, OnMiss
from engine.agents import Agent, AgentError, read_agents
from translate.models import DEFAULT_MODEL, DEFAULT_MODEL_MAP
from translate.prices import price_is_known

PREFIX = "UNDERSTUDY_"
FILE = "understudy.toml"
PASSWORD = re.compile(
    r"(://[^/@:\s]*:)[^?&\s]+@|([?&][\w-]*(?:key|password|secret|token)[\w-]*=)[^&\s]+", re.IGNORECASE
)
"""A secret in a URL, and what stands before it: a password before the host, or a parameter of that name."""
OPENAI_HOSTS = ("api.openai.com",)


NO_SETTINGS = frozenset({"UNDERSTUDY_CORPUS"})
"""Variables of ours that are no settings: this one tells the tests where recorded traffic is."""

# What Kubernetes sets in each container for a service named `understudy` or `understudy-…`.
SERVICE_HOST = "SERVICE_HOST"
OF_A_SERVICE = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


class SettingsError(Exception):
    """A setting cannot be what it is set to, or there is no such setting. The message names it and where it was set.

    ``setting`` is the name of a setting whose value is wrong, ``source`` where the value came from as in
    :class:`Sourced`, and ``reason`` what is wrong with it. All three are empty where no single value is wrong.
    """

    def __init__(self, message: str = "", *, setting: str = "", source: str = "", reason: str = "") -> None:
        super().__init__(message or f"{setting} (from {source}): {reason}")
        self.setting, self.source, self.reason = setting, source, reason


def parse_address(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``port`` (then on 127.0.0.1). Port 0 lets the system choose. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    return host.strip("[]") or "127.0.0.1", int(port)


def write_address(host: str, port: int) -> str:
    """Write an address as URLs have it, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_model_map(text: str) -> dict[str, str]:
    """Read ``pattern=model,pattern=model``. Raises ValueError."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if bad := [name for name, equals, model in pairs if not (name.strip() and equals and model.strip())]:
        raise ValueError(f"{bad[0]!r} is not pattern=model")
    return {name.strip(): model.strip() for name, _, model in pairs}


def parse_hosts(text: str) -> tuple[str, ...]:
    """Read host names or patterns (``*.example.com``), separated by commas or spaces, to add to OpenAI's own.

    Raises ValueError.
    """
    hosts = tuple(dict.fromkeys([*OPENAI_HOSTS, *(host.lower() for host in re.split(r"[,\s]+", text) if host)]))
    if bad := [host for host in hosts if not re.fullmatch(r"[\w.*-]+", host) or set(host) <= set("*.")]:
        raise ValueError(f"{bad[0]!r} is not a host name or pattern")
    return hosts


def parse_patterns(text: str) -> tuple[str, ...]:
    """Read host names, addresses or patterns, separated by commas or spaces; ``*`` is every host. Raises ValueError."""
    hosts = tuple(dict.fromkeys(host.lower().strip("[]") for host in re.split(r"[,\s]+", text) if host))
    if bad := [host for host in hosts if not re.fullmatch(r"[\w.*:-]+", host)]:
        raise ValueError(f"{bad[0]!r} is not a host name or pattern")
    return hosts


def _bool(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _number(kind: type[int] | type[float]) -> Callable[[str], Any]:
    def parse(text: str) -> int | float:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a {'whole ' if kind is int else ''}number") from None

    return parse


def _at_least(minimum: float, kind: type[int] | type[float]) -> Callable[[str], Any]:
    def parse(text: str) -> int | float:
        number: int | float = _number(kind)(text)
        if number < minimum:
            raise ValueError(f"{text} is below {minimum:g}, the least it can be")
        if not number < float("inf"):
            raise ValueError(f"{text!r} is not a finite number")
        return number

    return parse


def _priced_model(text: str) -> str:
    if not price_is_known(text):
        raise ValueError(f"the price of {text!r} is not known; name one that it is known of, such as opus")
    return text


def _texts(raw: Any) -> tuple[str, ...]:
    """Read a list of texts, one a line where it is a text itself: patterns and paths hold commas of their own."""
    items = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError("it is not a list of texts")
    return tuple(item.strip() for item in items if item.strip())


def _patterns(raw: Any) -> tuple[str, ...]:
    for pattern in (texts := _texts(raw)):
        Pattern(pattern)
    return texts


def _json_paths(raw: Any) -> tuple[str, ...]:
    for path in (texts := _texts(raw)):
        parse_path(path)
    return texts


def _duration(text: str) -> float:
    """Read ``90d``, ``12h``, ``30m`` or ``10s`` into seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a length of time such as 90d, 12h, 30m or 10s")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


MODES = ("socks5", "local", "transparent", "wireguard")


def _modes(raw: Any) -> tuple[str, ...]:
    modes = re.split(r"[,\s]+", raw) if isinstance(raw, str) else _texts(raw)
    for mode in (found := tuple(filter(None, modes))):
        if re.split(r"[:@]", mode)[0] not in MODES:
            raise ValueError(f"{mode!r} is not one of {', '.join(MODES)}")
    return found


def _proxy_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("it is not http://host:port")
    try:
        port = url.port
    except ValueError:  # its message would quote a part of the password
        raise ValueError("its port is not a number") from None
    if port is None:
        raise ValueError("it names no port")
    return text


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _setting(parse: Callable[[Any], Any], help: str, default: Any = MISSING, factory: Any = MISSING) -> Any:
    metadata = {"parse": parse, "help": help}
    return field(default=default, default_factory=factory, metadata=metadata)


def _file_path(text: str) -> Path:
    if not text:
        raise ValueError("it is empty, and would mean the working directory")
    return Path(text).expanduser()


def _cassette_path(text: str) -> Path:
    """Read where to record into. A name like ``chat.txt`` would silently become a folder."""
    path = _file_path(text)
    if path.suffix not in ("", ".jsonl") and not text.endswith(("/", os.sep)) and not path.is_dir():
        raise ValueError(f"a cassette's name ends in .jsonl; a folder's name ends in /: {text!r} does neither")
    return path


def _agents(raw: Any) -> Mapping[str, Agent]:
    if not isinstance(raw, Mapping):
        raise ValueError("agents are written in a file, as [agent.NAME] tables")  # noqa: TRY004 - a person's mistake
    try:
        return read_agents(raw)
    except AgentError as error:
        raise ValueError(str(error)) from None


SECRET = frozenset({"store_key"})
"""What `understudy config` does not show."""

LISTS = (_texts, _patterns, _json_paths, _modes, _agents)
"""What takes TOML's lists as they are."""

MANY = (parse_hosts, parse_patterns, parse_model_map)
"""What takes a list of texts, and in text separates them by commas."""

TEXTS = (str, _file_path, _cassette_path, _proxy_url, *MANY)
"""What TOML must write as text: made of a number or a date, it would be a name that nobody has written."""


TABLES = (parse_model_map, _agents)
"""What takes TOML's tables whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, with its default. The help texts are what `understudy config` shows."""

    listen: tuple[str, int] = _setting(parse_address, "where the proxy listens", ("127.0.0.1", 8080))
    base_url: tuple[str, int] | None = _setting(
        parse_address, "where the base-URL door listens; empty: it is closed", None
    )
    base_url_hosts: tuple[str, ...] = _setting(
        _texts,
        "host names that requests to the base-URL door may use; IP addresses and localhost are always allowed",
        (),
    )
    origins: tuple[str, ...] = _setting(
        _texts, "origins of web pages that may use the base-URL door and the proxy's own page; * for all", ()
    )
    mode: tuple[str, ...] = _setting(
        _modes, "further ways in, by mitmproxy's names: socks5, local:NAME, transparent, wireguard", ()
    )
    upstream_proxy: str | None = _setting(
        _proxy_url, "the proxy (http://…) for Understudy's own requests and for tunnelled traffic", None
    )
    hosts: tuple[str, ...] = _setting(
        parse_hosts, "hosts that Understudy answers for; yours are added to OpenAI's own", OPENAI_HOSTS
    )
    passthrough: bool = _setting(_bool, "send unsupported paths on to the real host, with the app's own key", False)
    model_map: Mapping[str, str] = _setting(
        parse_model_map, "patterns of model names -> Claude models; they come before the built-in table", factory=dict
    )
    default_model: str = _setting(str, "the Claude model for names that no pattern fits", DEFAULT_MODEL)
    mcp_servers: tuple[str, ...] = _setting(
        _texts, "URLs of MCP servers that apps may let Claude use; * matches any part: https://mcp.example.com/*", ()
    )
    web_search: bool = _setting(_bool, "let apps use Anthropic's web search, which your account pays for", True)
    show_reasoning: bool = _setting(
        _bool, "show Claude's thinking also to apps that do not ask for it with the header", False
    )
    rehearsal: bool = _setting(_bool, "ask a simulated API instead of Anthropic's", False)
    rehearsal_delay_s: float = _setting(_at_least(0, float), "the rehearsal's pause before each token", 0.02)
    max_processes: int = _setting(_at_least(1, int), "how many turns run at once; more wait", 8)
    spare_processes: int = _setting(
        _at_least(0, int), "how many Claude Code processes are started ahead for the next requests", 1
    )
    max_waiting: int = _setting(_at_least(0, int), "how many requests may wait; more are refused (429)", 100)
    kept_processes: int = _setting(
        _at_least(0, int),
        "with client_auth: how many of max_processes are reserved for keys that have no turn running",
        1,
    )
    max_memory_mb: int = _setting(
        _at_least(0, int),
        "the memory that all Claude Code processes may use together (PSS); 0: half of the machine's",
        0,
    )
    keep_idle_s: float = _setting(
        _at_least(0, float), "how long an idle process waits for its conversation to continue", 600.0
    )
    wait_s: float = _setting(_at_least(0, float), "how long a request may wait for a free process", 60.0)
    timeout_s: float = _setting(_at_least(1, float), "how long a turn may take in all", 600.0)
    first_token_timeout_s: float = _setting(_at_least(1, float), "how long Claude may take to begin an answer", 300.0)
    idle_timeout_s: float = _setting(_at_least(1, float), "how long Claude may be silent within a turn", 300.0)
    keep_alive_s: float = _setting(
        _at_least(1, float), "after this much silence a stream sends a comment, so that nobody closes it", 15.0
    )
    retries: int = _setting(_at_least(0, int), "how often a turn that failed before its first token is tried again", 2)
    drain_s: float = _setting(_at_least(0, float), "how long `serve` waits for running answers when it is ended", 10.0)
    max_body_bytes: int = _setting(
        _at_least(1024, int), "the largest request body or WebSocket message", 64 * 1024 * 1024
    )
    max_bodies_mb: int = _setting(
        _at_least(1, int),
        "the memory for all request bodies together; more get 503, except bodies up to 64 KiB. With client_auth a key"
        " may use as much as is still free: one key gets half, two get a third each",
        128,
    )
    request_timeout_s: float = _setting(
        _at_least(0.1, float),
        "how long a new connection may wait with its first request, the head of a request may take, and a body (408) or"
        " a WebSocket message (1008) may pause",
        30.0,
    )
    min_upload_bytes_per_s: float = _setting(
        _at_least(0, float),
        "the least speed of a body or a WebSocket message after its first request_timeout_s; 0: no limit",
        1024.0,
    )
    max_connections: int = _setting(
        _at_least(8, int),
        "how many clients may be connected at once, if the limit of open files allows; beyond it an idle one is closed",
        1000,
    )
    max_new_connections: int = _setting(
        _at_least(4, int),
        "how many connections may have sent no request yet (with client_auth: no key); beyond it the oldest is closed",
        128,
    )
    image_max_megapixels: float = _setting(
        _at_least(0.01, float), "the largest image that is accepted, in millions of pixels", 64.0
    )
    image_processes: int = _setting(_at_least(1, int), "how many images are scaled down at once; more wait", 1)
    image_memory_mb: int = _setting(
        _at_least(128, int),
        "the memory for scaling an image down, where the system can limit it (not on macOS and Windows)",
        768,
    )
    client_auth: bool = _setting(
        _bool, "require a key (`understudy keys make`); needed to listen for other machines", False
    )
    unknown_price_as: str | None = _setting(
        _priced_model,
        "the model whose price is used for models without a known price, for keys with a budget in US dollars; without"
        " it such a key cannot use these models",
        None,
    )
    tunnel: tuple[str, ...] = _setting(
        parse_patterns,
        "with client_auth: the only hosts besides `hosts` that a key may connect to; empty: every host with a public"
        " address. A host that is named without * may have a private address",
        (),
    )
    key_check_s: float = _setting(
        _at_least(0.1, float),
        "how often the keys of open tunnels are checked; the tunnels of a revoked key are closed then",
        5.0,
    )
    store: str | None = _setting(
        str, "the database for keys and stored data: a file, or postgresql://…; the default is a file in data_dir", None
    )
    store_key: tuple[str, ...] = _setting(
        _texts, "keys that encrypt stored data; the first encrypts new data (`understudy keys encryption-key`)", ()
    )
    store_days: float = _setting(
        _at_least(0, float), "after how many days stored responses and completions are deleted; 0: never", 30.0
    )
    store_max_mb: int = _setting(
        _at_least(0, int), "how much is stored for one key; beyond it the oldest is deleted; 0: no limit", 256
    )
    files_max_mb: int = _setting(
        _at_least(0, int),
        "how much the uploaded files of one key may have; beyond it new ones are refused; 0: no limit",
        1024,
    )
    files_total_mb: int = _setting(_at_least(0, int), "the size of all uploaded files of all keys; 0: no limit", 10240)
    batch_concurrency: int = _setting(
        _at_least(0, int), "how many requests of batches this proxy answers at once; 0: it runs no batches", 2
    )
    store_lease_s: float = _setting(
        _at_least(1, float), "how long the other proxies on a shared store take a silent proxy to be running", 30.0
    )
    session_idle_s: float = _setting(_at_least(0, float), "after this idle time a session is deleted; 0: never", 3600.0)
    session_wait_s: float = _setting(
        _at_least(0, float),
        "how long a request waits for another one of its session to end; 0: it gets 409 at once",
        600.0,
    )
    provider: str | None = _setting(
        str,
        "which credentials Claude Code uses, instead of the first that are found: see `understudy auth status`",
        None,
    )
    api_key_helper: str | None = _setting(str, "a command that prints the API key for Claude Code", None)
    claude_env: tuple[str, ...] = _setting(
        _texts,
        "further variables that `claude` and agents inherit; * matches any part: GIT_*. never UNDERSTUDY_*",
        (),
    )
    cli_path: Path | None = _setting(_file_path, "a `claude` program to use instead of the SDK's own", None)
    data_dir: Path = _setting(
        _file_path,
        "where the certificate authority, the store and Claude Code's own state are kept",
        factory=lambda: platformdirs.user_data_path("understudy"),
    )
    agent: Mapping[str, Agent] = _setting(
        _agents, "agents, which are Claude with tools of its own: [agent.NAME] tables, docs/agents.md", factory=dict
    )
    record: Path | None = _setting(_cassette_path, "the cassette to record into", None)
    record_passthrough: bool = _setting(_bool, "also record requests that are passed through to the real host", False)
    record_refused: str = _setting(
        _one_of("head", "whole", "never"),
        "how requests that client_auth refuses (401, 403, 404, 405) are recorded: head (without bodies), whole, never",
        "head",
    )
    record_max_mb: int = _setting(
        _at_least(0, int), "the size at which a cassette continues in another file; 0: no limit", 0
    )
    record_fsync: str = _setting(
        _one_of("never", "entry", "event"),
        "when a recording is flushed to disk (fsync): never, with each entry, with each event",
        "never",
    )
    record_redact_headers: tuple[str, ...] = _setting(_texts, "further headers that hold secrets", ())
    record_redact_paths: tuple[str, ...] = _setting(_json_paths, "further places in bodies that hold secrets", ())
    record_redact_patterns: tuple[str, ...] = _setting(
        _patterns, "further patterns of secrets: regular expressions of RE2", ()
    )
    replay: Path | None = _setting(_file_path, "the cassette that answers requests, instead of Claude", None)
    replay_on_miss: OnMiss = _setting(
        _one_of(*get_args(OnMiss.__value__)),
        "what happens to a request that is not in the cassette: fail (409), live, or record (live, and kept in the"
        " cassette)",
        "fail",
    )
    replay_keep_errors: bool = _setting(
        _bool,
        "also keep and play answers that failed at the proxy: no credentials, 401, 429, 5xx, time-outs, broken streams",
        False,
    )
    replay_expires_in: float | None = _setting(
        _duration, "how old an entry may be: 90d, 12h, 30m, 10s; without it they never expire", None
    )
    replay_on_expired: OnExpired = _setting(
        _one_of(*get_args(OnExpired.__value__)),
        "what happens to an older entry: warn (and play it), fail (409), or record (live, and kept in the cassette)",
        "warn",
    )
    replay_speed: float = _setting(_at_least(0, float), "how many times faster than recorded; 0: at once", 1.0)
    replay_recut: int | None = _setting(
        _number(int), "a seed: cut streams at other places, at random, to test a client's parser", None
    )
    replay_faults: Path | None = _setting(_file_path, "a file of faults to play with the answers", None)
    replay_only: tuple[str, ...] = _setting(_texts, "compare only these keys of a body", ())
    replay_ignore_paths: tuple[str, ...] = _setting(
        _json_paths, "places of bodies that may differ from what was recorded", IGNORED_PATHS
    )
    replay_ignore_patterns: tuple[str, ...] = _setting(
        _patterns, "parts of texts that may differ, besides ids, UUIDs and times: regular expressions of RE2", ()
    )
    replay_in_order: bool = _setting(_bool, "requests must come in the recorded order", False)
    replay_once: bool = _setting(_bool, "each entry answers only once", False)
    log_level: str = _setting(_one_of("debug", "info", "warning", "error"), "debug, info, warning or error", "info")
    log_file: Path | None = _setting(_file_path, "also append the log to this file", None)

    def store_place(self) -> str | Path:
        """Where the store is."""
        return self.store or self.data_dir / "understudy.db"

    def full_model_map(self) -> dict[str, str]:
        """The person's patterns, then the built-in ones."""
        return {**self.model_map, **{k: v for k, v in DEFAULT_MODEL_MAP.items() if k not in self.model_map}}


@dataclass(frozen=True, slots=True)
class Sourced:
    """Settings, and where each value came from: ``flag``, a variable's name, a file's path, ``default``."""

    settings: Settings
    source: Mapping[str, str]


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: tuple[Path, Mapping[str, Any]] | None = None
) -> Sourced:
    """Put the settings together. Flags that are None were not given.

    Raises SettingsError, also for a name of the file, or an ``UNDERSTUDY_*`` variable, that is not a setting's.
    """
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    known = {f.name: f for f in fields(Settings)}
    from_file = _flat(file[1], known) if file else {}
    if unknown := [name for name in from_file if name not in known]:
        raise SettingsError(f"{file[0] if file else ''}: there is no setting {suggest(unknown, known)}")
    if unknown := _unknown_variables(environ, known):
        raise SettingsError(f"the environment: there is no setting for {suggest(unknown, known, variables=True)}")
    for name, spec in known.items():
        variable = PREFIX + name.upper()
        if flags.get(name) is not None:
            raw, source[name] = flags[name], "flag"
        elif environ.get(variable) or (variable in environ and spec.metadata["parse"] in MAY_BE_EMPTY):
            raw, source[name] = environ[variable], variable
        elif name in from_file:
            raw, source[name] = from_file[name], str(file[0]) if file else ""
        else:
            source[name] = "default"
            continue
        values[name] = _value(spec, raw, source[name])
    return Sourced(Settings(**values), source)


def suggest(unknown: Iterable[str], known: Iterable[str], *, variables: bool = False) -> str:
    """Write the names that are not known, each with the known one that it is most like, if there is one.

    ``variables``: the unknown ones are names of variables, and so are those that are suggested.

    >>> suggest(["max_proceses", "colour", "speed"], ["max_processes", "replay_speed"])
    'max_proceses (did you mean max_processes?), colour, speed (did you mean replay_speed?)'
    """
    told = []
    for name in unknown:
        like = _like(name.removeprefix(PREFIX).lower() if variables else name, list(known))
        like = PREFIX + like.upper() if like and variables else like
        told.append(f"{name} (did you mean {like}?)" if like else name)
    return ", ".join(told)


def _like(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that a name is most like: a misspelling of it, or its end, as options are called."""
    near = difflib.get_close_matches(name, known, n=1)
    return next(iter([*near, *(one for one in known if one.endswith(f"_{name}"))]), None)


def _unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Return the variables that begin like a setting's and are none, but for those of a service of Kubernetes'."""
    settings = {PREFIX + name.upper() for name in known} | NO_SETTINGS
    services = [name.removesuffix(SERVICE_HOST) for name in environ if name.endswith(f"_{SERVICE_HOST}")]
    return [
        name
        for name in sorted(environ)
        if name.startswith(PREFIX)
        and name not in settings
        and not any(name.startswith(one) and OF_A_SERVICE.fullmatch(name.removeprefix(one)) for one in services)
    ]


def _flat(table: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Make names of a file's sections: ``[record.redact] headers`` is ``record_redact_headers``, ``file`` the whole."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key.replace('-', '_')}"
        if isinstance(value, Mapping) and not (name in known and known[name].metadata["parse"] in TABLES):
            flat |= _flat(value, known, f"{name}_")
        else:
            flat[name.removesuffix("_file") if name in ("record_file", "replay_file") else name] = value
    return flat


def _value(spec: Field[Any], raw: Any, source: str) -> Any:
    """Make a setting's value of text, or of what TOML has richer types for."""
    try:
        if spec.metadata["parse"] in LISTS:
            return spec.metadata["parse"](raw)
        return spec.metadata["parse"](_text(spec.metadata["parse"], raw))
    except ValueError as error:
        raise SettingsError(setting=spec.name, source=source, reason=str(error)) from None


MAY_BE_EMPTY = (*LISTS, *MANY, _bool)
"""What a variable can set to nothing. For others an empty variable is none: CI systems set all that they know."""


def _text(parse: Callable[[Any], Any], raw: Any) -> str:
    """Write what TOML has richer types for as text. Raises ValueError for a type that the setting does not take."""
    if isinstance(raw, Mapping):
        if parse is not parse_model_map or not all(isinstance(model, str) for model in raw.values()):
            raise ValueError("it is not a table of texts" if parse is parse_model_map else "it cannot be a table")
        return ",".join(f"{name}={model}" for name, model in raw.items())
    if isinstance(raw, (list, tuple)):
        if parse not in MANY or not all(isinstance(item, str) for item in raw):
            raise ValueError("it is not a list of texts" if parse in MANY else "it cannot be a list")
        return ",".join(raw)
    if parse in TEXTS and not isinstance(raw, (str, Path)):
        raise ValueError(f"{raw} is not a text; write it in quotes")
    return str(raw)


def read_file(explicit: Path | None = None, cwd: Path | None = None) -> tuple[Path, dict[str, Any]] | None:
    """Read the configuration file: the one named, else the first that exists. Raises SettingsError."""
    if explicit is not None and not explicit.is_file():
        raise SettingsError(f"there is no file {explicit}")
    usual = [(cwd or Path.cwd()) / FILE, platformdirs.user_config_path("understudy") / FILE]
    path = explicit or next((path for path in usual if path.is_file()), None)
    if path is None:
        return None
    try:
        # Editors of Windows begin a file with a byte order mark.
        return path, tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: it is not UTF-8 (at line {line})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def show(value: Any) -> str:
    """Write a setting's value as it would be given; of a URL's password only that there is one."""
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case (str() as host, int() as port):
            return write_address(host, port)
        case tuple():
            return hide_password(", ".join(value))
        case Mapping():
            pairs = value.items()
            return ", ".join(name if isinstance(to, Agent) else f"{name}={to}" for name, to in pairs) or "-"
        case float():
            return f"{value:g}"
        case _:
            return hide_password(str(value))


def hide_password(text: str) -> str:
    """Replace the passwords in a text's URLs by ``…``.

    >>> hide_password("postgresql://ann:secret@db/x?sslpassword=secret")
    'postgresql://ann:…@db/x?sslpassword=…'
    """
    return PASSWORD.sub(lambda match: f"{match[1]}…@" if match[1] else f"{match[2]}…", text)


def shown(name: str, value: Any) -> str:
    """Write a setting's value; of secrets only how many there are."""
    return f"{len(value)} of them" if name in SECRET and value else show(value)


def as_json(name: str, value: Any) -> Any:
    """Return a setting's value as JSON has it, with what :func:`shown` hides hidden."""
    match value:
        case None | bool() | int() | float():
            return value
        case tuple() if name in SECRET:
            return shown(name, value) or None
        case (str(), int()):
            return show(value)
        case tuple():
            return [show(item) for item in value]
        case Mapping():
            return {key: to.model if isinstance(to, Agent) else to for key, to in value.items()}
        case _:
            return shown(name, value)


def names() -> list[str]:
    """Return the names of all settings."""
    return [spec.name for spec in fields(Settings)]


def default_of(name: str) -> Any:
    """Return a setting's default."""
    spec: Any = Settings.__dataclass_fields__[name]
    return spec.default if spec.default is not MISSING else spec.default_factory()


def rows(loaded: Sourced) -> list[tuple[str, str, str, str]]:
    """Return (name, value, source, what it is) for every setting."""
    return [
        (
            spec.name,
            shown(spec.name, getattr(loaded.settings, spec.name)),
            loaded.source[spec.name],
            spec.metadata["help"],
        )
        for spec in fields(Settings)
    ]
