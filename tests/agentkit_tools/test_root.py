"""A root holds against names, links, devices and races."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

import pytest
from agentkit_tools.root import Root

from agentkit.errors import ConfigError, ModelRetry, ToolError
from tests.explore import EXPLORE

SWAPS = 100_000 if EXPLORE else 15_000
SWAPPER = """
import ctypes, sys
inside, link, swaps = sys.argv[1].encode(), sys.argv[2].encode(), int(sys.argv[3])
exchange, here = ctypes.CDLL(None).renameat2, -100
for _ in range(swaps):
    exchange(here, inside, here, link, 2)
"""


@pytest.fixture(params=["openat2", "components"])
def resolve(request: pytest.FixtureRequest) -> Literal["openat2", "components"]:
    chosen: Literal["openat2", "components"] = request.param
    return chosen


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret.txt").write_text("the secret")
    return place


@pytest.fixture
def root(tmp_path: Path, outside: Path, resolve: Literal["openat2", "components"]) -> Root:
    place = tmp_path / "root"
    (place / "sub").mkdir(parents=True)
    (place / "a.txt").write_text("a")
    (place / "sub" / "b.txt").write_text("b")
    (place / ".env").write_text("KEY=1")
    (place / "out").symlink_to(outside)
    (place / "secret.txt").symlink_to(outside / "secret.txt")
    (place / "up").symlink_to("..")
    (place / "proc").symlink_to("/proc/self/root")
    return Root(place, resolve=resolve)


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.txt",
        "sub/../../outside/secret.txt",
        "/etc/passwd",
        "//etc/passwd",
        "out/secret.txt",
        "secret.txt",
        "up/outside/secret.txt",
        "proc/etc/passwd",
        "sub/./.././../outside/secret.txt",
        ".env",
        "./.env",
        "a.txt\0.png",
        "missing.txt",
        "a.txt/b",
        "sub",
        "",
        "x" * 5000,
        "/".join(["y"] * 3000),
    ],
)
def test_no_path_leads_out_or_to_what_is_no_file(root: Root, path: str) -> None:
    with pytest.raises(ToolError) as caught:
        root.read(path, max_bytes=1000)
    assert "secret" not in str(caught.value).replace("secret.txt", "")
    with pytest.raises(ToolError):
        root.write(path if path != "missing.txt" else "a.txt/c", b"changed")
    assert (root.path.parent / "outside" / "secret.txt").read_text() == "the secret"
    assert sorted(path.name for path in root.path.parent.iterdir()) == ["outside", "root"]


def test_what_is_inside_is_read_by_relative_and_absolute_path(root: Root) -> None:
    for path in ("sub/b.txt", "./sub//b.txt", str(root.path / "sub" / "b.txt")):
        assert root.read(path, max_bytes=10) == b"b"


def test_a_link_that_stays_inside_is_followed_by_the_kernel_alone(
    root: Root, resolve: Literal["openat2", "components"]
) -> None:
    (root.path / "alias.txt").symlink_to("sub/b.txt")
    if resolve == "openat2":
        assert root.read("alias.txt", max_bytes=10) == b"b"
    else:
        with pytest.raises(ToolError, match="link"):
            root.read("alias.txt", max_bytes=10)
    with pytest.raises(ToolError, match="link"):
        root.write("alias.txt", b"changed")


def test_pipes_sockets_and_devices_are_refused_at_once(root: Root) -> None:
    os.mkfifo(root.path / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        here = Path.cwd()
        os.chdir(root.path)  # the path of a socket is short
        server.bind("socket")
        os.chdir(here)
        names = ["pipe", "socket"]
        with suppress(PermissionError):
            os.mknod(root.path / "device", 0o20666, os.makedev(1, 5))
            names.append("device")
        for name in names:
            with pytest.raises(ToolError):
                root.read(name, max_bytes=10)
            with pytest.raises(ToolError, match="not a file"):
                root.write(name, b"x")


def test_a_file_larger_than_allowed_is_refused_without_reading_all_of_it(root: Root) -> None:
    with (root.path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ToolError, match="larger than the 10 bytes"):
        root.read("large", max_bytes=10)


def test_writing_replaces_the_name_and_never_what_a_hard_link_shares(root: Root, outside: Path) -> None:
    os.link(outside / "secret.txt", root.path / "shared.txt")
    root.write("shared.txt", b"mine")
    assert (outside / "secret.txt").read_text() == "the secret"
    assert root.read("shared.txt", max_bytes=10) == b"mine"


def test_writing_makes_directories_keeps_the_mode_and_leaves_nothing_behind(root: Root) -> None:
    (root.path / "a.txt").chmod(0o751)
    root.write("a.txt", b"new")
    root.write("x/y/z.txt", b"new")
    assert (root.path / "a.txt").stat().st_mode & 0o777 == 0o751
    assert (root.path / "x" / "y" / "z.txt").read_text() == "new"
    assert list(root.path.rglob("*.tmp")) == []


def test_moving_replaces_nothing_and_trash_takes_what_is_deleted(root: Root) -> None:
    with pytest.raises(ToolError, match="already something"):
        root.move("a.txt", "sub/b.txt")
    root.move("a.txt", "new/a.txt")
    with pytest.raises(ModelRetry, match="hidden"):
        root.move("sub/b.txt", ".ssh/b.txt")
    with pytest.raises(ModelRetry, match="the folder itself"):
        root.trash(".", ".trash")
    trashed = root.trash("new", ".trash")
    assert (root.path / trashed / "a.txt").read_text() == "a"
    with pytest.raises(ToolError, match="there is no"):
        root.trash("new", ".trash")


def test_walking_leaves_out_links_and_what_is_hidden(root: Root) -> None:
    assert [entry.path for entry in root.walk()] == ["a.txt", "sub", "sub/b.txt"]
    assert [entry.path for entry in root.walk(depth=1)] == ["a.txt", "sub"]
    assert [entry.path for entry in root.walk("sub")] == ["sub/b.txt"]
    assert ".env" in [entry.path for entry in Root(root.path, hidden=True).walk()]
    with pytest.raises(ToolError):
        list(root.walk("out"))


def test_a_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the directory"):
        Root(tmp_path / "missing")


def test_descriptors_are_closed(root: Root) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with suppress(ToolError):
            root.read("out/secret.txt", max_bytes=10)
        root.read("a.txt", max_bytes=10)
        root.write("a.txt", b"x")
        assert list(root.walk())
    del root
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_swapping_a_directory_and_a_link_all_the_time_never_lets_anything_out(root: Root, outside: Path) -> None:
    inside, link = root.path / "d", root.path / "link"
    inside.mkdir()
    (inside / "secret.txt").write_text("inside")
    link.symlink_to(outside)
    doors: list[Callable[[], object]] = [
        *[lambda: root.read("d/secret.txt", max_bytes=100)] * 20,
        lambda: root.write("d/written.txt", b"escaped"),
        lambda: root.write("d/made/written.txt", b"escaped"),
        lambda: root.move("a.txt", "d/moved.txt"),
        lambda: root.move("d/moved.txt", "a.txt"),
        lambda: [entry.path for entry in root.walk("d")],
    ]
    arguments = [sys.executable, "-c", SWAPPER, str(inside), str(link), str(SWAPS)]
    done = refused = 0
    with subprocess.Popen(arguments) as swapper:
        while swapper.poll() is None:
            for door in doors:
                try:
                    seen = door()
                except ToolError:
                    refused += 1
                else:
                    done += 1
                    assert seen != b"the secret"
    assert swapper.returncode == 0
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]
    assert (outside / "secret.txt").read_text() == "the secret"
    assert done > 100, "the race is no race if the directory is never there"
    assert refused > 100, "nor if the link is never there"
