"""A line that was mistyped ends with one line that says what was meant, and the help has its panels."""

import re
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli.app import ADD, app
from cli.group import PANELS, Commands


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "run --rehersal -- app",
            "no such option: --rehersal. Did you mean --rehearsal? See `understudy run --help`.",
        ),
        (
            "doctor --jsn -- app",
            "no such option: --jsn. Did you mean --json? See `understudy doctor --help`.",
        ),
        (
            "keys make --expiers 1d ann",
            "no such option: --expiers. Did you mean --expires? See `understudy keys make --help`.",
        ),
        (
            "run --web -- app",
            "no such option: --web. It is an option of `understudy serve`. See `understudy run --help`.",
        ),
        (
            "show --jsn chat.jsonl",
            "no such option: --jsn. Did you mean --json? See `understudy show --help`.",
        ),
        ("show chat.jsonl -x", "no such option: -x. See `understudy show --help`."),
        ("run --replay a.jsonl --speed fast -- app", "--speed: 'fast' is not a number"),
        (
            "run --record chat.txt -- app",
            "--record: 'chat.txt' must end in .jsonl (a cassette's file) or in / (a folder)",
        ),
        ("run -q -- app", "no such option: -q. See `understudy run --help`."),
        ("srve", "no such command 'srve'. Did you mean 'serve'? See `understudy --help`."),
        ("help", "no such command 'help'. Did you mean --help? See `understudy --help`."),
        ("version", "no such command 'version'. Did you mean --version? See `understudy --help`."),
        ("keys help", "no such command 'help'. Did you mean --help? See `understudy keys --help`."),
        ("keys version", "no such command 'version'. See `understudy keys --help`."),
        ("keys lst", "no such command 'lst'. Did you mean 'list'? See `understudy keys --help`."),
        ("run --record", "option '--record' requires an argument."),
        ("run --rehearsal", "missing argument 'PROGRAM'. See `understudy run --help`."),
    ],
)
def test_a_mistyped_line_is_one_line_and_status_2(line: str, told: str) -> None:
    done = CliRunner().invoke(app, line.split(), prog_name="understudy")

    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"understudy: {told}\n")


def test_control_characters_of_a_mistyped_option_do_not_reach_the_terminal() -> None:
    done = CliRunner().invoke(app, ["run", "--\x1b[31mred", "--", "app"])

    assert done.exit_code == 2
    assert "\x1b" not in done.stderr


def test_every_command_stands_in_one_panel() -> None:
    group = get_command(app)
    assert isinstance(group, Commands)

    placed = [command for commands in PANELS.values() for command in commands]

    shown = [name for name, command in group.commands.items() if not command.hidden]
    assert shown == placed
    assert sorted(group.commands) == sorted(ADD)


@pytest.mark.parametrize(("name", "told"), [item for commands in PANELS.values() for item in commands.items()])
def test_the_help_of_all_says_of_a_command_what_its_own_help_begins_with(name: str, told: str) -> None:
    group = get_command(app)
    assert isinstance(group, Commands)

    assert group.load(name).name == name
    assert " ".join(group.load(name).help.partition("\n\n")[0].split()) == told


def test_the_help_names_the_panels_in_their_order() -> None:
    done = CliRunner().invoke(app, ["--help"])

    places = [done.stdout.index(f"─ {panel} ─") for panel in PANELS]
    assert done.exit_code == 0
    assert places == sorted(places)


@pytest.mark.parametrize("line", ["", "run", "serve", "show", "keys", "keys make", "auth status", "ca show", "config"])
def test_every_command_has_a_short_option_for_its_help(line: str) -> None:
    done = CliRunner().invoke(app, [*line.split(), "-h"])

    assert done.exit_code == 0
    assert "Usage: " in done.stdout


LINES = ["", "run", "models", "show", "auth", "auth login", "keys make", "keys revoke", "ca install-help", "doctor"]


@pytest.mark.parametrize("line", LINES)
def test_the_help_shows_no_types_of_python(line: str) -> None:
    told = CliRunner().invoke(app, [*line.split(), "--help"], env={"COLUMNS": "120"}).stdout

    assert not re.findall(r"<\w+(?:\[\w+\])?>", told)


@pytest.mark.parametrize(
    ("line", "usage"),
    [("models", "[NAME]..."), ("auth login", "[CLAUDE OPTIONS]..."), ("show", "{FILE} [N|ID]")],
)
def test_the_usage_has_its_brackets_in_pairs(line: str, usage: str) -> None:
    told = CliRunner().invoke(app, [*line.split(), "--help"], env={"COLUMNS": "120"}).stdout

    assert f"Usage: root {line} [OPTIONS] {usage}\n" in re.sub(r" +\n", "\n", told).replace("understudy", "root")


def test_without_arguments_the_help_is_shown(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [])

    assert "─ Run ─" in done.stdout
    assert done.stderr == ""
