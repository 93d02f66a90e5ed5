"""What is known of Claude's credentials without using them, and one turn that uses them.

Nothing here starts a login, and no secret leaves: of a secret only its last four characters are shown, of an address
only its host, of a helper's command nothing. Whether there is a login that `claude` itself keeps is asked of the
program; how it keeps it is its own business.
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

# A cold start takes half a second; a machine under load, or a key store that asks its person, some more.
LOGIN_TIMEOUT_S = 20.0

# All that `claude auth status` gets to see: a credential in a variable would be reported as a login.
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
    """A source that is there. ``found_in`` is a variable, ``api_key_helper`` or ``claude login``.

    ``secrets`` maps the variables that hold secrets to what may be shown of them.
    """

    kind: str
    name: str
    found_in: str
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Login:
    """What `claude auth status` says. ``problem`` is why it could not say anything."""

    logged_in: bool = False
    method: str | None = None
    subscription: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Which credentials are used. ``losers`` were found too, and are kept from Claude Code.

    ``base_url`` is the address that replaces the provider's own, None if none does; ``custom_headers`` whether headers
    of the person's go with each request. ``usable``: there is something to try; ``verified`` never, nothing is asked.
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
        """Return it as JSON has it: the fields of ``used`` at the top."""
        fields = asdict(self)
        return {**fields.pop("used"), **fields}


@dataclass(frozen=True, slots=True)
class Check:
    """How a turn went.

    ``error`` is the ClaudeError's kind, None if it went well; the tokens and the price are None if it did not, and the
    price also where neither Claude Code nor the price table knows it.
    """

    model: str
    error: Kind | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the turn was answered."""
        return self.error is None


def status(
    environ: Mapping[str, str],
    *,
    forced: str | None = None,
    api_key_helper: str | None = None,
    cli_path: Path | None = None,
    login_timeout_s: float = LOGIN_TIMEOUT_S,
) -> Status:
    """Say which credentials are used, without using them. Raises SourceError when the forced ones cannot be had."""
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
    """Play one short turn with these credentials and say how it went. It costs what a turn of a few tokens costs."""
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
    """Return the `claude` program: the one named, else the one in the SDK's wheel, else the one on the PATH.

    Those are the SDK's own places; it is not imported here, which would take longer than all the rest.
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
    """Ask `claude auth status` whether it keeps a login (fact F97). It validates nothing: an expired one is one, too.

    The person's settings files are left out, as they are when turns are played, so that a key in them is no login.
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
    """Return what may be shown of an address: no user, no password, no query, and that there is a path, not which."""
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
    """Return what a program prints; whatever way this is left, the program and all that it started are gone.

    Raises subprocess.TimeoutExpired and OSError.
    """
    # In a folder of nobody's: a project's settings have no say here.
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
