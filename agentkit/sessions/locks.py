"""One run at a time in a session: a lock of the operating system on one byte of the file ``chat.db-claims``.

The byte's place is a hash of the session's name; the file stays empty. The system gives the lock back when the process
ends, however it ends, so there are no leases, no clocks and nothing to clean up. Record locks (``fcntl``) belong to a
process, not to an open file, so that a forked child neither has them nor keeps them alive. For the same reason closing
one descriptor of the file gives back all of the process's locks: it is opened once, and closed with the last claim.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.errors import SessionBusy

__all__ = ["claimed"]

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int, place: int) -> None:
        os.lseek(fd, place >> 32, os.SEEK_SET)  # it counts in 32 bits
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int, place: int) -> None:
        os.lseek(fd, place >> 32, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(fd: int, place: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)

    def _unlock(fd: int, place: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, place)


@dataclass(slots=True, eq=False)
class _File:
    """An open file of claims; ``fd`` is -1 when this process has only inherited it."""

    fd: int
    names: set[str] = field(default_factory=set[str])


_GUARD = threading.Lock()
_FILES: dict[str, _File] = {}  # those with claims of this process, by their path
_HELD: set[tuple[str, str]] = set()  # path and name: the system's locks do not tell the runs of one process apart


@contextmanager
def claimed(database: Path, name: str) -> Generator[None]:
    """Hold a session of a database.

    Raises:
        SessionBusy: Another run has it.
        OSError: The file of claims cannot be opened.
    """
    path = f"{database}-claims"
    with _GUARD:
        file = _take(path, name)
    try:
        yield
    finally:
        with _GUARD:
            _give_back(file, path, name)


def _take(path: str, name: str) -> _File:
    busy = f"another run has session {name!r} of {path.removesuffix('-claims')}; try again when it has ended"
    if (path, name) in _HELD:
        raise SessionBusy(busy)
    file = _opened(path)
    try:
        _lock(file.fd, _place_of(name))
        file.names.add(name)
    except (BlockingIOError, PermissionError) as error:  # the two ways in which systems say that it is taken
        raise SessionBusy(busy) from error
    finally:
        if not file.names:
            os.close(file.fd)
    _FILES[path] = file
    _HELD.add((path, name))
    return file


def _give_back(file: _File, path: str, name: str) -> None:
    if file.fd < 0:
        return
    _HELD.discard((path, name))
    file.names.discard(name)
    if file.names:
        _unlock(file.fd, _place_of(name))
        return
    os.close(file.fd)
    if _FILES.get(path) is file:
        del _FILES[path]


def _opened(path: str) -> _File:
    """The open file, unless it was deleted or replaced: other processes would look for claims in the new one."""
    file = _FILES.get(path)
    if file is not None and Path(path).exists() and os.path.samestat(os.fstat(file.fd), os.stat(path)):  # noqa: PTH116
        return file
    return _File(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _place_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2  # a file has 2 ** 63 places


def _after_fork() -> None:
    """A child has the descriptors but not the locks; closing them takes none from its parent."""
    for file in _FILES.values():
        os.close(file.fd)
        file.fd = -1
    _FILES.clear()
    _HELD.clear()
    _GUARD.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_GUARD.acquire, after_in_parent=_GUARD.release, after_in_child=_after_fork)
