"""Seals of stored data: checksums that detect damage or, with a key, signatures that nobody can forge without it.

The seal of a message covers the seal of the one before it, so adding a message to a long conversation costs no more
than the message itself. The seal of a session covers its name, its revision, the rest of its state, its last message
and its artifacts. So nothing can be changed, removed, reordered or taken from another session unnoticed.
"""

from __future__ import annotations

import hashlib
import hmac

from agentkit.errors import ConfigError

__all__ = ["Sealer"]


class Sealer:
    """Makes seals: HMAC-SHA-256 with a key, SHA-256 without one.

    Args:
        key: The secret.

    Attributes:
        prefix: The beginning of a session's seal, which tells the two kinds apart.

    Raises:
        ConfigError: The key is not bytes, or empty.
    """

    def __init__(self, key: bytes | None) -> None:
        if key is not None and (not isinstance(key, bytes) or not key):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError("the key that signs sessions must be bytes, and not empty: anybody could sign with that")
        self._digest = hashlib.sha256() if key is None else hmac.new(key, digestmod=hashlib.sha256)
        self.prefix = "sha256:" if key is None else "hmac-sha256:"

    def seal(self, *parts: object) -> str:
        """Return the seal of the parts, as strings."""
        digest = self._digest.copy()
        for part in parts:
            data = str(part).encode(errors="surrogatepass")
            digest.update(b"%d:" % len(data))  # its length, so that no other parts have the same seal
            digest.update(data)
        return digest.hexdigest()
