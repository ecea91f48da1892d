"""What a server is: a command, a URL, or an object in this process."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from urllib.parse import urlsplit

from agentkit.errors import DefinitionError

__all__ = ["Command", "InProcess", "Target", "Url", "read_target"]

# What a program needs to run at all. Anything else may be a secret that the server must not see.
_INHERITED = (
    *("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    *("APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATHEXT", "PROCESSOR_ARCHITECTURE"),
    *("PROGRAMDATA", "PROGRAMFILES", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE", "WINDIR"),
)


_SECRET = re.compile(r"--?[\w-]*(?:key|token|secret|password)[\w-]*[=\0]([^\0]+)", re.IGNORECASE)
_SHORTEST = 6  # characters of a secret; a shorter value may be a word that an error needs


@dataclass(frozen=True, slots=True)
class Command:
    """A server that is started as a process, and used over its standard input and output.

    Attributes:
        arguments: The program and its arguments.
        env: Variables that it gets in addition to the few that every program needs.
        cwd: Where it starts; None for the current directory.
        sandbox: Whether it runs in bubblewrap: True for no network access, ``"network"`` with it.
    """

    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cwd: Path | None = None
    sandbox: bool | Literal["network"] = False

    @property
    def key(self) -> str:
        """What identifies the server between two starts."""
        return shlex.join(self.arguments)

    @property
    def name(self) -> str:
        """A name for people: the last word of the command that is not an option or its value, without its directory."""
        program = Path(self.arguments[0]).name
        if program in (
            "uvx",
            "npx",
            "python",
            "python3",
            "node",
            "uv",
            "bunx",
            "pipx",
            "deno",
            "bun",
            Path(sys.executable).name,
        ):
            words = [
                each for each in self.arguments[1:] if not each.startswith("-") and each not in ("run", "tool", "exec")
            ]
            return Path(words[0].rstrip("/")).name if words else program
        return program

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of its process."""
        return {name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(self.env)

    def command_line(self, writable: Sequence[Path]) -> tuple[str, ...]:
        """Return the program to start, with its arguments.

        Args:
            writable: Directories that it may change, in addition to its working directory.

        Raises:
            ConfigError: The sandbox is not available.
        """
        if not self.sandbox:
            return self.arguments
        from agentkit.mcp.sandbox import in_sandbox  # noqa: PLC0415 - the ready-made tools need not be there otherwise

        folders = [*writable, *([self.cwd] if self.cwd else [])]
        network = self.sandbox == "network"
        return in_sandbox(self.arguments, environment=self.environment, writable=folders, network=network)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What errors must not show: the values of its variables, and of options that are named like a key."""
        options = [found[1] for found in _SECRET.finditer("\0".join(self.arguments))]
        return tuple(each for each in (*self.env.values(), *options) if len(each) >= _SHORTEST)

    def __str__(self) -> str:
        return f"`{self.key[:200]}`"


@dataclass(frozen=True, slots=True)
class Url:
    """A server that is reached over HTTP."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def key(self) -> str:
        """What identifies the server, without secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def name(self) -> str:
        """A name for people: the host."""
        return urlsplit(self.url).hostname or self.key

    @property
    def secrets(self) -> tuple[str, ...]:
        """What errors must not show: the values of its headers, whole and without the word before them."""
        values = [part for value in self.headers.values() for part in (value, value.rpartition(" ")[2])]
        return tuple(each for each in values if len(each) >= _SHORTEST)

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True, slots=True)
class InProcess:
    """A server object of the SDK."""

    server: Any
    secrets: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What identifies the server."""
        return f"object:{self.name}"

    @property
    def name(self) -> str:
        """Its own name."""
        return str(getattr(self.server, "name", "") or type(self.server).__name__)

    def __str__(self) -> str:
        return f"{self.name!r}"


Target: TypeAlias = Command | Url | InProcess


def read_target(
    server: str | Sequence[str] | object,
    *,
    env: Mapping[str, str] | None,
    cwd: str | Path | None,
    headers: Mapping[str, str] | None,
    sandbox: bool | Literal["network"],
) -> Target:
    """Return the kind of server that this is.

    Raises:
        DefinitionError: It is not a server, or an option does not apply to its kind.
    """
    if isinstance(server, str) and server.strip().startswith(("http://", "https://")):
        target: Target = Url(server.strip(), dict(headers or {}))
        _refuse("a URL", env=env, cwd=cwd, sandbox=sandbox or None)
        if not urlsplit(target.key).hostname:
            raise DefinitionError(f"MCPToolset: {server!r} names no host")
        return target
    if isinstance(server, str | list | tuple):
        _refuse("a command", headers=headers)
        return Command(
            _words(cast("str | Sequence[Any]", server)), dict(env or {}), None if cwd is None else Path(cwd), sandbox
        )
    if hasattr(server, "create_initialization_options") or hasattr(server, "list_tools"):
        _refuse("a server in this process", env=env, cwd=cwd, headers=headers, sandbox=sandbox or None)
        return InProcess(server)
    raise DefinitionError(
        f"MCPToolset takes a command (a string or a list), a URL or a server object of the mcp SDK, "
        f"not {type(server).__name__}"
    )


def _words(command: str | Sequence[Any]) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command, posix=os.name == "posix")) if isinstance(command, str) else tuple(command)
    except ValueError as error:
        raise DefinitionError(f"MCPToolset: the command {command!r} cannot be split into words: {error}") from None
    if not words or not all(isinstance(each, str) for each in words) or "\0" in "".join(words):
        raise DefinitionError("MCPToolset: a command is a program and its arguments, all of them strings")
    return words


def _refuse(kind: str, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise DefinitionError(f"MCPToolset: {given[0]}= does not apply to {kind}")
