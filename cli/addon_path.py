"""`understudy addon-path`: the path of the addon script for mitmproxy's own programs."""

from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "run_proxy.py"
"""The script lies beside the rooms, both in a checkout and in the wheel."""


def addon_path() -> None:
    """Print the path of the addon script for mitmproxy. Use: mitmweb -s "$(understudy addon-path)"."""
    print(SCRIPT)
