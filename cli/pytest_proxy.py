"""`understudy pytest-proxy`: the program that the pytest plugin starts. It replays one cassette after another.

The plugin sends commands over one connection on 127.0.0.1. :data:`understudy.recording_modes.PROTOCOL` is the version
of their protocol. The plugin sends a token over stdin at the start, so that no other process knows it. A connection
that does not begin with the token is closed without an answer. Once the plugin has connected, no further connection is
accepted.

Each test has its own proxy: its own port, addons and cassette. All proxies share the certificate authority and the
files that make programs trust it. These take time to make, and they do not change.
"""

import asyncio
import contextlib
import dataclasses
import hmac
import json
import logging
import os
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import typer
from mitmproxy.certs import CertStore

import settings as configuration
from addons.doors import CannotListenError
from addons.master import few_addons, options_for, proxy
from addons.record import Record
from api.replay import Player, ReplayError
from auth.certificates.authority import FOLDER, Authority, AuthorityError
from auth.log_redaction import RedactSecrets
from cassettes.record.record import CassetteError
from cassettes.record.replacing import drop_failures, put_in_place
from cli.compose import compose
from cli.fatal import fatal
from cli.log import log, log_to_stderr
from cli.run_to_end import run_to_end
from launch.environment import environment_for
from launch.trust import BUNDLE_VARIABLES, EXTRA_VARIABLES, TrustFiles, write_trust_files
from settings import Settings, SettingsError
from translate.printable import one_line
from understudy.recording_modes import MODES, PROTOCOL

HOST = "127.0.0.1"

CONNECT_S = 60.0
"""How long the plugin may take to connect. It connects at once, so after this time it is no longer running."""

TOKEN_S = 5.0
"""How long a connection may take to send its token."""

MAX_LINE_BYTES = 16 * 1024 * 1024
"""The largest size of a command. A command contains the environment variables that a test has changed."""

MOST_LOGGED = 1000

TRUST_VARIABLES = (*BUNDLE_VARIABLES, *EXTRA_VARIABLES, "JAVA_HOME", "JAVA_TOOL_OPTIONS", "PATH")
"""The variables that the certificate files depend on."""


def pytest_proxy() -> None:
    """Run the proxy for Understudy's pytest plugin. The plugin starts this command by itself."""
    log_to_stderr("warning")
    raise typer.Exit(run_to_end(converse()))


async def converse() -> int:
    """Accept the plugin's connection, and run its commands until it closes the connection. Return the exit status."""
    token = await _agree()
    connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
        asyncio.get_running_loop().create_future()
    )

    async def admit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, ValueError, OSError):
            async with asyncio.timeout(TOKEN_S):
                given = await reader.readline()
            if hmac.compare_digest(given.removesuffix(b"\n"), token.encode()) and not connected.done():
                connected.set_result((reader, writer))
                return
        writer.close()

    server = await asyncio.start_server(admit, HOST, 0, limit=MAX_LINE_BYTES)
    _say_hello(port=server.sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await connected
    except TimeoutError:
        return 1
    finally:
        server.close()
    with tempfile.TemporaryDirectory(prefix="understudy-", ignore_cleanup_errors=True) as folder:
        async with Desk(Path(folder)) as desk:
            while line := await reader.readline():
                answer = await desk.answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
    writer.close()
    return 0


async def _agree() -> str:
    """Read the protocol version and the token from stdin. Return the token. On an error, exit."""
    try:
        told = json.loads(await asyncio.to_thread(sys.stdin.buffer.readline, MAX_LINE_BYTES))
        protocol, token = told["protocol"], str(told["token"])
    except (ValueError, KeyError, TypeError):
        raise fatal("only Understudy's pytest plugin can use this command.") from None
    if protocol != PROTOCOL:
        _say_hello()
        raise fatal(f"the pytest plugin uses protocol {protocol}, but this Understudy uses protocol {PROTOCOL}.")
    return token


def _say_hello(**more: Any) -> None:
    """Print our version for the plugin. Then redirect stdout to nowhere, because the plugin stops reading it."""
    print(json.dumps({"protocol": PROTOCOL, "version": version("understudy"), **more}), flush=True)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class Desk:
    """Runs the plugin's commands, one after the other. It replays one cassette at a time."""

    def __init__(self, folder: Path) -> None:
        self._shared = Shared(folder)
        self._logged = Logged()
        self._stack = contextlib.AsyncExitStack()
        self._play: Play | None = None

    async def __aenter__(self) -> Self:
        logging.getLogger().addHandler(self._logged)
        return self

    async def __aexit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._logged)
        await self._stack.aclose()

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Run one command, given as a line of JSON. The answer has ``error`` if the command failed."""
        try:
            command = json.loads(line)
            return await self._obey(command.pop("do"), **command)
        except (SettingsError, ReplayError, CassetteError, AuthorityError, CannotListenError) as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"{error.filename or 'the proxy'}: {error.strerror or error}"}
        except Exception as error:
            log.exception("a command of the pytest plugin failed")
            return {"error": f"an internal error of Understudy: {type(error).__name__}: {error}"}

    async def _obey(self, do: str, **more: Any) -> dict[str, Any]:
        if do == "begin":
            return await self._begin(**more)
        if self._play is None:
            raise ReplayError(f"no cassette is being replayed: the command {do} must come after begin")
        if do == "state":
            return self._play.state()
        if do == "report":
            return self._play.report(**more)
        if do == "end":
            return await self._end(**more)
        raise ReplayError(f"there is no command {do}")

    async def _begin(self, cassette: str, mode: str, root: str, environment: Mapping[str, Any]) -> dict[str, Any]:
        # A test that was interrupted has not sent "end".
        await self._close()
        environ = {**os.environ, **environment["set"]}
        for name in environment["unset"]:
            environ.pop(name, None)
        self._logged.lines.clear()
        play = Play(Path(cassette), mode, Path(root), self._logged)
        url, changes = await self._stack.enter_async_context(play.proxy(environ, self._shared))
        self._play = play
        return {"url": url, "environment": changes}

    async def _end(self, *, passed: bool) -> dict[str, Any]:
        play = self._play
        assert play is not None  # noqa: S101 - _obey has looked
        await self._close()
        problem = ""
        try:
            play.put_in_place(passed=passed)
        except CassetteError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{error.filename or play.cassette}: {error.strerror or error}"
        return {**play.state(), **play.report(), "problem": problem}

    async def _close(self) -> None:
        self._play = None
        await self._stack.aclose()


class Logged(logging.Handler):
    """Keeps the last warnings for the plugin. Secrets are masked."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(RedactSecrets(os.environ))
        self.lines: deque[str] = deque(maxlen=MOST_LOGGED)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append(f"{record.levelname.lower()}: {record.getMessage()}")


