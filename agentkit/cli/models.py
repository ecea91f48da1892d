"""Where models can be: the table of endpoints, what other packages register, and the embedded model."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Any
from urllib.parse import urlsplit

from agentkit.chat.providers import PROVIDERS, Provider
from agentkit.cli.terminal_text import one_line
from agentkit.local import find_weights

__all__ = ["ModelList", "list_models"]


@dataclass(frozen=True, slots=True)
class Row:
    """An endpoint as it is listed. Whether its key is set is said; the key never is."""

    name: str
    base_url: str
    key_variable: str
    key_required: bool
    key_set: bool

    @property
    def key(self) -> str:
        """What there is to say about the key."""
        if not self.key_variable:
            return "no key needed"
        optional = "" if self.key_required or self.key_set else ", not needed"
        return f"{self.key_variable} {'is set' if self.key_set else 'not set'}{optional}"


@dataclass(frozen=True, slots=True)
class ModelList:
    """What ``agentkit models`` prints.

    Attributes:
        endpoints: The known servers.
        registered: Names under the entry point group ``agentkit.models``, each with what it opens.
        llama_cpp: Whether the extra ``agentkit[local]`` is installed.
        weights: The file with the embedded model's weights, if it is installed.
    """

    endpoints: tuple[Row, ...]
    registered: Mapping[str, str]
    llama_cpp: bool
    weights: str | None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def to_text(self) -> str:
        """For people."""
        rows = [(f"{row.name}:MODEL", row.base_url, row.key) for row in self.endpoints]
        rows += [
            (name, self._embedded() if name == "local" else target, "") for name, target in self.registered.items()
        ]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(
            f"{name:<{widths[0]}}  {where:<{widths[1]}}  {key}".rstrip()
            for name, where, key in (tuple(map(one_line, row)) for row in rows)
        )

    def _embedded(self) -> str:
        if not self.llama_cpp:
            return "embedded model: not installed, needs the extra agentkit[local]"
        return "embedded model: " + ("installed" if self.weights else "no weights yet, run `agentkit models pull`")


def list_models(environment: Mapping[str, str] = os.environ) -> ModelList:
    """Look at the table, the environment and what is installed."""
    weights = find_weights()
    return ModelList(
        endpoints=tuple(_row(endpoint.from_environment(environment), environment) for endpoint in PROVIDERS.values()),
        registered={entry.name: entry.value for entry in entry_points(group="agentkit.models")},
        llama_cpp=importlib.util.find_spec("xllamacpp") is not None,
        weights=str(weights) if weights else None,
    )


def _row(endpoint: Provider, environment: Mapping[str, str]) -> Row:
    return Row(
        name=endpoint.name,
        base_url=_without_secrets(endpoint.base_url),
        key_variable=endpoint.key_variable,
        key_required=endpoint.key_required,
        key_set=bool(endpoint.key_variable and environment.get(endpoint.key_variable, "").strip()),
    )


def _without_secrets(url: str) -> str:
    """The URL without user, password, query and fragment, which can hold keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
