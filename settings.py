"""Reads all settings: from flags, environment variables and the settings file, into one frozen Settings.

The command line overrides ``UNDERSTUDY_*`` variables. These override ``understudy.toml`` (in the working directory, or
else in the user's configuration folder). The file overrides the defaults. The source of each value is recorded. Only
:func:`read_file` does I/O.
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
"""A secret in a URL, with the text before it: a password before the host, or a query parameter such as ``token=``."""
OPENAI_HOSTS = ("api.openai.com",)


NO_SETTINGS = frozenset({"UNDERSTUDY_CORPUS"})
"""Variables of Understudy that are not settings. The tests read this one: it is the folder with recorded traffic."""

# Kubernetes sets such variables in each container, for a service named `understudy` or `understudy-…`.
SERVICE_HOST = "SERVICE_HOST"
OF_A_SERVICE = re.compile(r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


class SettingsError(Exception):
    """A setting has an invalid value, or there is no such setting. The message has its name and its source.

    ``setting`` is the name of the setting with the invalid value. ``source`` is its source, as in :class:`Sourced`.
    ``reason`` says what is wrong. All three are empty if the error is not about a single value.
    """

    def __init__(self, message: str = "", *, setting: str = "", source: str = "", reason: str = "") -> None:
        super().__init__(message or f"{setting} (from {source}): {reason}")
        self.setting, self.source, self.reason = setting, source, reason


def parse_address(text: str) -> tuple[str, int]:
    """Parse ``host:port`` or ``port`` (on 127.0.0.1). Port 0 means any free port. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    return host.strip("[]") or "127.0.0.1", int(port)


def write_address(host: str, port: int) -> str:
    """Return an address as in a URL: an IPv6 address gets brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_model_map(text: str) -> dict[str, str]:
    """Parse ``pattern=model,pattern=model``. Raises ValueError."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if bad := [name for name, equals, model in pairs if not (name.strip() and equals and model.strip())]:
        raise ValueError(f"{bad[0]!r} is not pattern=model")
    return {name.strip(): model.strip() for name, _, model in pairs}


def parse_hosts(text: str) -> tuple[str, ...]:
    """Parse host names or patterns (``*.example.com``), separated by commas or spaces. Add them to OpenAI's own hosts.

    Raises ValueError.
    """
    hosts = tuple(dict.fromkeys([*OPENAI_HOSTS, *(host.lower() for host in re.split(r"[,\s]+", text) if host)]))
    if bad := [host for host in hosts if not re.fullmatch(r"[\w.*-]+", host) or set(host) <= set("*.")]:
        raise ValueError(f"{bad[0]!r} is not a host name or pattern")
    return hosts


def parse_patterns(text: str) -> tuple[str, ...]:
    """Parse host names, addresses or patterns, separated by commas or spaces. ``*`` means all hosts.

    Raises ValueError.
    """
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
            raise ValueError(f"{text} is too small; it must be at least {minimum:g}")
        if not number < float("inf"):
            raise ValueError(f"{text!r} is not a finite number")
        return number

    return parse


def _priced_model(text: str) -> str:
    if not price_is_known(text):
        raise ValueError(f"the price of {text!r} is not known; use a model with a known price, such as opus")
    return text


def _texts(raw: Any) -> tuple[str, ...]:
    """Parse a list of texts. A single text has one item in each line, because patterns and paths can contain commas."""
    items = raw.splitlines() if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError("it must be a list of texts")
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
    """Parse ``90d``, ``12h``, ``30m`` or ``10s``. Return seconds. Raises ValueError."""
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
        raise ValueError("it must be http://host:port")
    try:
        port = url.port
    except ValueError:  # this error's message would quote a part of the password
        raise ValueError("its port is not a number") from None
    if port is None:
        raise ValueError("it has no port; write http://host:port")
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
        raise ValueError("it is empty; it must be a path")
    return Path(text).expanduser()


