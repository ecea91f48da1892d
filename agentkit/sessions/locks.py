"""One run at a time per session: an operating system lock on one byte of the file ``chat.db-claims``.

The offset of the byte is a hash of the session's name; the file stays empty. The system releases the lock when the
process ends, however it ends, so there are no leases, no clocks and nothing to clean up.

Where available, these are open file description locks (``F_OFD_SETLK``), which only this module can release. Other
systems have record locks, which a process loses when any part of it opens and closes the file. Either way the file is
opened once per process, and closed with the last claim.

A lock on a file that was deleted or replaced keeps nobody out, because others lock the new file. `check_claim` detects
that before anything is stored.
"""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.errors import SessionBusy, SessionError

__all__ = ["check_claim", "claimed"]

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int, place: int) -> None:
        os.lseek(fd, place >> 32, os.SEEK_SET)  # its offsets have 32 bits
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int, place: int) -> None:
        os.lseek(fd, place >> 32, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
elif sys.platform == "linux":
    import fcntl

    def _lock(fd: int, place: int) -> None:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))

    def _unlock(fd: int, place: int) -> None:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, place, 1, 0))
else:
    import fcntl

    def _lock(fd: int, place: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)

    def _unlock(fd: int, place: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, place)


@dataclass(slots=True, eq=False)
class _File:
    """An open claims file; ``fd`` is -1 if this process has only inherited it."""

    fd: int
    names: set[str] = field(default_factory=set[str])

    def is_at(self, path: str) -> bool:
        """Return True if other processes would lock this file too."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(path))  # noqa: PTH116 - as `samestat` takes it
        except OSError:
            return False


_GUARD = threading.Lock()
_FILES: dict[str, _File] = {}  # files in which this process holds claims, by path
_HELD: dict[tuple[str, str], _File] = {}  # by path and name: file locks do not tell apart runs of one process


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


def check_claim(database: Path, name: str) -> None:
    """Check that this process's claim, if it has one, still keeps others out.

    Raises:
        SessionError: The file of claims was deleted or replaced.
    """
    path = f"{database}-claims"
    with _GUARD:
        file = _HELD.get((path, name))
    if file is not None and not file.is_at(path):
        raise SessionError(
            f"the file {path} was deleted or replaced while a run had session {name!r}, so another run may have "
            "it too; leave the file alone, and resume the session"
        )


def _take(path: str, name: str) -> _File:
    busy = f"another run has session {name!r} of {path.removesuffix('-claims')}; try again when it has ended"
    if (path, name) in _HELD:
        raise SessionBusy(busy)
    file = _FILES.get(path)
    if file is None or not file.is_at(path):
        file = _File(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
    try:
        _lock(file.fd, _place_of(name))
        file.names.add(name)
    except (BlockingIOError, PermissionError) as error:  # the two ways in which systems report that it is taken
        raise SessionBusy(busy) from error
    finally:
        if not file.names:
            os.close(file.fd)
    _FILES[path] = _HELD[path, name] = file
    return file


def _give_back(file: _File, path: str, name: str) -> None:
    if file.fd < 0:
        return
    del _HELD[path, name]
    file.names.discard(name)
    if file.names:
        _unlock(file.fd, _place_of(name))
        return
    os.close(file.fd)
    if _FILES.get(path) is file:
        del _FILES[path]


def _place_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2  # a file has 2 ** 63 places


def _after_fork() -> None:
    """Close inherited files in a child process, so that they do not outlive the parent's claims."""
    for file in {id(each): each for each in (*_FILES.values(), *_HELD.values())}.values():
        os.close(file.fd)
        file.fd = -1
    _FILES.clear()
    _HELD.clear()
    _GUARD.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_GUARD.acquire, after_in_parent=_GUARD.release, after_in_child=_after_fork)
