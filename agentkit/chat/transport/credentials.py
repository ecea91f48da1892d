"""The key of a server, from any source, as the header that carries it."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, cast, runtime_checkable

import anyio
import anyio.to_thread

from agentkit.chat.transport.redaction import Redactor
from agentkit.errors import ConfigError


@runtime_checkable
class Secret(Protocol):
    """A string that does not show itself, as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Give the string."""
        ...


_Key: TypeAlias = str | Secret
ApiKey: TypeAlias = _Key | Callable[[], _Key | Awaitable[_Key]] | None
"""A key, or a function that returns it."""


class Credentials:
    """A key or a login, and the header that it is sent in.

    Args:
        key: The key, or a function that is called before each request.
        login: ``user:password``, sent if there is no key.
        header: The header for the key; by default it is sent as a bearer token.
        server: Names the server in errors.

    Raises:
        ConfigError: The key is invalid, or there is both a key and a login.
    """

    def __init__(self, key: ApiKey, login: str, *, header: str, server: str) -> None:
        self._key = key
        self._login = login
        self._header = header.lower()
        self._server = server
        if key is not None and not callable(key):
            self._line(self._string(key, "the API key"))  # raises

    async def headers(self, redactor: Redactor, *, seconds: float) -> dict[str, str]:
        """Get the key and put it into its header; no header without a key and a login.

        Args:
            redactor: Learns the key.
            seconds: How long a function may take.

        Raises:
            ConfigError: The function failed, took too long, or gave something that is not a key.
        """
        key = await self._asked(seconds) if callable(self._key) else self._string(self._key or "", "the API key")
        redactor.add(key.strip())
        redactor.add_login(self._login)
        return self._line(key)

    async def _asked(self, seconds: float) -> str:
        ask = cast("Callable[[], object]", self._key)
        blocks = not inspect.iscoroutinefunction(ask) and not inspect.iscoroutinefunction(getattr(ask, "__call__", ask))  # noqa: B004 - its type is asked for
        try:
            with anyio.fail_after(seconds):
                # In a list, as trio's threads must not return an awaitable.
                (key,) = await anyio.to_thread.run_sync(lambda: [ask()], abandon_on_cancel=True) if blocks else [ask()]
                if inspect.isawaitable(key):
                    key = await key
                return self._string(key, "the function for the API key gave something that")
        except ConfigError:
            raise
        except Exception as error:  # whatever it is, the caller gets one sentence and this as its cause
            raise ConfigError(
                f"{self._server}: the function for the API key raised {type(error).__name__}; it must return a string"
            ) from error

    def _string(self, key: object, what: str) -> str:
        if isinstance(key, str):
            return key
        if isinstance(key, Secret):
            return self._string(cast("object", key.get_secret_value()), what)
        raise ConfigError(f"{self._server}: {what} is {type(key).__name__}, not a string; use an empty one for no key")

    def _line(self, given: str) -> dict[str, str]:
        key = given.strip()
        if not (key.isascii() and key.isprintable()):
            raise ConfigError("the API key holds a line break or a character that no key has; copy it again")
        if key and self._login:
            raise ConfigError(
                f"{self._server}: there is an API key, and the address has a user and a password too; give only one"
            )
        if key:
            return {self._header: key} if self._header else {"authorization": f"Bearer {key}"}
        return {"authorization": f"Basic {base64.b64encode(self._login.encode()).decode()}"} if self._login else {}
