"""Ready-made tools by their specs: ``name`` or ``name:argument``, as in ``--with files:notes``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import agentkit_tools

from agentkit.errors import AgentKitError, ConfigError
from agentkit.tools import Toolset

__all__ = ["open_toolset"]


@dataclass(frozen=True, slots=True)
class _Form:
    """The syntax of a toolset's spec.

    Attributes:
        toolset: The name in `agentkit_tools`.
        argument: The name of the argument; empty if there is none.
        example: An argument, for errors.
        is_needed: Whether the argument is required.
        several: Whether the toolset takes a list, separated by commas in the spec.
    """

    toolset: str
    argument: str = ""
    example: str = ""
    is_needed: bool = False
    several: bool = False


_FORMS: Mapping[str, _Form] = {
    "ask": _Form("Ask"),
    "calculator": _Form("Calculator"),
    "clock": _Form("Clock", "time zone", "Europe/Paris"),
    "files": _Form("Files", "folder", ".", is_needed=True),
    "http": _Form("Http", "host", "api.example.com", is_needed=True, several=True),
    "memory": _Form("Memory", "file", "memory.db", is_needed=True),
    "openapi": _Form("OpenApi", "document", "api.json", is_needed=True),
    "python": _Form("Python"),
    "random": _Form("Random", "seed", "7"),
    "search": _Form("Search", "folder", "handbook", is_needed=True),
    "shell": _Form("Shell", "folder", ".", is_needed=True),
    "skills": _Form("Skills", "folder", "skills", is_needed=True),
    "sql": _Form("Sql", "database", "shop.db", is_needed=True),
    "todo": _Form("Todo"),
}


def open_toolset(spec: str) -> Toolset:
    """Create the toolset of a spec, with the defaults of its class.

    Args:
        spec: ``name`` or ``name:argument``. A colon in the argument is part of it; ``http`` takes several hosts,
            separated by commas.

    Raises:
        ConfigError: There is no such toolset, its extra is not installed, or the argument is missing, unnecessary or
            invalid.
    """
    name, colon, argument = spec.partition(":")
    form = _FORMS.get(name)
    if form is None:
        near = difflib.get_close_matches(name, _FORMS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_FORMS)}"
        raise ConfigError(f"--with {spec!r}: there are no ready-made tools named {name!r}; {hint}")
    if colon and not form.argument:
        raise ConfigError(f"--with {spec!r}: {name} takes no argument: write --with {name}")
    parts = [part.strip() for part in (argument.split(",") if form.several else [argument])]
    if not all(parts) and (colon or form.is_needed):
        raise ConfigError(f"--with {spec!r}: the {form.argument} is missing: write --with {name}:{form.example}")
    arguments: list[Any] = [parts] if form.several else parts if colon else []
    try:
        toolset: Toolset = getattr(agentkit_tools, form.toolset)(*arguments)
    except ImportError as error:
        raise ConfigError(f"--with {spec!r}: {error.name or error} is missing: install agentkit[tools]") from error
    except AgentKitError as error:
        raise ConfigError(f"--with {spec!r}: {error}") from error
    return toolset
