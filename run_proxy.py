"""A script for mitmproxy (`mitmweb -s run_proxy.py`). Run as a program, it is the `understudy` command."""

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from settings import Settings


def addons_for_mitmproxy() -> tuple[Any, ...]:
    """Return the addons, for a process that is mitmproxy's. It has no flags of ours."""
    try:
        from understudy.rooms import NameTakenError, use_rooms

        try:
            use_rooms()
        except NameTakenError as error:
            end(f"{error}. Understudy has a module of that name and cannot run beside it.")
        # First, since a wrong setting is told before the addons are imported, which takes seconds.
        settings = settings_for_a_script()
        from cli.compose import compose
    except ModuleNotFoundError as error:
        end(
            f"mitmproxy runs in an environment without {error.name!r}: {sys.prefix}. "
            "Start the mitmproxy of the environment that Understudy is installed in."
        )
    return compose(settings, os.environ, shown=True, in_the_background=True).addons


def settings_for_a_script() -> "Settings":
    """Read the settings from the environment and the file. A wrong one ends mitmproxy with one line."""
    import settings as configuration

    try:
        return configuration.load({}, os.environ, configuration.read_file()).settings
    except configuration.SettingsError as error:
        end(str(error))


def end(told: str) -> NoReturn:
    """End mitmproxy with one line."""
    print(f"understudy: {told}", file=sys.stderr)
    sys.exit(2)


if __name__.startswith("__mitmproxy_script__"):
    addons = addons_for_mitmproxy()
elif __name__ == "__main__":
    from understudy.__main__ import main

    main()
