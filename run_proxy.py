"""The entry: `understudy` is :func:`main`, and mitmproxy takes this file as an addon script (`mitmweb -s`)."""

import gc
import io
import os
import sys
from typing import TYPE_CHECKING

from cli.leave import leave
from cli.sign_of_life import is_wanted, sign_of_life

if TYPE_CHECKING:
    from settings import Settings


def main() -> None:
    """Be the `understudy` command."""
    # Not every terminal, and hardly a pipe on Windows, has every character; what it has not is written as its escape.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if is_wanted(sys.argv[1:]):
        sign_of_life.show()
    # Until the command's module is imported: see cli/group.py.
    gc.disable()
    try:
        # Not above: what mitmproxy loads as a script needs no command line.
        from cli.app import app

        app()
    except SystemExit as ending:
        sign_of_life.erase()
        leave(ending)
        raise
    finally:
        sign_of_life.erase()


def settings_for_a_script() -> "Settings":
    """Read the settings from the environment and the file. A wrong one ends mitmproxy with one line."""
    # Not above: reading them takes a while in which a terminal should see a sign of life.
    import settings as configuration

    try:
        return configuration.load({}, os.environ, configuration.read_file()).settings
    except configuration.SettingsError as error:
        print(f"understudy: {error}", file=sys.stderr)
        sys.exit(2)


if __name__.startswith("__mitmproxy_script__"):
    # mitmproxy loads this file as a script: `mitmweb -s run_proxy.py`. It has no flags of ours.
    from cli.compose import compose

    addons = compose(settings_for_a_script(), os.environ, shown=True, in_the_background=True).addons
elif __name__ == "__main__":
    main()
