"""The `understudy` command, also as `python -m understudy`."""

import gc
import io
import sys

from understudy.rooms import use_rooms
from understudy.unused_modules import import_when_used


def main() -> None:
    """Be the `understudy` command."""
    use_rooms(in_own_process=True)
    import_when_used()
    # Not above: before this line these names may be somebody else's.
    from cli.leave import leave
    from cli.sign_of_life import is_wanted, sign_of_life

    # Not every terminal, and hardly a pipe on Windows, has every character; what it has not is written as its escape.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if is_wanted(sys.argv[1:]):
        sign_of_life.show()
    # Until the command's module is imported: see cli/group.py.
    gc.disable()
    try:
        # Not above: it takes a while, in which a terminal should see a sign of life.
        from cli.app import app

        app()
    except SystemExit as ending:
        sign_of_life.erase()
        leave(ending)
        raise
    finally:
        sign_of_life.erase()


if __name__ == "__main__":
    main()