def _cassette_path(text: str) -> Path:
    """Parse the path of the cassette to record into. Refuse names like ``chat.txt``, which would become a folder."""
    path = _file_path(text)
    if path.suffix not in ("", ".jsonl") and not text.endswith(("/", os.sep)) and not path.is_dir():
        raise ValueError(f"{text!r} must end in .jsonl (a cassette's file) or in / (a folder)")
    return path


def _agents(raw: Any) -> Mapping[str, Agent]:
    if not isinstance(raw, Mapping):
        raise ValueError("agents can only be set in the file, as [agent.NAME] tables")  # noqa: TRY004 - a user's mistake
    try:
        return read_agents(raw)
    except AgentError as error:
        raise ValueError(str(error)) from None


SECRET = frozenset({"store_key"})
"""Settings whose values `understudy config` hides."""

LISTS = (_texts, _patterns, _json_paths, _modes, _agents)
"""Parsers that take TOML's lists directly."""

MANY = (parse_hosts, parse_patterns, parse_model_map)
"""Parsers of lists that are separated by commas if they are written as one text."""

TEXTS = (str, _file_path, _cassette_path, _proxy_url, *MANY)
"""Parsers whose value must be a string in TOML. A number or a date there is probably a mistake."""


TABLES = (parse_model_map, _agents)
"""Parsers that take TOML's tables directly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. `understudy config` and docs/settings.md show the help texts."""

    listen: tuple[str, int] = _setting(parse_address, "where the proxy listens", ("127.0.0.1", 8080))
    base_url: tuple[str, int] | None = _setting(
        parse_address, "where the base-URL door listens, for apps that can set OPENAI_BASE_URL; empty: nowhere", None
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
        _modes, "also accept connections in these modes of mitmproxy: socks5, local:NAME, transparent, wireguard", ()
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
    default_model: str = _setting(str, "the Claude model for names that no pattern matches", DEFAULT_MODEL)
    mcp_servers: tuple[str, ...] = _setting(
        _texts, "URLs of MCP servers that apps may let Claude use; * matches any part: https://mcp.example.com/*", ()
    )
    web_search: bool = _setting(_bool, "let apps use Anthropic's web search, which your account pays for", True)
    show_reasoning: bool = _setting(
        _bool, "send Claude's thinking to all apps, not only to those that ask for it with the header", False
    )
    rehearsal: bool = _setting(_bool, "ask a simulated API instead of Anthropic's", False)
    rehearsal_delay_s: float = _setting(_at_least(0, float), "the simulated API's pause before each token", 0.02)
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
    timeout_s: float = _setting(_at_least(1, float), "how long a whole turn may take", 600.0)
    first_token_timeout_s: float = _setting(_at_least(1, float), "how long Claude may take to begin an answer", 300.0)
    idle_timeout_s: float = _setting(_at_least(1, float), "how long Claude may be silent within a turn", 300.0)
    keep_alive_s: float = _setting(
        _at_least(1, float), "after this pause a stream sends a comment, so that the connection stays open", 15.0
    )
    retries: int = _setting(_at_least(0, int), "how often a turn that failed before its first token is tried again", 2)
    drain_s: float = _setting(_at_least(0, float), "how long `serve` waits for running answers when it is ended", 10.0)
    max_body_bytes: int = _setting(
        _at_least(1024, int), "the largest request body or WebSocket message", 64 * 1024 * 1024
    )
    max_bodies_mb: int = _setting(
        _at_least(1, int),
        "the memory for all request bodies together; beyond it requests get 503, except bodies up to 64 KiB. With"
        " client_auth, a key may use as much as is still free: one key gets half, two get a third each",
        128,
    )
    request_timeout_s: float = _setting(
        _at_least(0.1, float),
        "the longest time before the first request of a connection, for the head of a request, and for a pause in a"
        " body (408) or a WebSocket message (1008)",
        30.0,
    )
    min_upload_bytes_per_s: float = _setting(
        _at_least(0, float),
        "the lowest speed of a body or a WebSocket message, after its first request_timeout_s; 0: no limit",
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
        "the memory for scaling an image down; without effect on macOS and Windows",
        768,
    )
    client_auth: bool = _setting(
        _bool, "require a key (`understudy keys make`); needed to listen for other machines", False
    )
    unknown_price_as: str | None = _setting(
        _priced_model,
        "for keys with a budget in US dollars: the model whose price is used for models without a known price; without"
        " this setting such a key cannot use these models",
        None,
    )
    tunnel: tuple[str, ...] = _setting(
        parse_patterns,
        "with client_auth: the only hosts besides `hosts` that a key may connect to; empty: all hosts with a public"
        " address. A host that is listed without * may have a private address",
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
        _at_least(1, float),
        "with a shared store: after this time without a sign of life, a proxy counts as ended",
        30.0,
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
        "further variables that `claude` and agents inherit, but never UNDERSTUDY_*; * matches any part: GIT_*",
        (),
    )
    claude_hosts: tuple[str, ...] = _setting(
        _texts, "further hosts that `claude` may reach, beside its API; * matches any part: *.example.com", ()
    )
    cli_path: Path | None = _setting(_file_path, "a `claude` program to use instead of the SDK's own", None)
    data_dir: Path = _setting(
        _file_path,
        "the folder for the certificate authority, the store and Claude Code's own state",
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
        "what to do with a request that is not in the cassette: fail (status 409), live (ask Claude), or record (ask"
        " Claude and record the answer)",
        "fail",
    )
    replay_keep_errors: bool = _setting(
        _bool,
        "also record and replay failures that the request did not cause: no credentials, 401, 429, 5xx, time-outs,"
        " broken streams",
        False,
    )
    replay_expires_in: float | None = _setting(
        _duration, "how old an entry may be: 90d, 12h, 30m, 10s; without this setting entries never expire", None
    )
    replay_on_expired: OnExpired = _setting(
        _one_of(*get_args(OnExpired.__value__)),
        "what to do with an older entry: warn (and replay it), fail (status 409), or record (ask Claude and record the"
        " answer)",
        "warn",
    )
    replay_speed: float = _setting(
        _at_least(0, float), "the speed of replayed answers: 2 is twice as fast as recorded; 0: at once", 1.0
    )
    replay_recut: int | None = _setting(
        _number(int), "a seed for cutting streams at random places, to test a client's parser", None
    )
    replay_faults: Path | None = _setting(_file_path, "a file of faults to play with the answers", None)
    replay_only: tuple[str, ...] = _setting(_texts, "compare only these keys of a body", ())
    replay_ignore_paths: tuple[str, ...] = _setting(
        _json_paths, "JSON paths of bodies that are not compared", IGNORED_PATHS
    )
    replay_ignore_patterns: tuple[str, ...] = _setting(
        _patterns, "parts of texts that are not compared, besides ids, UUIDs and times: regular expressions of RE2", ()
    )
    replay_in_order: bool = _setting(_bool, "requests must come in the recorded order", False)
    replay_once: bool = _setting(_bool, "each entry answers only once", False)
    log_level: str = _setting(_one_of("debug", "info", "warning", "error"), "debug, info, warning or error", "info")
    log_file: Path | None = _setting(_file_path, "also append the log to this file", None)

    def store_place(self) -> str | Path:
        """Return the place of the store: a file, or a database URL."""
        return self.store or self.data_dir / "understudy.db"

    def full_model_map(self) -> dict[str, str]:
        """Return the user's patterns, then the built-in ones."""
        return {**self.model_map, **{k: v for k, v in DEFAULT_MODEL_MAP.items() if k not in self.model_map}}


@dataclass(frozen=True, slots=True)
class Sourced:
    """Settings, and the source of each value: ``flag``, a variable's name, a file's path, or ``default``."""

    settings: Settings
    source: Mapping[str, str]


def load(
    flags: Mapping[str, Any], environ: Mapping[str, str], file: tuple[Path, Mapping[str, Any]] | None = None
) -> Sourced:
    """Return the settings. A flag that is None was not given.

    Raises SettingsError for an invalid value, and for a name in the file or an ``UNDERSTUDY_*`` variable that is not a
    setting.
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
    """Return the unknown names as a text, each with the most similar known name if there is one.

    ``variables``: write unknown and suggested names as environment variables.

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
    """Return the known name that is most similar, or that ends with this name (as options do). Else return None."""
    near = difflib.get_close_matches(name, known, n=1)
    return next(iter([*near, *(one for one in known if one.endswith(f"_{name}"))]), None)


def _unknown_variables(environ: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Return the ``UNDERSTUDY_*`` variables that are not settings. Leave out those of a Kubernetes service."""
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
    """Return the settings in a file's tables by name: ``[record.redact] headers`` is ``record_redact_headers``.

    ``[record] file`` is ``record``, and ``[replay] file`` is ``replay``.
    """
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key.replace('-', '_')}"
        if isinstance(value, Mapping) and not (name in known and known[name].metadata["parse"] in TABLES):
            flat |= _flat(value, known, f"{name}_")
        else:
            flat[name.removesuffix("_file") if name in ("record_file", "replay_file") else name] = value
    return flat


def _value(spec: Field[Any], raw: Any, source: str) -> Any:
    """Parse the value of a setting, from text or from a TOML value. Raises SettingsError."""
    try:
        if spec.metadata["parse"] in LISTS:
            return spec.metadata["parse"](raw)
        return spec.metadata["parse"](_text(spec.metadata["parse"], raw))
    except ValueError as error:
        raise SettingsError(setting=spec.name, source=source, reason=str(error)) from None


MAY_BE_EMPTY = (*LISTS, *MANY, _bool)
"""Parsers for which an empty variable is an empty value. For all others an empty variable counts as not set, because CI
systems define variables without a value."""


def _text(parse: Callable[[Any], Any], raw: Any) -> str:
    """Return a TOML value as text for a parser. Raises ValueError if the setting does not take this type."""
    if isinstance(raw, Mapping):
        if parse is not parse_model_map or not all(isinstance(model, str) for model in raw.values()):
            raise ValueError("it must be a table of texts" if parse is parse_model_map else "it cannot be a table")
        return ",".join(f"{name}={model}" for name, model in raw.items())
    if isinstance(raw, (list, tuple)):
        if parse not in MANY or not all(isinstance(item, str) for item in raw):
            raise ValueError("it must be a list of texts" if parse in MANY else "it cannot be a list")
        return ",".join(raw)
    if parse in TEXTS and not isinstance(raw, (str, Path)):
        raise ValueError(f"{raw} is not a text; put it in quotes")
    return str(raw)


def read_file(explicit: Path | None = None, cwd: Path | None = None) -> tuple[Path, dict[str, Any]] | None:
    """Read the settings file: ``explicit``, or else the first one that exists. Raises SettingsError."""
    if explicit is not None and not explicit.is_file():
        raise SettingsError(f"there is no file {explicit}")
    usual = [(cwd or Path.cwd()) / FILE, platformdirs.user_config_path("understudy") / FILE]
    path = explicit or next((path for path in usual if path.is_file()), None)
    if path is None:
        return None
    try:
        # Editors on Windows put a byte order mark at the start of a file.
        return path, tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: it is not UTF-8 (at line {line})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None


def show(value: Any) -> str:
    """Write a setting's value as a user would write it. Passwords in URLs are hidden."""
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
    """Replace the passwords in URLs with ``…``.

    >>> hide_password("postgresql://ann:secret@db/x?sslpassword=secret")
    'postgresql://ann:…@db/x?sslpassword=…'
    """
    return PASSWORD.sub(lambda match: f"{match[1]}…@" if match[1] else f"{match[2]}…", text)


def shown(name: str, value: Any) -> str:
    """Write a setting's value. For secrets, write only their number."""
    return f"{len(value)} of them" if name in SECRET and value else show(value)


def as_json(name: str, value: Any) -> Any:
    """Return a setting's value for JSON. Secrets are hidden as in :func:`shown`."""
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
    """Return (name, value, source, help) for every setting."""
    return [
        (
            spec.name,
            shown(spec.name, getattr(loaded.settings, spec.name)),
            loaded.source[spec.name],
            spec.metadata["help"],
        )
        for spec in fields(Settings)
    ]
