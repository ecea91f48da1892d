"""A lock between processes, for the moment in which a file is read and written anew."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked"]

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _give_back(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _give_back(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


@contextmanager
def locked(path: Path, *, patience: float = 5.0) -> Generator[None]:
    """Hold a lock, which is a file that stays; whoever dies with it gives it back. Blocks the thread.

    Where the file system knows no locks, nothing is held.

    Args:
        path: The file that is the lock.
        patience: Seconds to wait for whoever holds it.

    Raises:
        OSError: Somebody held it for too long, or the file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        held = _acquire(handle, time.monotonic() + patience)
        try:
            yield
        finally:
            if held:
                _give_back(handle)
    finally:
        os.close(handle)


def _acquire(handle: int, deadline: float) -> bool:
    while True:
        try:
            _take(handle)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            if error.errno not in _HELD:
                raise
        else:
            return True
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, "another process has held its lock for too long")
        time.sleep(0.01)
