"""The path of the script for mitmproxy's programs. End-to-end tests load it from the checkout and from the wheel."""

from pathlib import Path

from typer.testing import CliRunner

from cli.app import app


def test_addon_path_prints_the_path_of_run_proxy() -> None:
    done = CliRunner().invoke(app, ["addon-path"])

    assert (done.exit_code, done.stdout) == (0, f"{Path(__file__).parents[2] / 'run_proxy.py'}\n")
