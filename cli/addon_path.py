"""`understudy addon-path`: the script that mitmproxy's own programs load."""

from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "run_proxy.py"
"""It lies beside the rooms, in a checkout and in the wheel."""


def addon_path() -> None:
    """Print the path of the script that mitmproxy loads: mitmweb -s "$(understudy addon-path)"."""
    print(SCRIPT)
