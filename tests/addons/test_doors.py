"""A door that cannot be opened is one line: which option, who holds it, and what to do."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from addons.doors import CannotListenError, Door, check_doors, doors_of, holder_of
from addons.master import options_for, proxy
from settings import Settings

ME = f"{psutil.Process().name()} (pid {os.getpid()})"
FREE = ("127.0.0.1", 0)


@contextmanager
def taken(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[int]:
    """Hold a port of loopback."""
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize("option", ["--listen", "--base-url", "--web-listen"])
def test_a_port_in_use_is_told_with_who_holds_it_and_another_to_take(option: str) -> None:
    with taken() as port, pytest.raises(CannotListenError) as refused:
        Door(option, "127.0.0.1", port).check()

    told = str(refused.value)
    assert told.startswith(f"{option} 127.0.0.1:{port} is in use by {ME}. Stop that program, or choose another port")
    assert f"such as {option} 127.0.0.1:" in told
    assert "\n" not in told


def test_an_option_that_takes_a_port_alone_is_written_so() -> None:
    with taken() as port, pytest.raises(CannotListenError, match=rf"^--port {port} is in use by .* --port \d+$"):
        Door("--port", "127.0.0.1", port).check()


def test_a_mode_is_written_as_it_is_on_the_command_line() -> None:
    with taken() as port, pytest.raises(CannotListenError) as refused:
        Door("--mode socks5", "127.0.0.1", port).check()

    assert str(refused.value).startswith(f"--mode socks5@127.0.0.1:{port} is in use by {ME}.")


def test_a_udp_port_in_use_is_found_too() -> None:
    with taken(socket.SOCK_DGRAM) as port:
        Door("--mode dns", "127.0.0.1", port, ("tcp",)).check()
        with pytest.raises(CannotListenError, match=f"is in use by .*pid {os.getpid()}"):
            Door("--mode dns", "127.0.0.1", port, ("tcp", "udp")).check()


def test_a_free_port_and_the_one_that_the_system_chooses_are_no_error() -> None:
    with taken() as port:
        pass
    Door("--listen", "127.0.0.1", port).check()
    with taken() as port:
        Door("--listen", "127.0.0.1", 0).check()


def test_a_port_whose_connections_have_just_ended_is_free() -> None:
    with taken() as port, socket.create_connection(("127.0.0.1", port)):
        pass
    Door("--listen", "127.0.0.1", port).check()


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_told_as_that(host: str) -> None:
    with pytest.raises(CannotListenError, match="this machine has no such address"):
        Door("--listen", host, 8080).check()


def test_a_port_that_only_root_may_have_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("addons.doors._try", refuse)
    monkeypatch.setattr("addons.doors.os.name", "posix")

    with pytest.raises(CannotListenError, match=r"only root may listen at ports below 1024.*--listen 127.0.0.1:8090"):
        Door("--listen", "127.0.0.1", 80).check()


def test_the_error_names_no_program_that_the_system_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("addons.doors.psutil.net_connections", lambda _: [])

    with taken() as port, pytest.raises(CannotListenError, match=f"127.0.0.1:{port} is in use. Stop that program"):
        Door("--listen", "127.0.0.1", port).check()


def test_without_the_systems_list_each_process_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr("addons.doors.psutil.net_connections", refuse)

    with taken() as port:
        assert holder_of("127.0.0.1", port) == ME


def test_the_doors_are_those_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(listen=("127.0.0.1", 1), base_url=("127.0.0.1", 2), mode=("socks5@3", "wireguard@127.0.0.1:4"))

    doors = doors_of(options_for(settings, tmp_path, {}), ("127.0.0.1", 5))

    assert [str(door) for door in doors] == [
        "--listen 127.0.0.1:1",
        "--base-url 127.0.0.1:2",
        "--mode socks5@127.0.0.1:3",
        "--mode wireguard@127.0.0.1:4",
        "--web-listen 127.0.0.1:5",
    ]
    assert [door.protocols for door in doors][3] == ("udp",)


def test_two_doors_at_one_address_are_refused() -> None:
    doors = [Door("--listen", "127.0.0.1", 8080), Door("--base-url", "127.0.0.1", 8080)]

    with pytest.raises(CannotListenError, match=r"--base-url 127.0.0.1:8080: this is where --listen listens"):
        check_doors(doors)


@pytest.mark.anyio
@pytest.mark.parametrize("door", ["--listen", "--base-url", "--mode socks5", "--web-listen"])
async def test_the_proxy_starts_nothing_where_a_port_is_in_use(door: str, tmp_path: Path) -> None:
    class Counts:
        started = 0

        def running(self) -> None:
            self.started += 1

    addon = Counts()
    with taken() as port:
        at = ("127.0.0.1", port)
        settings = Settings(
            listen=at if door == "--listen" else FREE,
            base_url=at if door == "--base-url" else None,
            mode=(f"socks5@127.0.0.1:{port}",) if door.startswith("--mode") else (),
        )
        with pytest.raises(CannotListenError) as refused:
            async with proxy(options_for(settings, tmp_path, {}), [addon], at if door == "--web-listen" else None):
                pass

    assert f"is in use by {ME}" in str(refused.value)
    assert str(refused.value).startswith(door)
    assert addon.started == 0
