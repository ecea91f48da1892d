"""Files that are replaced as a whole: whoever reads one finds what was there before or what is there now."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: str | Path, text: str, *, mode: int = 0o600) -> None:
    """Make a file or replace its content, whole or not at all, also if the process or the machine fails meanwhile.

    Args:
        path: The file. A link stays as it is, and what it points to is replaced. The directory must exist.
        text: The content, written as UTF-8.
        mode: The permissions of the file, also of one that exists; nobody else can read it before they are set.

    Raises:
        OSError: It cannot be written; what was there is unchanged, and nothing else is left behind.
    """
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a crash of the machine may leave the name with nothing in it
        new.chmod(mode)
        new.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
