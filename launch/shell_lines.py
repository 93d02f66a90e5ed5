"""Shell lines that set variables, and shell lines that restore them.

Before a variable is overwritten, the shell copies its value to ``_UNDERSTUDY_EARLIER_…``, and later copies it back. The
value may hold a password, so it is never printed. ``_UNDERSTUDY_ENV`` holds the names of the variables that were set.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LOADED = "_UNDERSTUDY_ENV"
EARLIER = "_UNDERSTUDY_EARLIER_"


@dataclass(frozen=True, slots=True)
class Shell:
    """A shell's syntax: export a variable with a value, copy another variable's value into it, and unset it."""

    set: Callable[[str, str], str]
    copy: Callable[[str, str], str]
    unset: Callable[[str], str]


def set_lines(changes: Mapping[str, str], base: Mapping[str, str], shell: str) -> str:
    """Return the lines that set the variables. ``base`` is the shell's environment; ``shell`` one of ``SHELLS``.

    Raises ValueError for another shell.
    """
    if not changes:
        return ""
    say = _shell(shell)
    loaded = _names(base)
    own = [name for name in changes if name in base and name not in loaded]
    lines = [say.copy(EARLIER + name, name) for name in own]
    lines += [say.set(name, value) for name, value in changes.items()]
    lines.append(say.set(LOADED, " ".join(dict.fromkeys([*loaded, *changes]))))
    return "".join(f"{line}\n" for line in lines)


def unset_lines(base: Mapping[str, str], shell: str) -> str:
    """Return the lines that undo :func:`set_lines` in a shell whose environment is ``base``.

    The result is empty if nothing was set. Raises ValueError for a shell that is not in ``SHELLS``.
    """
    say = _shell(shell)
    names = _names(base)
    own = [name for name in names if EARLIER + name in base]
    lines = [say.copy(name, EARLIER + name) if name in own else say.unset(name) for name in names]
    lines += [say.unset(EARLIER + name) for name in own]
    lines += [say.unset(LOADED)] if names else []
    return "".join(f"{line}\n" for line in lines)


def _names(base: Mapping[str, str]) -> list[str]:
    """Return the variables that were set. Anyone can change the shell's variable, so invalid names are dropped."""
    return [name for name in base.get(LOADED, "").split() if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]


def _shell(name: str) -> Shell:
    if name not in SHELLS:
        raise ValueError(f"there are no lines for the shell {name!r}, only for {', '.join(SHELLS)}")
    return SHELLS[name]


def _posix_quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _fish_quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _powershell_quoted(value: str) -> str:
    # PowerShell also ends a string at the typographic single quotes; any of them is escaped by doubling.
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", value) + "'"


_POSIX = Shell(
    lambda name, value: f"export {name}={_posix_quoted(value)}",
    lambda name, other: f'export {name}="${other}"',
    lambda name: f"unset {name}",
)
_FISH = Shell(
    lambda name, value: f"set -gx {name} {_fish_quoted(value)}",
    lambda name, other: f'set -gx {name} "${other}"',
    lambda name: f"set -e {name}",
)
_POWERSHELL = Shell(
    lambda name, value: f"$env:{name} = {_powershell_quoted(value)}",
    lambda name, other: f"$env:{name} = $env:{other}",
    lambda name: f"Remove-Item Env:{name} -ErrorAction SilentlyContinue",
)
SHELLS = {
    "sh": _POSIX,
    "bash": _POSIX,
    "zsh": _POSIX,
    "fish": _FISH,
    "powershell": _POWERSHELL,
    "pwsh": _POWERSHELL,
}
