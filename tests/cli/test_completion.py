"""The shell completes commands, options and what an option can be."""

import pytest
from typer.testing import CliRunner

from cli.app import app


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("understudy re", {"rehearsal", "retranslate", "reassemble"}),
        ("understudy add", {"addon-path"}),
        ("understudy run --rec", {"--record"}),
        ("understudy run --on-miss ", {"fail", "live", "record"}),
        ("understudy serve --log-level w", {"warning"}),
        ("understudy env --shell p", {"powershell", "pwsh"}),
        ("understudy config replay_f", {"replay_faults"}),
        ("understudy keys m", {"make"}),
    ],
)
def test_bash_completes(typed: str, completed: set[str]) -> None:
    words = typed.split(" ")
    env = {"_UNDERSTUDY_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}

    done = CliRunner().invoke(app, [], prog_name="understudy", env=env)

    assert set(done.stdout.split()) == completed


def test_the_help_says_how_completion_is_installed() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
