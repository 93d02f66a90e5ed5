"""Ends the process without the interpreter's own cleanup of modules and objects.

That cleanup takes 0.1 to 0.3 seconds with the proxy's modules loaded. Nothing needs it: every command has closed what
it opened, and the operating system frees the rest.
"""

import atexit
import os
import sys
import threading


def leave(ending: SystemExit) -> None:
    """End the process with the status of ``ending``.

    First do the parts of the interpreter's cleanup that other code relies on: wait for non-daemon threads, run the
    functions registered with :mod:`atexit`, and flush stdout and stderr. Return if the interpreter must print something
    itself: a message in ``ending``, or an error because an output cannot be written. The caller then raises ``ending``.
    """
    if not (ending.code is None or isinstance(ending.code, int)):
        return
    # The interpreter's own function. It also ends the idle threads of executors; a plain join would wait for them.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit((ending.code or 0) & 0xFF)
