"""Reports which Claude credentials are present, without using them, and checks them with one short request.

Nothing here starts a login. No secret is shown: only the last four characters of a secret, only the scheme, host and
port of a URL, and nothing of a helper's command. The `claude` program is asked whether it has a login. How it stores
that login does not matter here.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from auth.credentials.sources import HELPER, LOGIN, Source, SourceError, environment, find_source, found_sources
from auth.log_redaction import mask
from engine.errors import ClaudeError
from engine.pool import Pool
from engine.spawn import Spawn
from translate.errors import Kind
from translate.prices import cost_of
from translate.turn import Message, Turn
from translate.usage import UsageReader

# A cold start takes half a second. A busy machine, or a key store that asks the user, takes longer.
LOGIN_TIMEOUT_S = 20.0

# The only variables that `claude auth status` gets. It would report a credential in a variable as a login.
LOGIN_VARIABLES = {"HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR", "CLAUDE_CONFIG_DIR"} | {
    *("USERPROFILE", "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "TEMP", "TMP")
}
QUIET = {"DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}

CUSTOM_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"
NOT_ASKED = "whether the API takes it: nothing was asked (--check plays one short turn)"
NOT_LOOKED = "whether the cloud's own credentials are there: they may lie in files or belong to the machine"

QUESTION = "Reply with the word OK."
MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A source that is present. ``found_in`` is a variable, ``api_key_helper`` or ``claude login``.

    ``secrets`` maps the names of its secret variables to their masked values.
    """

    kind: str
    name: str
    found_in: str
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Login:
    """The answer of `claude auth status`. ``problem`` is the reason if there is no answer."""

    logged_in: bool = False
    method: str | None = None
    subscription: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Which credentials are used. ``losers`` are other sources that are present and are hidden from Claude Code.

    ``base_url`` is the URL that replaces the provider's own, None if there is none. ``custom_headers``: the user's
    own headers are sent with each request. ``usable``: there are credentials to try. ``verified`` is always False,
    because the API is not asked. ``not_verified`` are sentences about what was not checked.
    """

    used: Found
    losers: tuple[Found, ...]
    base_url: str | None
    custom_headers: bool
    login: Login
    usable: bool
    verified: bool
    not_verified: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form. The fields of ``used`` are at the top level."""
        fields = asdict(self)
        return {**fields.pop("used"), **fields}


@dataclass(frozen=True, slots=True)
class Check:
    """The result of the short request.

    ``error`` is the kind of the ClaudeError, None if the request succeeded. If it failed, the tokens and ``usd`` are
    None. ``usd`` is also None if neither Claude Code nor the price table knows the price.
    """

    model: str
    error: Kind | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return self.error is None


def status(
    environ: Mapping[str, str],
    *,
    forced: str | None = None,
    api_key_helper: str | None = None,
    cli_path: Path | None = None,
    login_timeout_s: float = LOGIN_TIMEOUT_S,
) -> Status:
    """Return which credentials are used, without using them. Raises SourceError if the forced ones are missing."""
    source = find_source(environ, forced=forced, api_key_helper=api_key_helper)
    login = ask_login(environ, cli_path=cli_path, timeout_s=login_timeout_s)
    others = [*found_sources(environ, api_key_helper=api_key_helper), *([LOGIN] if login.logged_in else [])]
    address = environ.get(source.base_url, "").strip()
    return Status(
        used=_found(source, environ),
        losers=tuple(_found(other, environ) for other in others if other is not source),
        base_url=host_of(address) if address else None,
        custom_headers=bool(environ.get(CUSTOM_HEADERS, "").strip()),
        login=login,
        usable=source is not LOGIN or login.logged_in,
        verified=False,
        not_verified=(NOT_ASKED, NOT_LOOKED) if source.is_cloud else (NOT_ASKED,),
    )


async def check(spawn: Spawn, model: str) -> Check:
    """Send one short request with these credentials and return the result. It costs as much as a few tokens."""
    message = Message("user", ({"type": "text", "text": QUESTION},))
    told = UsageReader()
    try:
        async with (
            Pool(spawn, limit=1, spare=0) as pool,
            pool.run(Turn(model=model, messages=(message,), max_tokens=MAX_TOKENS)) as running,
        ):
            async for event in running:
                told.feed(event)
    except ClaudeError as error:
        return Check(model, error=error.kind)
    usage = told.messages[-1].usage if told.messages else {}
    return Check(
        model,
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
        usd=cost_of(told.messages) if told.messages else None,
    )


def find_cli(cli_path: Path | None) -> Path:
    """Return the `claude` program: ``cli_path``, else the one in the SDK's wheel, else the one on the PATH.

    The SDK searches the same places. It is not imported here, because the import would take longer than all the rest.
    Raises SourceError if there is none.
    """
    if cli_path is not None:
        return cli_path
    sdk = importlib.util.find_spec("claude_agent_sdk")
    program = "claude.exe" if os.name == "nt" else "claude"
    for folder in (sdk.submodule_search_locations or ()) if sdk else ():
        if (bundled := Path(folder, "_bundled", program)).is_file():
            return bundled
    if on_path := shutil.which(program):
        return Path(on_path)
    raise SourceError("there is no `claude` program; set cli_path to where it is")


def ask_login(environ: Mapping[str, str], *, cli_path: Path | None, timeout_s: float = LOGIN_TIMEOUT_S) -> Login:
    """Ask `claude auth status` whether it has a login (fact F97). It validates nothing: an expired login counts too.

    It must not read the user's settings files, so that a key in them does not count as a login. The proxy also runs
    Claude Code without those files.
    """
    env = {name: value for name, value in environ.items() if name.upper() in LOGIN_VARIABLES}
    try:
        command = [str(find_cli(cli_path)), "--setting-sources", "", "auth", "status", "--json"]
        said: Any = json.loads(_output(command, {**env, **QUIET}, timeout_s))
        logged_in = said["loggedIn"] is True
    except SourceError as error:
        return Login(problem=str(error))
    except OSError as error:
        return Login(problem=f"the `claude` program cannot be run: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Login(problem=f"`claude auth status` did not answer within {timeout_s:g} s")
    except (ValueError, KeyError, TypeError):
        return Login(problem="`claude auth status` said nothing that can be read")
    if not logged_in:
        return Login()
    return Login(True, _word(said.get("authMethod")), _word(said.get("subscriptionType")))


def host_of(address: str) -> str:
    """Return the part of a URL that may be shown: scheme, host and port, and ``/…`` in place of a path."""
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:
        host = None
    if not host:
        return "…"
    host = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{host}{f':{port}' if port else ''}{'/…' if url.path.strip('/') else ''}"


def _found(source: Source, environ: Mapping[str, str]) -> Found:
    found_in = source.variable or ("api_key_helper" if source is HELPER else source.kind)
    hidden = environment(source, environ)
    seen = {name: mask(environ[name]) for name in source.secrets if environ.get(name) and name not in hidden}
    return Found(source.kind, source.name, found_in, seen)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _output(command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> bytes:
    """Run a program and return what it prints. On any error, kill the program and its children.

    Raises subprocess.TimeoutExpired and OSError.
    """
    # Run it in an empty folder, so that it reads no project's settings.
    with (
        tempfile.TemporaryDirectory(prefix="understudy-") as nowhere,
        subprocess.Popen(
            command,
            env=env,
            cwd=nowhere,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as program,
    ):
        try:
            return program.communicate(timeout=timeout_s)[0]
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                if os.name == "posix":
                    os.killpg(program.pid, signal.SIGKILL)
                else:
                    program.kill()
            raise
