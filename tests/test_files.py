"""A file is replaced as a whole, or not at all."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentkit.chat import write_atomically


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_file_is_made_and_replaced_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    write_atomically(path, "é\n")
    assert (path.read_bytes(), mode_of(path)) == ("é\n".encode(), 0o600)
    path.chmod(0o666)
    write_atomically(str(path), "new")
    assert (path.read_text(encoding="utf-8"), mode_of(path), names(tmp_path)) == ("new", 0o600, ["a file"])


def test_a_file_that_others_may_read_says_so(tmp_path: Path) -> None:
    write_atomically(tmp_path / "shared", "text", mode=0o644)
    assert mode_of(tmp_path / "shared") == 0o644


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    link.symlink_to("elsewhere/target")
    if is_there:
        target.write_text("old", encoding="utf-8")
    write_atomically(link, "new")
    assert (link.is_symlink(), target.read_text(encoding="utf-8")) == (True, "new")
    assert names(tmp_path) == ["elsewhere", "link"]


DIES = """
import os, sys
from agentkit.chat import write_atomically
os.replace = lambda *_: os._exit(9)
import pathlib
pathlib.Path.replace = lambda *_: os._exit(9)
write_atomically(sys.argv[1], "new")
"""


def test_a_process_that_dies_in_between_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert (done.returncode, path.read_text(encoding="utf-8")) == (9, "old")


def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")

    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert (path.read_text(encoding="utf-8"), names(tmp_path)) == ("old", ["file"])


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # as a disk on which 4 KB are left
        with pytest.raises(OSError, match="too large"):
            write_atomically(path, "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (path.read_text(encoding="utf-8"), names(tmp_path)) == ("old", ["file"])


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nonesuch" / "file", "text")
