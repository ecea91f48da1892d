"""The address of a server, as people write it and as it may be shown. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

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

    It may end in ``/chat/completions``, where a slash behind it stays, and it may have a query, which goes along with
    each request. ``0.0.0.0``, at which servers listen, is this machine.

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