class Shared:
    """The certificate authorities and trust files that the proxies of all tests share.

    They are made at the first use, and again when the settings or variables that they depend on change. ``folder`` is
    where the trust files are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authorities: dict[tuple[Path, tuple[str, ...]], tuple[Authority, CertStore]] = {}
        self._trust: dict[tuple[Path, tuple[str | None, ...]], TrustFiles] = {}

    def authority(self, settings: Settings) -> tuple[Authority, CertStore]:
        """Return the certificate authority and its store of issued certificates. Raises AuthorityError."""
        key = settings.data_dir, settings.hosts
        if key not in self._authorities:
            made = Authority.open(settings.data_dir / FOLDER, settings.hosts)
            parameters = made.directory / "mitmproxy-dhparam.pem"
            self._authorities[key] = made, CertStore.from_files(made.key, parameters)
        return self._authorities[key]

    def trust(self, authority: Authority, environ: Mapping[str, str]) -> TrustFiles:
        """Return the files that make programs trust the authority. Raises OSError."""
        key = authority.certificate, tuple(environ.get(name) for name in TRUST_VARIABLES)
        if key not in self._trust:
            folder = self.folder / f"trust-{len(self._trust)}"
            self._trust[key] = write_trust_files(folder, authority.certificate, environ)
        return self._trust[key]


class Play:
    """One replay of a cassette, and its result.

    ``mode`` is one of MODES. ``failed`` first removes the exchanges that failed when they were recorded. ``again``
    records into a new cassette. :meth:`put_in_place` then replaces the old cassette with it.
    """

    def __init__(self, cassette: Path, mode: str, root: Path, logged: Logged) -> None:
        if mode in ("again", "failed") and (cassette.is_dir() or cassette.suffix != ".jsonl"):
            raise CassetteError(f"{cassette}: only a single file (.jsonl) can be recorded again, not a folder")
        self.cassette = cassette
        self._mode = mode
        self._root = root
        self._logged = logged
        self._new: Path | None = None
        self._player: Player | None = None
        self._record: Record | None = None

    @contextlib.asynccontextmanager
    async def proxy(self, environ: Mapping[str, str], shared: Shared) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """Run the proxy while the block runs. Yield its URL, and the variables that send programs to it.

        ``environ`` is the environment of the tests.
        """
        # The user's own settings apply here too: the account, the model map, the rehearsal.
        loaded = configuration.load({}, environ, configuration.read_file()).settings
        if self._mode == "failed":
            drop_failures(self.cassette)
        place = self.cassette
        if self._mode == "again":
            place = self._new = Path(tempfile.mkdtemp(dir=shared.folder, prefix="again-")) / self.cassette.name
        # With an existing cassette most tests never ask Claude. So a `claude` process starts only when one does.
        spare = 0 if self.cassette.exists() and self._mode != "again" else loaded.spare_processes
        settings = dataclasses.replace(
            loaded,
            spare_processes=spare,
            listen=(HOST, 0),
            base_url=None,
            mode=(),
            client_auth=False,
            record=None,
            replay=place,
            replay_on_miss=MODES[self._mode],
            replay_speed=0.0,
        )
        authority, store = shared.authority(settings)
        trust = shared.trust(authority, environ)
        options = options_for(settings, authority.certificate.parent, environ)
        program = compose(settings, environ)
        self._record, self._player = program.record, program.player
        self._record.running()
        async with proxy(options, program.addons, own=few_addons(store)) as ((host, port), *_):
            url = f"http://{host}:{port}"
            yield url, environment_for(environ, proxy_url=url, trust=trust, hosts=settings.hosts).changes

    def put_in_place(self, *, passed: bool) -> None:
        """Replace the old cassette with the new one, if nothing is lost. Raises OSError, CassetteError."""
        self._passed = passed
        if self._new is not None and self._may_replace:
            put_in_place(self._new, self.cassette)

    _passed = False

    @property
    def _may_replace(self) -> bool:
        return bool(self._asked and not self._not_kept and (self._passed or not self.cassette.exists()))

    @property
    def _asked(self) -> int:
        return self._player.score.asked if self._player else 0

    @property
    def _not_kept(self) -> list[str]:
        return self._record.not_kept if self._record else []

    @property
    def _missed(self) -> list[str]:
        return self._player.score.missed if self._player else []

    def state(self) -> dict[str, Any]:
        """Return the counts and lists of requests so far."""
        return {
            "asked": self._asked,
            "answered": sum(self._player.score.used.values()) if self._player else 0,
            "missed": self._missed,
            "not_kept": self._not_kept,
            "lines": list(self._lines()),
            "mark": [self._asked, len(self._missed), len(self._not_kept), len(self._logged.lines)],
        }

    def report(self, since: Sequence[int] = ()) -> dict[str, list[str]]:
        """Return the source of each answer, and the warnings. ``since`` is a mark of :meth:`state` to begin at."""
        asked, missed, not_kept, logged = since or (0, 0, 0, 0)
        return {
            "answers": list(self._answers(asked, missed, not_kept)),
            "log": list(self._logged.lines)[logged:],
        }

    def _answers(self, asked: int, missed: int, not_kept: int) -> Iterator[str]:
        new = self._asked - asked
        cassette = self._name(self.cassette)
        where = f"recorded in {cassette}"
        if self._mode == "live":
            where = "not recorded"
        elif self._mode == "again":
            where = f"{cassette} stays as it was" if self.cassette.exists() else f"to be {where}"
        failed = self._not_kept[not_kept:]
        for one in list(self._player.score.told)[-new:] if self._player and new else ():
            if one.file is None:
                # If several equal requests were sent, the first of them failed, and the next ones are its retries.
                why = next((told for told in failed if told.startswith(f"{one.request}: ")), None)
                if why is None:
                    yield f"{one.request}: asked live, {where}"
                else:
                    failed.remove(why)
                    yield f"{one.request}: asked live, failed ({why.removeprefix(f'{one.request}: ')}), not recorded"
            else:
                failure = f" (a recorded failure of the proxy: {one.failure})" if one.failure else ""
                yield f"{one.request}: {self._name(one.file)}, exchange {one.entry}{failure}"
        if self._mode == "none":
            yield from (f"{one}: no exchange in {cassette} matches it" for one in self._missed[missed:])
        yield from (f"failed at the proxy, and so not recorded: {one}" for one in failed)

    def _lines(self) -> Iterator[str]:
        """Yield the lines that describe the result of the replay."""
        yield from self._player.score.lines() if self._player else ()
        if self._mode == "again" and self._asked and not self._may_replace:
            why = "a request failed" if self._not_kept else "a test failed or did not run"
            yield one_line(f"replay: {self.cassette} stays as it was: {why}")

    def _name(self, path: Path) -> str:
        """Return a file's path relative to the root of the tests, or the whole path if it is outside."""
        try:
            return str(path.resolve().relative_to(self._root.resolve()))
        except ValueError:
            return str(path)
