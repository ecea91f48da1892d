"""Run a server in bubblewrap: it can read the system and write where it may, but cannot see home directories."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from agentkit_tools.sandbox import find_bubblewrap

from agentkit.errors import ConfigError

__all__ = ["in_sandbox"]

_HIDDEN = ("/home", "/root", "/run", "/var/run", "/tmp", "/var/tmp", "/mnt", "/media")  # noqa: S108 - they are hidden


def in_sandbox(
    arguments: Sequence[str], *, environment: Mapping[str, str], writable: Iterable[Path], network: bool
) -> tuple[str, ...]:
    """Return the command line that runs a server in the sandbox.

    It can read the system, but not home directories, ``/tmp`` or ``/run``, except for the location of its program and
    the files named in its arguments.

    Args:
        arguments: The program and its arguments.
        environment: Its environment; the program is found in its ``PATH``.
        writable: The directories that it may change.
        network: Whether it has network access.

    Raises:
        ConfigError: There is no bubblewrap, or the system does not let it create a sandbox.
    """
    try:
        bubblewrap = find_bubblewrap()
    except ConfigError as error:
        raise ConfigError(
            str(error).replace("Shell:", "MCPToolset(sandbox=True):").partition("; or write")[0]
        ) from None
    made = [bubblewrap, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    made += [] if network else ["--unshare-net"]
    made += ["--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for path in (Path(each) for each in _HIDDEN):
        if path.is_dir() and not path.is_symlink():
            made += ["--tmpfs", str(path)]
    for path in dict.fromkeys(_needed(arguments, environment)):
        made += ["--ro-bind-try", str(path), str(path)]
    for path in writable:
        made += ["--bind", str(path.resolve()), str(path.resolve())]
    return (*made, "--", *arguments)


def _needed(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Return the installation of the program (a Python environment, a version of Node) and the named files."""
    found = shutil.which(arguments[0], path=environment.get("PATH"))
    program = Path(found) if found else None
    while program is not None:  # through the links, as the environment of a program is often one
        if program.parent.name == "bin" and not _is_of_system(program.parent.parent):
            yield program.parent.parent
        else:
            yield program
        program = program.parent / program.readlink() if program.is_symlink() else None
    for each in arguments[1:]:
        path = Path(each)
        if path.is_absolute() and path.exists() and path.parent != path:
            yield path


def _is_of_system(path: Path) -> bool:
    return str(path) in ("/", "/usr", "/usr/local") or path in Path.home().parents or path == Path.home()
