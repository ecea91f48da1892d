"""Who may send requests: the token, and the ``Host`` and ``Origin`` of a request."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from agentkit.errors import ConfigError
from agentkit.serve.errors import ApiError

__all__ = ["TOKEN_VARIABLE", "Guard", "is_loopback"]

TOKEN_VARIABLE = "AGENTKIT_TOKEN"  # noqa: S105 - its name
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHORTEST = 8  # characters of a token


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach a server that listens there."""
    return host in _LOOPBACK or host.startswith("127.")


class Guard:
    """Checks requests.

    Args:
        token: The token, or several. Empty for that of ``AGENTKIT_TOKEN``; None admits everyone.
        hosts: The names under which the server is reached, in addition to those of this machine; ``"*"`` for any.
        origins: The origins whose pages may call the server, such as ``https://chat.example.com``, besides its own.

    Raises:
        ConfigError: There is no token, or an argument is invalid.
    """

    def __init__(self, token: str | Sequence[str] | None, hosts: Sequence[str], origins: Sequence[str]) -> None:
        for name, given in (("hosts", hosts), ("origins", origins)):
            if isinstance(given, str):
                raise ConfigError(f"{name}= takes a list of strings, not {given!r:.80}")
        if "*" in origins:
            raise ConfigError("origins= names each origin whose pages may call the server; there is no wildcard")
        tokens = (
            [] if token is None else [token or os.environ.get(TOKEN_VARIABLE, "")] if isinstance(token, str) else token
        )
        if token is not None and not (tokens and all(tokens)):
            raise ConfigError(
                f"a server needs a token that its clients send: give token=..., or set {TOKEN_VARIABLE}; "
                "token=None admits anyone who can reach it"
            )
        if any(len(each) < _SHORTEST for each in tokens):
            raise ConfigError(
                f"a token must have at least {_SHORTEST} characters; `openssl rand -hex 24` makes a good one"
            )
        self._tokens = [_digest(each) for each in tokens]
        self._hosts = frozenset({*_LOOPBACK, *(each.lower() for each in hosts)})
        self._origins = frozenset(each.rstrip("/").lower() for each in origins)

    @property
    def is_open(self) -> bool:
        """Whether requests need no token."""
        return not self._tokens

    def check_place(self, headers: Mapping[str, str]) -> str:
        """Check the ``Host`` and ``Origin`` of a request, so that pages of other sites cannot use the server.

        Returns:
            The origin, if it is another site whose pages may read the answer; empty otherwise.

        Raises:
            ApiError: One of them is not allowed.
        """
        host = headers.get("host", "").lower()
        if "*" not in self._hosts and (urlsplit(f"//{host}").hostname or "") not in self._hosts:
            raise ApiError(403, f"This server does not accept the host {host!r:.80}.", code="host_not_allowed")
        origin = headers.get("origin", "").lower()
        if origin in self._origins:
            return origin
        if origin and urlsplit(origin).netloc != host:
            raise ApiError(403, f"Pages of {origin!r:.80} may not call this server.", code="origin_not_allowed")
        return ""

    def owner(self, headers: Mapping[str, str]) -> str:
        """Check the token of a request, in constant time.

        Returns:
            An identifier for the token; empty if none is needed.

        Raises:
            ApiError: The token is missing or wrong.
        """
        if not self._tokens:
            return ""
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not given:
            raise _unauthorized("You didn't provide a token: send it as 'Authorization: Bearer TOKEN'.")
        digest = _digest(given.strip())
        if not any([hmac.compare_digest(digest, each) for each in self._tokens]):  # noqa: C419 - all of them are compared
            raise _unauthorized("Incorrect token provided.")
        return digest[:16]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
