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
from addons import default_addons
from addons.doors import CannotListenError
from addons.master import options_for, proxy
from addons.record import Record
from addons.serve_origin import ServeOrigin
from auth.authority import FOLDER, Authority, AuthorityError
from origin.replay import Player, ReplayError
from pytest_understudy import CannotStartError
from settings import Settings, SettingsError
from tape.record import TapeError
from wrapping.environment import environment_for
from wrapping.trust import write_trust_files


class Running:
    """A running proxy: where it is, what it plays from, and what it came to so far."""

    def __init__(self, url: str, cassette: Path, changes: Mapping[str, str], player: Player | None) -> None:
        self.url = url
        self.cassette = cassette
        self.environment = changes
        """What programs need to go through it."""
        self._player = player

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

    def lines(self) -> Iterator[str]:
        """Say what the replay came to."""
        return self._player.score.lines() if self._player else iter(())


@contextlib.contextmanager
def running(cassette: Path, on_miss: str) -> Iterator[Running]:
    """Run the proxy on a cassette while the block runs. Raises CannotStartError."""
    try:
        # What the person has set counts here too: their account, their model map, the rehearsal.
        loaded = configuration.load({}, os.environ, configuration.read_file()).settings
        settings = dataclasses.replace(
            loaded,
            listen=("127.0.0.1", 0),
            base_url=None,
            client_auth=False,
            replay=cassette,
            replay_on_miss=on_miss,
            replay_speed=0.0,
        )
        with (
            tempfile.TemporaryDirectory(prefix="understudy-") as folder,
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(_proxy(settings, Path(folder))) as started,
        ):
            yield started
    except (SettingsError, ReplayError, TapeError, AuthorityError, CannotListenError) as error:
        raise CannotStartError(str(error)) from error


@contextlib.asynccontextmanager
async def _proxy(settings: Settings, folder: Path) -> AsyncIterator[Running]:
    assert settings.replay is not None  # noqa: S101 - the caller's doing
    authority = Authority.open(settings.data_dir / FOLDER, settings.hosts)
    addons = default_addons(settings, os.environ)
    next(addon for addon in addons if isinstance(addon, Record)).running()
    options = options_for(settings, authority.certificate.parent, os.environ)
    trust = write_trust_files(folder, authority.certificate, os.environ)
    async with proxy(options, addons) as ((host, port), *_):
        url = f"http://{host}:{port}"
        wrapped = environment_for(os.environ, proxy_url=url, trust=trust, hosts=settings.hosts)
        player = next(addon for addon in addons if isinstance(addon, ServeOrigin)).player
        yield Running(url, settings.replay, wrapped.changes, player)
