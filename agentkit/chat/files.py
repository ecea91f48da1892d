"""Files that are replaced atomically: a reader finds either the old or the new content."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: str | Path, text: str, *, mode: int = 0o600) -> None:
    """Make a file or replace its content, whole or not at all, even if the process or the machine fails meanwhile.

    Args:
        path: The file. A link stays as it is, and its target is replaced. The directory must exist.
        text: The content, written as UTF-8.
        mode: The permissions of the file, also of one that exists; nobody else can read it before they are set.

    Raises:
        OSError: It cannot be written; the old content is unchanged, and no other file is left behind.
    """
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # otherwise a crash of the machine may leave an empty file
        new.chmod(mode)
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
