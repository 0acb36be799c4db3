"""A reader of files that some of them kill; other processes import it in no time."""

import ctypes
import os
import signal


def deadly(path):
    """Facts of a path, where the name does not ask for something worse."""
    if "crash" in path:
        ctypes.string_at(0)
    if "kill" in path:
        os.kill(os.getpid(), signal.SIGKILL)
    if "odd" in path:
        raise RuntimeError("of a kind that nobody thought of")
    return {"path": path}
