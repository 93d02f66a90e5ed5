"""The entry: `understudy` is :func:`main`, and mitmproxy takes this file as an addon script (`mitmweb -s`)."""

import io
import os
import sys

from cli.sign_of_life import is_wanted, sign_of_life


def main() -> None:
    """Be the `understudy` command."""
    # Not every terminal, and hardly a pipe on Windows, has every character; what it has not is written as its escape.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if is_wanted(sys.argv[1:]):
        sign_of_life.show()
    try:
        # Not above: it takes a second, and what mitmproxy loads as a script needs no command line.
        from cli.app import app

        app()
    finally:
        sign_of_life.erase()


if __name__.startswith("__mitmproxy_script__"):
    # mitmproxy loads this file as a script: `mitmweb -s run_proxy.py`. Settings come from the environment and the file.
    import settings as configuration
    from addons import default_addons
    from addons.serve_origin import ServeOrigin

    addons = default_addons(
        configuration.load({}, os.environ, configuration.read_file()).settings, os.environ, shown=True
    )
    next(addon for addon in addons if isinstance(addon, ServeOrigin)).in_the_background = True
elif __name__ == "__main__":
    main()
