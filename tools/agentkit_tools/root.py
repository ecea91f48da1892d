"""`Root`: a directory and nothing outside it, whatever names, links and races do.

The directory is opened once. Every path is resolved by the kernel beneath that descriptor with ``openat2`` and
``RESOLVE_BENEATH`` (Linux 5.6 or newer); elsewhere, one component at a time, without following any link.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import stat
import sys
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentkit.errors import ConfigError, ModelRetry, ToolError

__all__ = ["Entry", "Root"]

_OPENAT2 = 437  # the same number on every architecture that Python runs on
_NO_MAGICLINKS, _BENEATH = 0x02, 0x08
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC if sys.platform != "win32" else 0
_LONGEST_PATH, _DEEPEST_PATH = 1000, 50
_MOST_ENTRIES = 100_000  # entries of one walk; a larger tree is listed only in part
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory beneath a root.

    Attributes:
        path: Relative to the root, with ``/`` between names.
        is_dir: Whether it is a directory.
        size: In bytes.
        modified: Seconds since 1970.
    """

    path: str
    is_dir: bool
    size: int
    modified: float


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Root:
    """A directory whose files can be read and written, and nothing outside it.

    Args:
        path: The directory; it must exist.
        hidden: Whether names that begin with a dot are visible. They hold keys, histories and version control hooks, so
            they are hidden by default.
        resolve: ``"openat2"`` or ``"components"``; by default the best that this system has.

    Raises:
        ConfigError: There is no such directory, or the system cannot open files relative to a directory.
    """

    def __init__(
        self, path: str | Path, *, hidden: bool = False, resolve: Literal["auto", "openat2", "components"] = "auto"
    ) -> None:
        if os.open not in os.supports_dir_fd:
            raise ConfigError("this system cannot open files relative to a directory, so no root can be safe here")
        self.path = Path(path).resolve()
        self.hidden = hidden
        try:
            self._fd = os.open(self.path, _DIRECTORY)
        except OSError as error:
            raise ConfigError(f"cannot open the directory {str(path)!r}: {os.strerror(error.errno or 0)}") from None
        self._close = weakref.finalize(self, os.close, self._fd)
        self._beneath = resolve == "openat2" or (resolve == "auto" and _has_openat2(self._fd))

    def __repr__(self) -> str:
        return f"Root({str(self.path)!r})"

    def normalize(self, path: str) -> str:
        """Return the path relative to the root, without ``.`` and doubled slashes.

        Raises:
            ModelRetry: It leads outside the root, or names something hidden.
        """
        if "\0" in path:
            raise ModelRetry("a path cannot contain the character NUL")
        if path.startswith("/"):
            own = f"{self.path}/".replace("//", "/")
            if not f"{path}/".startswith(own):
                raise ModelRetry(f"{path!r} is outside the folder: give a path relative to it, such as 'notes/a.txt'")
            path = path[len(own) :]
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if len(path) > _LONGEST_PATH or len(parts) > _DEEPEST_PATH:
            raise ModelRetry(f"a path has at most {_LONGEST_PATH} characters and {_DEEPEST_PATH} directories")
        if ".." in parts:
            raise ModelRetry(
                f"{path!r}: '..' is not allowed; give a path relative to the folder, such as 'notes/a.txt'"
            )
        if not self.hidden and any(part.startswith(".") for part in parts):
            raise ModelRetry(f"{path!r}: names that begin with a dot are hidden here and cannot be used")
        return "/".join(parts) or "."

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a descriptor of an existing file or directory.

        Raises:
            ToolError: It does not exist, leads outside the root, or the system refuses.
        """
        return self._open(self.normalize(path), flags)

    def _open(self, name: str, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # opening a FIFO must not block
        try:
            return self._open_beneath(name, flags)
        except OSError as error:
            raise ToolError(_reason(name, error)) from None

    def _open_beneath(self, name: str, flags: int) -> int:
        if not self._beneath:
            return self._open_by_components(name, flags)
        for attempt in range(20):
            try:
                return _openat2(self._fd, name, flags)
            except OSError as error:  # EAGAIN: something was renamed while the kernel looked
                if error.errno != errno.EAGAIN or attempt == 19:
                    raise
        raise AssertionError

    def _open_by_components(self, name: str, flags: int) -> int:
        *parents, last = name.split("/")
        at = os.dup(self._fd)
        try:
            for part in parents:
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = inner
            return os.open(last, flags | os.O_NOFOLLOW, dir_fd=at)
        finally:
            os.close(at)

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the contents of a regular file.

        Raises:
            ToolError: It cannot be read, is not a regular file, or is larger than ``max_bytes``.
        """
        fd = self.open(path)
        try:
            _check_regular(path, os.fstat(fd))
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(max_bytes + 1)
        finally:
            os.close(fd)
        if len(data) > max_bytes:
            raise ToolError(f"{path!r} is larger than the {max_bytes:,} bytes that may be read")
        return data

    def stat(self, path: str) -> Entry:
        """Return the metadata of a file or directory.

        Raises:
            ToolError: It does not exist.
        """
        fd = self.open(path)
        try:
            known = os.fstat(fd)
        finally:
            os.close(fd)
        return Entry(self.normalize(path), stat.S_ISDIR(known.st_mode), known.st_size, known.st_mtime)

    def walk(self, path: str = ".", *, depth: int | None = None) -> Iterator[Entry]:
        """Yield the files and directories beneath a directory, sorted by name; links are left out.

        Args:
            path: Where to begin.
            depth: The number of levels: 1 for the directory alone, None for all.

        Raises:
            ToolError: There is no such directory.
        """
        start = self.normalize(path)
        pending, seen = [(start, 1)], 0
        while pending and seen <= _MOST_ENTRIES:
            place, level = pending.pop()
            try:
                entries = self._entries(place)
            except ToolError:
                if place == start:
                    raise
                continue  # it has disappeared or become a link since it was listed
            yield from entries
            seen += len(entries)
            if depth is None or level < depth:
                pending += [(entry.path, level + 1) for entry in reversed(entries) if entry.is_dir]

    def _entries(self, place: str) -> list[Entry]:
        """Return the files and directories of one directory."""
        found: list[Entry] = []
        fd = self._open(place, _DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in sorted(os.listdir(fd)):  # noqa: PTH208 - a path could have changed its meaning
                known = _lstat(name, fd) if self.hidden or not name.startswith(".") else None
                if known is not None and (stat.S_ISDIR(known.st_mode) or stat.S_ISREG(known.st_mode)):
                    path = name if place == "." else f"{place}/{name}"
                    found.append(Entry(path, stat.S_ISDIR(known.st_mode), known.st_size, known.st_mtime))
        finally:
            os.close(fd)
        return found

    @contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """Open the directory that holds a normalized path; return it and the last name of the path."""
        if name == ".":
            raise ModelRetry("the folder itself cannot be changed; name something in it")
        *parents, last = name.split("/")
        if make:
            for end in range(1, len(parents) + 1):
                with self._parent("/".join(parents[:end])) as (at, new), suppress(FileExistsError):
                    os.mkdir(new, dir_fd=at)
        fd = self._open("/".join(parents) or ".", _DIRECTORY)
        try:
            yield fd, last
        except OSError as error:
            raise ToolError(_reason(name, error)) from None
        finally:
            os.close(fd)

    def write(self, path: str, data: bytes) -> None:
        """Replace or create a file atomically; missing directories are created.

        The data is written to a new file next to it and renamed, so writing through a hard link never changes a file
        elsewhere.

        Raises:
            ToolError: The system refuses, or the name belongs to something that is not a regular file.
        """
        with self._parent(self.normalize(path), make=True) as (at, last):
            known = _lstat(last, at)
            if known is not None:
                _check_regular(path, known)
            new = f".{secrets.token_hex(8)}.tmp"
            mode = stat.S_IMODE(known.st_mode) & 0o777 if known is not None else 0o644
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    if known is not None:
                        os.fchmod(file.fileno(), mode)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(new, last, src_dir_fd=at, dst_dir_fd=at)
            except BaseException:
                os.unlink(new, dir_fd=at)
                raise

    def move(self, path: str, target: str) -> None:
        """Move or rename a file or directory; missing directories are created, and nothing is replaced.

        Raises:
            ToolError: There is no such file, the new name is taken, or the system refuses.
        """
        self._move(self.normalize(path), self.normalize(target))

    def trash(self, path: str, trash: str) -> str:
        """Move a file or directory into the directory ``trash`` of the root, even if that is hidden.

        Returns:
            The new path.

        Raises:
            ToolError: There is no such file, or the system refuses.
        """
        name = self.normalize(path)
        target = f"{trash}/{secrets.token_hex(4)}-{name.rpartition('/')[2]}"
        self._move(name, target)
        return target

    def _move(self, name: str, target: str) -> None:
        with self._parent(name) as (at, last):
            if _lstat(last, at) is None:
                raise ToolError(f"there is no {name!r}; list the folder to see what there is")
            with self._parent(target, make=True) as (target_at, new):
                if _lstat(new, target_at) is not None:
                    raise ToolError(f"there is already something at {target!r}; delete it first or choose another name")
                os.rename(last, new, src_dir_fd=at, dst_dir_fd=target_at)


def _has_openat2(fd: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        os.close(_openat2(fd, ".", _DIRECTORY))
    except OSError:  # ENOSYS from an old kernel, EPERM from a container that does not allow the call
        return False
    return True


def _openat2(fd: int, name: str, flags: int) -> int:
    how = _OpenHow(flags, 0, _BENEATH | _NO_MAGICLINKS)
    opened: int = ctypes.CDLL(None, use_errno=True).syscall(
        _OPENAT2, fd, os.fsencode(name), ctypes.byref(how), ctypes.sizeof(how)
    )
    if opened < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return opened


def _lstat(name: str, at: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _check_regular(path: str, known: os.stat_result) -> None:
    if stat.S_ISLNK(known.st_mode):
        raise ToolError(f"{path!r} is a link; use the path of the file itself")
    if not stat.S_ISREG(known.st_mode):
        raise ToolError(f"{path!r} is {_KINDS.get(stat.S_IFMT(known.st_mode), 'not a file')}, not a file")


def _reason(name: str, error: OSError) -> str:
    """Return the error as a sentence for the model."""
    if error.errno in (errno.EXDEV, errno.ELOOP):
        return f"{name!r} is or passes a link that leads out of the folder"
    if error.errno == errno.ENOENT:
        return f"there is no {name!r}; list the folder to see what there is"
    if error.errno in (errno.EAGAIN, errno.ENXIO):
        return f"{name!r} cannot be opened: it is not a regular file, or is being moved"
    if error.errno == errno.ENOTDIR:
        return f"{name!r}: a part of the path is not a directory"
    return f"{name!r}: {os.strerror(error.errno or 0)}"
