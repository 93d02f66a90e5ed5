"""What ends a command is one line on stderr, without a secret in it."""

import pytest

from cli.fatal import fatal


def test_a_fatal_error_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")

    ended = fatal("a line that is [bold]longer[/] than the terminal\nand goes on")

    assert ended.exit_code == 2
    assert capsys.readouterr().err == ("understudy: a line that is [bold]longer[/] than the terminal and goes on\n")


def test_no_secret_is_in_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-in-a-variable")

    fatal("canary-in-a-variable, sk-ant-canary-by-its-shape and http://ann:canary@proxy:1 do not work")

    assert "canary" not in capsys.readouterr().err
