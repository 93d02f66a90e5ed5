import shutil
import subprocess
from pathlib import Path

import pytest

from launch.shell_lines import EARLIER, LOADED, SHELLS, set_lines, unset_lines

AWKWARD = "it's $HOME `x` \"q\" \\ \\' \u2019 a\nb"
SHELL_PROGRAMS = ["sh", "bash", "zsh", "fish", "pwsh"]


def told(shell: str, script: str, base: dict[str, str], names: list[str], tmp_path: Path) -> list[str]:
    """Run lines in a real shell and return the values of variables, as the programs that it starts see them."""
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"there is no {shell} here")
    file = tmp_path / ("lines.ps1" if shell == "pwsh" else "lines")
    say = 'import os, sys; print("\\0".join(os.environ.get(name, "-") for name in sys.argv[1:]), end="")'
    call = "& python3" if shell == "pwsh" else "python3"
    file.write_text(f"{script}{call} -c '{say}' {' '.join(names)}\n", "utf-8")
    path = "/usr/bin:/bin:/usr/local/bin"
    # fish reads its script in the locale's encoding.
    done = subprocess.run(
        [program, str(file)], env={"PATH": path, "LC_ALL": "C.UTF-8", **base}, capture_output=True, check=True
    )
    return done.stdout.decode().split("\0")


@pytest.mark.parametrize("shell", SHELL_PROGRAMS)
def test_a_shell_reads_back_the_value_it_was_given(shell: str, tmp_path: Path) -> None:
    lines = set_lines({"NAME": AWKWARD, "OTHER": "1"}, {}, shell)

    assert told(shell, lines, {}, ["NAME", "OTHER", LOADED], tmp_path) == [AWKWARD, "1", "NAME OTHER"]


@pytest.mark.parametrize("shell", SHELL_PROGRAMS)
def test_each_variable_gets_back_what_it_was(shell: str, tmp_path: Path) -> None:
    before = {"MINE": AWKWARD, "SAME": "same"}
    names = ["MINE", "NEW", "SAME", LOADED, f"{EARLIER}MINE"]
    first = set_lines({"MINE": "http://a", "NEW": "1"}, before, shell)
    loaded = dict(zip(names, told(shell, first, before, names, tmp_path), strict=True))
    # Loaded once more, from another proxy: what was the shell's own is not lost for it.
    second = set_lines({"MINE": "http://b"}, loaded, shell)
    loaded = dict(zip(names, told(shell, second, loaded, names, tmp_path), strict=True))

    assert loaded == {
        "MINE": "http://b",
        "NEW": "1",
        "SAME": "same",
        LOADED: "MINE NEW",
        f"{EARLIER}MINE": AWKWARD,
    }
    after = told(shell, unset_lines(loaded, shell), loaded, names, tmp_path)
    assert after == [AWKWARD, "-", "same", "-", "-"]


def test_an_earlier_value_is_never_printed() -> None:
    base = {"HTTPS_PROXY": "http://ann:canary@proxy:1"}
    lines = set_lines({"HTTPS_PROXY": "http://127.0.0.1:8080"}, base, "sh")
    loaded = base | {LOADED: "HTTPS_PROXY", f"{EARLIER}HTTPS_PROXY": base["HTTPS_PROXY"]}

    assert "canary" not in lines + unset_lines(loaded, "sh")


def test_an_invalid_variable_name_is_left_out() -> None:
    assert unset_lines({LOADED: "A;echo $(id) B"}, "sh") == f"unset B\nunset {LOADED}\n"


def test_without_changes_there_are_no_lines() -> None:
    assert unset_lines({"HTTPS_PROXY": "http://proxy:1"}, "sh") == ""
    assert set_lines({}, {}, "sh") == ""


@pytest.mark.parametrize(
    ("shell", "lines"),
    [
        ("sh", 'unset A\nexport B="$_UNDERSTUDY_EARLIER_B"\nunset _UNDERSTUDY_EARLIER_B\nunset _UNDERSTUDY_ENV\n'),
        (
            "fish",
            'set -e A\nset -gx B "$_UNDERSTUDY_EARLIER_B"\nset -e _UNDERSTUDY_EARLIER_B\nset -e _UNDERSTUDY_ENV\n',
        ),
        (
            "powershell",
            "Remove-Item Env:A -ErrorAction SilentlyContinue\n"
            "$env:B = $env:_UNDERSTUDY_EARLIER_B\n"
            "Remove-Item Env:_UNDERSTUDY_EARLIER_B -ErrorAction SilentlyContinue\n"
            "Remove-Item Env:_UNDERSTUDY_ENV -ErrorAction SilentlyContinue\n",
        ),
    ],
)
def test_each_shell_has_its_own_words_for_undoing(shell: str, lines: str) -> None:
    assert unset_lines({LOADED: "A B", "A": "1", "B": "2", f"{EARLIER}B": "3"}, shell) == lines


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", "export NAME='a'\\''b\\c'\n"),
        ("fish", "set -gx NAME 'a\\'b\\\\c'\n"),
        ("powershell", "$env:NAME = 'a''b\\c'\n"),
    ],
)
def test_each_shell_has_its_own_quotes(shell: str, line: str) -> None:
    assert set_lines({"NAME": "a'b\\c"}, {}, shell).startswith(line)


def test_powershell_takes_a_typographic_quote_for_a_quote() -> None:
    assert set_lines({"NAME": "a\u2019b"}, {}, "powershell").startswith("$env:NAME = 'a\u2019\u2019b'\n")


def test_an_unknown_shell_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=f"'tcsh'.*{', '.join(SHELLS)}"):
        set_lines({"A": "1"}, {}, "tcsh")
