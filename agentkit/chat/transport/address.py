"""A server as a user names it: its address, and its key, from wherever it comes, as the header that carries it."""

from __future__ import annotations

import base64
import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast, runtime_checkable
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from agentkit.chat.transport.redaction import Redactor
from agentkit.errors import ConfigError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where servers listen; clients need one of the addresses
_LIKE_ADDRESS = re.compile(r"[\w.-]{1,100}(:\d{1,6})?(/[\w./-]{0,100})?")
_ENDPOINT = "/chat/completions"


@dataclass(frozen=True, slots=True)
class Address:
    """The address that requests are sent to.

    Attributes:
        base_url: What ``/chat/completions`` is appended to, without login and query.
        url: Where requests are posted, with the query that was given.
        login: The ``user:password`` that was in it, or an empty string.
    """

    base_url: str
    url: str
    login: str = ""


def parse_address(given: str) -> Address:
    """Read a base URL as people write it.

    It may end in ``/chat/completions``, whose trailing slash is kept, and it may have a query, which is sent with each
    request. ``0.0.0.0``, where servers listen, means this machine.

    Raises:
        ConfigError: It is not the address of a server.
    """
    written = given.strip()
    try:
        parts = urlsplit(written)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not re.search(r"\s", written)
    except ValueError:  # an invalid port or bracketed address
        usable, parts = False, urlsplit("")
    if not usable or parts.fragment:
        raise ConfigError(
            f"{without_secrets(written)!r} is not the address of a server; write for example http://127.0.0.1:8000/v1"
        )
    login, _, host = parts.netloc.rpartition("@")
    name = _ANY.get(parts.hostname or "")
    if name:
        host = f"{name}:{parts.port}" if parts.port else name
    path = parts.path.rstrip("/").removesuffix(_ENDPOINT)
    slash = "/" if parts.path.endswith(f"{_ENDPOINT}/") else ""
    base_url = f"{parts.scheme}://{host}{path}"
    query = f"?{parts.query}" if parts.query else ""
    return Address(base_url, f"{base_url}{_ENDPOINT}{slash}{query}", unquote(login))


def without_secrets(address: str) -> str:
    """The address as errors may show it: without login, query and fragment, and only if it looks like one at all."""
    shown = re.split(r"[?#]", address, maxsplit=1)[0].strip()
    scheme, separator, rest = shown.rpartition("://")
    place = rest.rpartition("@")[2]
    if separator or (_LIKE_ADDRESS.fullmatch(place) and re.search("[:/]", place)):
        return f"{scheme}{separator}{place}"
    return "***" if place else ""


@runtime_checkable
class Secret(Protocol):
    """A string that its repr does not show, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Return the string."""
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
            ConfigError: The function failed, took too long, or returned something that is not a key.
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
                return self._string(key, "the result of the function for the API key")
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
