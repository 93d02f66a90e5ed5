"""Writes docs/settings.md from settings.py: `uv run python docs/make_settings.py`."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from settings import Settings, show

PAGE = Path(__file__).with_name("settings.md")

HEAD = """\
# Settings

Made from `settings.py` by `docs/make_settings.py`; a test keeps the two alike. `understudy config` shows each setting's
value and where it came from.

Flags win over the environment, that over `understudy.toml` (in the working directory, else in your configuration
folder; `--config` names another), that over the defaults. `understudy run --help` and `understudy serve --help` list
the flags.

- In the environment `max_processes` is `UNDERSTUDY_MAX_PROCESSES`. Truth is `1` or `0`; of a list each line is an item.
  An empty variable is as if it were not set, but for lists and truths.
- In the file it is `max_processes = 8`, or in tables: `[record] max_mb` is `record_max_mb`, `[record.redact] headers`
  is `record_redact_headers`, `[record] file` is `record`, `[replay] file` is `replay`.
- `model_map` is `pattern=model,pattern=model` or a table `[model_map]`; `hosts` and `mode` take commas, too.
- Times are in seconds unless they say otherwise; a MB is 1,048,576 bytes.
- A setting that cannot be what it is set to ends the program with one line and status 2. So does a name in the file, or
  a variable `UNDERSTUDY_…`, that is no setting; the line says which setting it is most like. The variables that
  Kubernetes sets for a service named `understudy` or `understudy-…` are let be.
- `understudy config --changed` shows only what is not at its default, `understudy config NAME` one setting and how it
  is set, and `--json` the same for programs. Passwords, keys and tokens are not shown.
"""

TABLE = """
| setting | default | what it is |
|---|---|---|
"""

SECTIONS = {  # the first setting of each
    "listen": "Doors and hosts",
    "model_map": "Models and tools",
    "rehearsal": "The rehearsal",
    "max_processes": "Limits",
    "client_auth": "Keys and what is kept",
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
