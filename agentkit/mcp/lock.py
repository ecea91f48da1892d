"""The lock file: the tools of servers as a person approved them, so that changes show before a model reads them."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agentkit.chat import write_atomically
from agentkit.errors import ConfigError
from agentkit.mcp.hidden import find_hidden, show_hidden
from agentkit.mcp.tools import Listed

__all__ = ["Change", "LockFile", "hidden_in"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """A tool that differs from its approved version.

    Attributes:
        name: The server's name for it.
        approved: The tool as it was approved; None if it is new.
        difference: The lines that differ, hidden characters escaped.
    """

    name: str
    approved: Listed | None
    difference: str

    def __str__(self) -> str:
        what = "is new" if self.approved is None else "has changed since it was approved"
        return f"the tool {self.name!r} {what}:\n{self.difference}"


class LockFile:
    """The approved tools of each server, by the name of the server.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def changes(self, server: str, listed: Iterable[Listed]) -> list[Change]:
        """Return the tools that are new or have changed since they were approved.

        Raises:
            ConfigError: The file cannot be read.
        """
        approved = self._read().get(server, {})
        return [change for each in listed if (change := _compared(each, approved.get(each.name))) is not None]

    def missing(self, server: str, listed: Iterable[Listed]) -> list[str]:
        """Return the approved tools that the server no longer lists.

        Raises:
            ConfigError: The file cannot be read.
        """
        return sorted(self._read().get(server, {}).keys() - {each.name for each in listed})

    def approve(self, server: str, listed: Iterable[Listed]) -> None:
        """Approve these tools of a server, and no others.

        Raises:
            ConfigError: One has hidden characters, or the file cannot be read or written.
        """
        tools: dict[str, Any] = {}
        for each in listed:
            if where := hidden_in(each):
                raise ConfigError(f"the tool {show_hidden(each.name)!r} of {server} is not approved: {where}")
            tools[each.name] = {"sha256": _hash(each), "description": each.description, "schema": each.schema}
        servers = {**self._read(), server: tools}
        text = json.dumps({"version": _VERSION, "servers": servers}, indent=2, sort_keys=True, ensure_ascii=True)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, f"{text}\n", mode=0o644)
        except OSError as error:
            raise ConfigError(f"the lock file {str(self.path)!r} cannot be written: {error.strerror}") from None

    def knows(self, server: str) -> bool:
        """Whether tools of the server were approved.

        Raises:
            ConfigError: The file cannot be read.
        """
        return server in self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            raw: Any = json.loads(self.path.read_text(encoding="utf-8"))
            if raw["version"] != _VERSION or not all(isinstance(each, dict) for each in raw["servers"].values()):
                raise ValueError("it is of another version")
            return cast("dict[str, dict[str, Any]]", raw["servers"])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"the lock file {str(self.path)!r} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{str(self.path)!r} is not a lock file of this version: {error}") from None


def _hash(tool: Listed) -> str:
    read = [tool.name, tool.description, tool.schema]
    return hashlib.sha256(json.dumps(read, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _compared(tool: Listed, approved: Any) -> Change | None:
    if not isinstance(approved, dict):
        return Change(tool.name, None, "\n".join(f"+ {line}" for line in _lines(tool.description, tool.schema)))
    known = cast("Mapping[str, Any]", approved)
    before = Listed(tool.name, str(known.get("description", "")), known.get("schema") or {})
    if known.get("sha256") == _hash(tool) == _hash(before):
        return None
    lines = difflib.ndiff(_lines(before.description, before.schema), _lines(tool.description, tool.schema))
    return Change(tool.name, before, "\n".join(each for each in lines if each[:1] in "+-"))


def _lines(description: str, schema: Mapping[str, Any]) -> list[str]:
    text = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False)
    return [show_hidden(line) for line in [*description.splitlines(), *text.splitlines()]]


def hidden_in(tool: Listed) -> str:
    """Describe where a tool has hidden characters, showing them; empty if it has none."""
    for what, text in _texts(tool):
        if places := find_hidden(text):
            shown = show_hidden(text[max(0, places[0] - 20) : places[0] + 20])
            return f"{what} has invisible characters: {shown!r}".replace("\\\\", "\\")
    return ""


def _texts(tool: Listed) -> Iterator[tuple[str, str]]:
    yield "its name", tool.name
    yield "its description", tool.description
    pending: list[Any] = [tool.schema]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield "its schema", value
        elif isinstance(value, Mapping):
            pending += [*cast("Mapping[str, Any]", value).keys(), *cast("Mapping[str, Any]", value).values()]
        elif isinstance(value, list):
            pending += cast("list[object]", value)
