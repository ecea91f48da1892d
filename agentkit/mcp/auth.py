"""`OAuth`: log in to a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["OAuth"]


def _default_store() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "agentkit" / "mcp-tokens.json"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agentkit" / "mcp-tokens.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """OAuth 2.1: a person grants access once, in a browser; from then on, the stored token is used and renewed.

    The server says where to log in, how to register and what to ask for. Nothing happens before it refuses a request.

    Attributes:
        store: The file of tokens, which only its owner may read (mode 600); by default ``mcp-tokens.json`` in the
            user's configuration directory.
        scopes: What to ask for; by default what the server names.
        client_id: The id of a registered client; by default one is registered.
        client_secret: Its secret, if it has one.
        client_metadata_url: The address of a document that describes the client, for servers that accept it as an id.
        port: The port on this machine that the browser is redirected to.
        authorize: Takes the address at which a person grants access, and returns the address that they were redirected
            to. By default the address is opened in a browser and logged.
        timeout: Seconds that the person has for it.
    """

    store: Path = field(default_factory=_default_store)
    scopes: Sequence[str] = ()
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_metadata_url: str = ""
    port: int = 33418
    authorize: Callable[[str], Awaitable[str]] | None = field(default=None, repr=False)
    timeout: float = 300
