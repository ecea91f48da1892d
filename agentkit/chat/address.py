"""Where a server is, and the header that says who asks. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from agentkit.errors import ConfigError

__all__ = ["authorization", "read_address", "secrets_in", "without_login"]

_SECRET = re.compile(r"auth|(?<!idempotency-)key|token|secret|password|credential|cookie|session", re.I)


def read_address(base_url: str) -> tuple[str, str]:
    """The address as requests are sent to it, and the ``user:password`` that stood in it, or an empty text.

    Raises:
        ConfigError: It is not the address of a server.
    """
    base_url = base_url.strip()
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port or an address in brackets that is none
        usable, parts = False, urlsplit("")
    if not usable or parts.query or parts.fragment:
        raise ConfigError(
            f"{without_login(base_url)!r} is not the address of a server; write for example http://127.0.0.1:8000/v1, "
            "with nothing behind it: what each request is to carry besides goes into headers="
        )
    login, at, host = parts.netloc.rpartition("@")
    plain = parts._replace(netloc=host).geturl() if at else base_url
    return plain.rstrip("/").removesuffix("/chat/completions"), unquote(login)


def without_login(address: str) -> str:
    """What somebody wrote as an address, as an error may show it, whether it is one or not."""
    return re.sub(r"^(https?://)?.*@", r"\1***@", address, flags=re.DOTALL)


def authorization(key: str, login: str, *, server: str) -> str:
    """The header ``authorization``: the key as a bearer token, or the login of the address; else an empty text.

    Raises:
        ConfigError: There are both, or the key is none.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the API key holds a line break or a character that no key has; copy it again")
    if key and login:
        raise ConfigError(
            f"{server}: there is an API key, and the address has a user and a password too; give only one of them"
        )
    if key:
        return f"Bearer {key}"
    return f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""


def secrets_in(headers: Mapping[str, str]) -> list[str]:
    """What no error may show: the values of headers that are secret by their name, and the words in them."""
    values = [value for name, value in headers.items() if _SECRET.search(name)]
    words = [word for value in values for word in re.split(r"[\s;,=]+", value)]
    return sorted({*values, *words}, key=len, reverse=True)
