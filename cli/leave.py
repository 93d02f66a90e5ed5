"""The end of the process, without the interpreter's own way of taking everything apart.

With the proxy's modules loaded that takes a tenth to a third of a second. Nothing needs it: by then every command has
closed what it opened, and the system frees the rest.
"""

import atexit
import os
import sys
import threading


def leave(ending: SystemExit) -> None:
    """End the process with the status of ``ending``, after what an interpreter does that others rely on.

    It waits for the threads that are no daemons, runs the functions registered with :mod:`atexit`, and flushes stdout
    and stderr. Returns if the interpreter has something to say itself: a message to print, or an output that it cannot
    write. The caller then raises ``ending``.
    """
    if not (ending.code is None or isinstance(ending.code, int)):
        return
    # The interpreter's own function. It also ends the idle threads of executors, which joining them would wait for.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit((ending.code or 0) & 0xFF)
