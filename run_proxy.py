"""The addon script for mitmproxy (`mitmweb -s run_proxy.py`). Run as a program, it is the `understudy` command."""

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from settings import Settings


def addons_for_mitmproxy() -> tuple[Any, ...]:
    """Return the addons for one of mitmproxy's own programs. It has no flags of Understudy."""
    try:
        from understudy.rooms import NameTakenError, use_rooms

        try:
            use_rooms()
        except NameTakenError as error:
            end(f"{error}. Understudy has a module with the same name and cannot run beside it.")
        # First the settings: then an error in them is shown before the addons are imported, which takes seconds.
        settings = settings_for_a_script()
        from cli.compose import compose
    except ModuleNotFoundError as error:
        end(
            f"mitmproxy runs in a Python environment without {error.name!r}: {sys.prefix}. "
            "Start the mitmproxy that is installed in the same environment as Understudy."
        )
    return compose(settings, os.environ, shown=True, in_the_background=True).addons


def settings_for_a_script() -> "Settings":
    """Read the settings from the environment and the settings file. A wrong setting ends mitmproxy with one line."""
    import settings as configuration

    try:
        return configuration.load({}, os.environ, configuration.read_file()).settings
    except configuration.SettingsError as error:
        end(str(error))


def end(told: str) -> NoReturn:
    """Print one line, and end mitmproxy with exit status 2."""
    print(f"understudy: {told}", file=sys.stderr)
    sys.exit(2)


if __name__.startswith("__mitmproxy_script__"):
    addons = addons_for_mitmproxy()
elif __name__ == "__main__":
    from understudy.__main__ import main

    main()
