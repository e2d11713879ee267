"""One process at a time in a directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lt_core.files import explain
from lt_core.training.errors import TrainingError

LOCK = ".lock"


@contextmanager
def locked(folder: Path, what: str) -> Iterator[int]:
    """Make ``folder`` where it is missing, and hold it alone: an exclusive lock on its file ``.lock``.

    The system gives the lock back when the process ends, however it ends; the file stays and means nothing. Only a
    block that was refused before it wrote anything takes away the folder that was made for it. Where the system or
    the file system has no locks (Windows, a mounted Drive) a note on stderr says so, and the block runs.

    Args:
        folder: the directory.
        what: who else may hold it, for the error: "training" gives "another training is at work in FOLDER".

    Yields:
        The file descriptor of the lock. A child process that inherits it holds the lock too.

    Raises:
        TrainingError: another process holds the directory, or it cannot be written.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "w")  # noqa: SIM115 (closed below; only what opens it may raise this error)
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written: {explain(error)}") from None
    with file:
        if reason := _lock(file.fileno(), folder, what):
            print(f"note: {folder} cannot be locked ({reason}); start nothing else in it", file=sys.stderr, flush=True)
        try:
            yield file.fileno()
        except BaseException:
            if made and [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                folder.rmdir()
            raise


def _lock(descriptor: int, folder: Path, what: str) -> str:
    """Take the lock; returns why there is none, or "" where it is held.

    A process that waited here while another one took its folder away holds a file that has no name any more.
    """
    try:
        import fcntl
    except ImportError:
        return "this system has no fcntl"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise TrainingError(f"another {what} is at work in {folder}") from None
    except OSError as error:
        return explain(error)
    if os.fstat(descriptor).st_nlink == 0:
        raise TrainingError(f"another {what} was at work in {folder}; give the command again")
    return ""
