"""The proxy on a thread of its own, while tests run in the main one."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

import settings as configuration
from addons.doors import CannotListenError
from addons.master import options_for, proxy
from addons.record import Record
from api.replay import Player, ReplayError
from auth.certificates.authority import FOLDER, Authority, AuthorityError
from cassettes.record.record import CassetteError
from cassettes.record.replacing import drop_failures, put_in_place
from cli.compose import compose
from launch.environment import environment_for
from launch.trust import write_trust_files
from settings import Settings, SettingsError
from understudy.recording_modes import MODES, CannotStartError


class Running:
    """A running proxy: where it is, what it plays from, and what it came to so far."""

    def __init__(
        self, url: str, cassette: Path, changes: Mapping[str, str], player: Player | None, record: Record, mode: str
    ) -> None:
        self.url = url
        self.cassette = cassette
        self.environment = changes
        """What programs need to go through it."""
        self.passed = False
        """Whether every test that asked has passed: only then does a new cassette take an old one's place."""
        self._player = player
        self._record = record
        self._mode = mode

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Give the environment to this process, and so to the programs that it starts."""
        for name, value in self.environment.items():
            patch.setenv(name, value)

    @property
    def missed(self) -> list[str]:
        """The requests that nothing recorded answered."""
        return self._player.score.missed if self._player else []

    @property
    def answered(self) -> int:
        """How many answers came from the cassette."""
        return sum(self._player.score.used.values()) if self._player else 0

    @property
    def asked(self) -> int:
        """How many requests were answered, from the cassette or live."""
        return self._player.score.asked if self._player else 0

    @property
    def not_kept(self) -> list[str]:
        """The live answers that failed at the proxy, and so are not in the cassette; each with its reason."""
        return self._record.not_kept

    def mark(self) -> tuple[int, int, int]:
        """Return how far it is: what :meth:`answers` can begin at."""
        return self.asked, len(self.missed), len(self.not_kept)

    def answers(self, since: tuple[int, int, int] = (0, 0, 0), root: Path | None = None) -> Iterator[str]:
        """Say where each answer came from, beginning at a mark. Files are named from ``root`` on."""
        asked, missed, not_kept = since
        new = self.asked - asked
        cassette = _from(self.cassette, root)
        where = f"recorded in {cassette}"
        if self._mode == "live":
            where = "not recorded"
        elif self._mode == "again":
            where = f"{cassette} stays as it was" if self.cassette.exists() else f"to be {where}"
        failed = self.not_kept[not_kept:]
        for one in list(self._player.score.told)[-new:] if self._player and new else ():
            if one.file is None:
                # Of several alike the first is taken for the one that failed: the next were its further tries.
                why = next((told for told in failed if told.startswith(f"{one.request}: ")), None)
                if why is None:
                    yield f"{one.request}: asked live, {where}"
                else:
                    failed.remove(why)
                    yield f"{one.request}: asked live, failed ({why.removeprefix(f'{one.request}: ')}), not recorded"
            else:
                failure = f" (a recorded failure of the proxy: {one.failure})" if one.failure else ""
                yield f"{one.request}: {_from(one.file, root)}, exchange {one.entry}{failure}"
        if self._mode == "none":
            yield from (f"{one}: nothing in {cassette} answers it" for one in self.missed[missed:])
        yield from (f"failed at the proxy, and so not recorded: {one}" for one in failed)

    def lines(self) -> Iterator[str]:
        """Say what the replay came to."""
        yield from self._player.score.lines() if self._player else ()
        if self._mode == "again" and self.asked and not self.may_replace:
            why = "could be asked again" if self.not_kept else "was run and has passed"
            yield f"replay: {self.cassette} stays as it was: not everything {why}"

    @property
    def may_replace(self) -> bool:
        """Whether what was asked again takes the old cassette's place: nothing is to be lost by it."""
        return bool(self.asked and not self.not_kept and (self.passed or not self.cassette.exists()))


def _from(path: Path, root: Path | None) -> str:
    """Name a file as a person at ``root`` would."""
    try:
        return str(path.resolve().relative_to(root.resolve())) if root else str(path)
    except ValueError:
        return str(path)


@contextlib.contextmanager
def running(cassette: Path, mode: str) -> Iterator[Running]:
    """Run the proxy on a cassette while the block runs. Raises CannotStartError.

    ``mode``: ``again`` records into a new cassette, which takes the old one's place when the block has ended, if
    something was asked, nothing failed at the proxy, and the tests have passed; ``failed`` first takes out what had
    failed when it was recorded.
    """
    if mode in ("again", "failed") and (cassette.is_dir() or cassette.suffix != ".jsonl"):
        raise CannotStartError(f"{cassette}: only a cassette of its own (.jsonl) can be recorded again")
    try:
        # What the person has set counts here too: their account, their model map, the rehearsal.
        loaded = configuration.load({}, os.environ, configuration.read_file()).settings
        with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
            place = cassette
            if mode == "again":
                place = Path(folder) / "again" / cassette.name
                place.parent.mkdir()
            if mode == "failed":
                drop_failures(cassette)
            settings = dataclasses.replace(
                loaded,
                listen=("127.0.0.1", 0),
                base_url=None,
                client_auth=False,
                record=None,
                replay=place,
                replay_on_miss=MODES[mode],
                replay_speed=0.0,
            )
            with (
                start_blocking_portal() as portal,
                portal.wrap_async_context_manager(_proxy(settings, Path(folder), cassette, mode)) as started,
            ):
                yield started
            if mode == "again" and started.may_replace:
                put_in_place(place, cassette)
    except (SettingsError, ReplayError, CassetteError, AuthorityError, CannotListenError) as error:
        raise CannotStartError(str(error)) from error
    except OSError as error:
        raise CannotStartError(f"{error.filename or cassette}: {error.strerror or error}") from error


@contextlib.asynccontextmanager
async def _proxy(settings: Settings, folder: Path, cassette: Path, mode: str) -> AsyncIterator[Running]:
    authority = Authority.open(settings.data_dir / FOLDER, settings.hosts)
    program = compose(settings, os.environ)
    program.record.running()
    options = options_for(settings, authority.certificate.parent, os.environ)
    trust = write_trust_files(folder, authority.certificate, os.environ)
    async with proxy(options, program.addons) as ((host, port), *_):
        url = f"http://{host}:{port}"
        wrapped = environment_for(os.environ, proxy_url=url, trust=trust, hosts=settings.hosts)
        yield Running(url, cassette, wrapped.changes, program.player, program.record, mode)
