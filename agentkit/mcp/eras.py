"""Which servers only know the handshake of the revisions before 2026, where finding that out has cost something.

A server that ignores the first question of 2026 costs ten seconds, and one that ends at it another start. So this is
remembered, in a file too, for a week: by then the server may have been updated.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any, cast

from agentkit.chat import write_atomically

_NAME, _VERSION = "mcp-eras.json", 1
_KEPT = 7 * 24 * 3600.0  # seconds
_MOST = 1000  # servers

log = logging.getLogger("agentkit.mcp")


def is_known_as_legacy(server: str) -> bool:
    """Return True if the server is to be greeted as one of before 2026; its file is read.

    Args:
        server: What identifies it, a command for example; only a hash of it is stored.
    """
    return _hash(server) in _known()


def remember(server: str, *, is_legacy: bool) -> None:
    """Store whether a server is one of before 2026. The file is a cache: if it cannot be written, nothing is lost."""
    known = _known()
    if is_legacy:
        known = {_hash(server): time.time(), **known}
    elif known.pop(_hash(server), None) is None:
        return
    text = json.dumps({"version": _VERSION, "legacy": dict([*known.items()][:_MOST])}, indent=1)
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(), f"{text}\n")
    except OSError as error:
        log.debug("the revisions of MCP servers are not stored: %s", error)


def _known() -> dict[str, float]:
    """When each of the servers was found to be one of before 2026."""
    try:
        stored: Any = json.loads(_file().read_text(encoding="utf-8"))
        found = cast("dict[str, Any]", stored["legacy"] if stored["version"] == _VERSION else {})
        now = time.time()
        return {name: at for name, at in found.items() if isinstance(at, int | float) and 0 <= now - at < _KEPT}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _file() -> Path:
    from agentkit.local import cache_directory  # noqa: PLC0415 - it brings the code of the embedded model

    return cache_directory() / _NAME


def _hash(server: str) -> str:
    return hashlib.sha256(server.encode("utf-8", "surrogatepass")).hexdigest()
