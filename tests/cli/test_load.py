"""Options become settings, or one line that says what is wrong with them."""

from pathlib import Path

import pytest
import typer

from cli.load import load_settings


def test_an_option_is_named_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        load_settings(None, hosts=["b/c"])

    assert (ended.value.exit_code, capsys.readouterr().err) == (
        2,
        "understudy: --host: 'b/c' is not a host name or pattern\n",
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"replay_on_miss": "live"}, "--on-miss can only be used with --replay FILE: nothing is replayed."),
        ({"replay_speed": 0.0}, "--speed can only be used with --replay FILE: nothing is replayed."),
        (
            {"replay_faults": Path("f.toml"), "replay_speed": 2.0, "replay_on_miss": None},
            "--faults and --speed can only be used with --replay FILE: nothing is replayed.",
        ),
    ],
)
def test_an_option_for_a_replay_is_refused_where_nothing_is_replayed(
    flags: dict[str, object], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        load_settings(None, **flags)

    assert (ended.value.exit_code, capsys.readouterr().err) == (2, f"understudy: {told}\n")


def test_a_replay_may_be_asked_for_by_option_variable_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(None, replay=Path("a.jsonl"), replay_speed=2.0).settings.replay_speed == 2

    (tmp_path / "understudy.toml").write_text('[replay]\nfile = "b.jsonl"\n', "utf-8")
    assert load_settings(None, replay_speed=3.0).settings.replay_speed == 3

    (tmp_path / "understudy.toml").unlink()
    monkeypatch.setenv("UNDERSTUDY_REPLAY", "c.jsonl")
    assert load_settings(None, replay_speed=4.0).settings.replay_speed == 4


def test_settings_for_replays_may_stand_in_the_file_for_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "understudy.toml").write_text("[replay]\nspeed = 0\n", "utf-8")

    assert load_settings(None).settings.replay_speed == 0
