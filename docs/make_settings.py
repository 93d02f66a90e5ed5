"""Writes docs/settings.md from settings.py: `uv run python docs/make_settings.py`."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from settings import Settings, show

PAGE = Path(__file__).with_name("settings.md")

HEAD = """\
# Settings

`docs/make_settings.py` writes this page from `settings.py`. `understudy config` shows the value of each setting and
where it comes from.

A flag overrides the environment, the environment overrides `understudy.toml`, and the file overrides the default. The
file is in the working directory, or else in your configuration folder. `--config` names another file.
`understudy run --help` and `understudy serve --help` list the flags.

- **As a variable**, `max_processes` is `UNDERSTUDY_MAX_PROCESSES`. True is `1`, false is `0`. A list has one item in
  each line. An empty variable counts as not set, except for lists and for true or false.
- **In the file**, it is `max_processes = 8`. Tables work too: `[record] max_mb` is `record_max_mb`,
  `[record.redact] headers` is `record_redact_headers`, `[record] file` is `record`, `[replay] file` is `replay`.
- `model_map` is `pattern=model,pattern=model` or a table `[model_map]`. `hosts` and `mode` may use commas too.
- Times are in seconds if no unit is given. A MB is 1,048,576 bytes.
- A wrong value ends the program with one line and exit status 2. So does an unknown name in the file, and an unknown
  variable `UNDERSTUDY_…`. The line suggests the most similar setting. The variables that Kubernetes sets for a service
  named `understudy` or `understudy-…` are ignored.
- `understudy config --changed` shows the settings that are not at their default. `understudy config NAME` shows one
  setting and how to set it. `--json` prints the same for programs. Passwords, keys and tokens are not shown.
"""

TABLE = """
| setting | default | what it is |
|---|---|---|
"""

SECTIONS = {  # the first setting of each section
    "listen": "Addresses and hosts",
    "model_map": "Models and tools",
    "rehearsal": "The rehearsal",
    "max_processes": "Limits",
    "client_auth": "Keys and stored data",
    "provider": "Claude Code",
    "record": "Recording",
    "replay": "Replaying",
    "log_level": "The log",
}

UNITS = {"_s": "s", "_mb": "MB", "_bytes": "bytes", "_days": "days"}

DATA_DIR = "`understudy` in the system's folder for a user's data: on Linux `~/.local/share/understudy`"


def default_of(setting: Field[Any]) -> str:
    """Return a setting's default, with its unit."""
    if setting.name == "data_dir":
        return DATA_DIR
    value = setting.default if setting.default is not MISSING else setting.default_factory()
    if value is None or value == () or value == {}:
        return ""
    unit = next((unit for ending, unit in UNITS.items() if setting.name.endswith(ending)), "")
    return f"`{show(value)}` {unit}".rstrip()


def lines() -> Iterator[str]:
    """Yield the tables."""
    for setting in fields(Settings):
        if setting.name in SECTIONS:
            yield f"\n## {SECTIONS[setting.name]}\n{TABLE}"
        yield f"| `{setting.name}` | {default_of(setting)} | {setting.metadata['help']} |\n"


def page() -> str:
    """Return the page."""
    return HEAD + "".join(lines())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
