"""``mcp.json``: servers as other programs configure them, in their formats."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agentkit.errors import ConfigError

__all__ = ["Entry", "read_config"]

_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_LISTS = ("mcpServers", "servers")  # the name of the list of servers: in most programs, and in VS Code


@dataclass(frozen=True, slots=True)
class Entry:
    """A server of a file.

    Attributes:
        name: Its name in the file.
        server: The command with its arguments, or the URL.
        options: Those of ``env``, ``cwd`` and ``headers`` that are present.
    """

    name: str
    server: list[str] | str
    options: Mapping[str, Any]


def read_config(path: str | Path) -> list[Entry]:
    """Return the servers of a file, except disabled ones. ``${VAR}`` and ``${VAR:-default}`` are filled in.

    Raises:
        ConfigError: The file cannot be read, or is malformed.
    """
    where = str(path)
    try:
        raw: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {error}") from None
    members: Mapping[str, Any] = cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else {}
    name = next((each for each in _LISTS if isinstance(members.get(each), dict)), None)
    if name is None:
        raise ConfigError(f'{where} lists no servers: write {{"mcpServers": {{"NAME": {{"command": ...}}}}}}')
    return list(_entries(where, cast("Mapping[str, Any]", members[name])))


def _entries(where: str, servers: Mapping[str, Any]) -> Iterator[Entry]:
    for name, raw in servers.items():
        place = f"{where}: the server {name!r}"
        if not isinstance(raw, dict):
            raise ConfigError(f"{place} is not an object")
        given = cast("Mapping[str, Any]", raw)
        if given.get("disabled") is True or given.get("enabled") is False:
            continue
        entry = {member: _filled(place, value) for member, value in given.items()}
        command, url = entry.get("command"), entry.get("url") or entry.get("serverUrl") or entry.get("httpUrl")
        if isinstance(command, str):
            arguments: object = entry.get("args") or []
            if not isinstance(arguments, list):
                raise ConfigError(f"{place}: its args are not a list")
            yield Entry(
                name, [command, *map(str, cast("list[object]", arguments))], _options(place, entry, "env", "cwd")
            )
        elif isinstance(url, str):
            yield Entry(name, url, _options(place, entry, "headers"))
        else:
            raise ConfigError(f"{place} has neither a command nor a url")


def _options(place: str, entry: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    made: dict[str, Any] = {}
    for name in names:
        value = entry.get(name)
        if value in (None, "", {}):
            continue
        if not isinstance(value, str if name == "cwd" else dict):
            raise ConfigError(f"{place}: its {name} is not {'a string' if name == 'cwd' else 'an object'}")
        made[name] = value if name == "cwd" else {key: str(each) for key, each in cast("dict[str, Any]", value).items()}
    return made


def _filled(place: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_filled(place, each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: _filled(place, each) for name, each in cast("dict[str, Any]", value).items()}
    if not isinstance(value, str):
        return value

    def variable(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if name not in os.environ and default is None:
            raise ConfigError(f"{place} needs the environment variable {name}, which is not set")
        return os.environ.get(name) or default or ""

    return _VARIABLE.sub(variable, value)
