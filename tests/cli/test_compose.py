"""The program that the settings make."""

from pathlib import Path

import pytest

from addons.guard_tunnels import GuardTunnels
from addons.login_upstream import LoginUpstream
from addons.proxy_login import ProxyLogin
from addons.show_in_mitmproxy import ShowInMitmproxy
from api.replay import ReplayError
from cli.compose import NOT_RECORDED, compose
from settings import Settings

OPTIONAL = (LoginUpstream, ShowInMitmproxy, ProxyLogin, GuardTunnels)


def test_a_replay_says_by_itself_whether_it_lives() -> None:
    assert {"/health", "/v1/auth/status"} <= set(NOT_RECORDED)


@pytest.mark.parametrize(
    ("settings", "shown", "there"),
    [
        ({}, False, []),
        ({}, True, ["ShowInMitmproxy"]),
        ({"upstream_proxy": "http://127.0.0.1:9"}, False, ["LoginUpstream"]),
        ({"client_auth": True}, False, ["ProxyLogin", "GuardTunnels"]),
    ],
)
def test_an_addon_is_there_if_the_settings_need_it(
    settings: dict[str, object], shown: bool, there: list[str], tmp_path: Path
) -> None:
    program = compose(Settings(data_dir=tmp_path, **settings), {}, shown=shown)  # type: ignore[arg-type]

    assert [type(addon).__name__ for addon in program.addons if isinstance(addon, OPTIONAL)] == there


def test_the_parts_that_commands_use_are_those_that_run(tmp_path: Path) -> None:
    program = compose(Settings(data_dir=tmp_path, rehearsal=True), {})

    assert program.serve in program.addons and program.record in program.addons
    assert program.rehearsal is not None
    assert program.player is None


def test_the_origin_starts_before_a_flow_is_sent_to_it_and_the_address_is_put_back_before_the_log(
    tmp_path: Path,
) -> None:
    names = [type(addon).__name__ for addon in compose(Settings(data_dir=tmp_path), {}).addons]

    assert names.index("BoundConnections") < names.index("ServeOrigin") < names.index("RedirectToOrigin")
    assert names.index("RedirectToOrigin") < names.index("Record") < names.index("LogExchanges")


def test_nothing_is_made_on_disk_before_the_proxy_runs(tmp_path: Path) -> None:
    compose(Settings(data_dir=tmp_path / "data", record=tmp_path / "a.jsonl"), {})

    assert list(tmp_path.iterdir()) == []


def test_a_cassette_that_is_to_answer_and_is_not_there_is_told(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, replay=tmp_path / "none.jsonl")

    with pytest.raises(ReplayError, match=r"there is no cassette .*none\.jsonl to replay"):
        compose(settings, {})
