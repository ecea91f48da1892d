"""Keys and passwords, kept out of errors in every form that a server or a library may repeat them in. Pure."""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from agentkit.errors import AgentKitError

MASK = "***"
_PIECE = 8  # bytes: a shorter secret is a placeholder, and a shorter part of one an ordinary word
_END = 4  # bytes: the shortest part that counts at the end of a truncated string
_EXAMINED = 16 * 1024  # bytes of a string that are looked at in every form; a longer one is model output, not an error

_PUBLIC_HEADERS = re.compile(
    r"accept(-.*)?|anthropic-(version|beta)|connection|content-(length|type|encoding)|date|dnt|expect|host"
    r"|http-referer|idempotency-key|openai-(beta|organization|project)|origin|pragma|cache-control|referer"
    r"|sentry-trace|baggage|te|trace(parent|state)|transfer-encoding|upgrade|user-agent|x-request-id|x-title",
    re.I,
)
_PUBLIC_PARAMETERS = re.compile(r"(api[-_])?version|model|deployment(-?id)?|region|beta|stream", re.I)
_SCHEME = re.compile(r"^(?:bearer|basic|token|digest|apikey)\s+", re.I)
_ESCAPE = re.compile(
    rb"\\+u(?P<u>[0-9a-fA-F]{4})|\\+x(?P<x>[0-9a-fA-F]{2})|%(?:25)*(?P<p>[0-9a-fA-F]{2})"
    rb"|&#x(?P<h>[0-9a-fA-F]{1,6});|&#(?P<d>\d{1,7});|&(?P<e>amp|lt|gt|quot|apos);|(?P<plus>\+)|\\+"
)
_ALIKE = {b"+": b" ", b"\\": b""}  # ambiguous: each is either itself or an escape
_ENTITIES = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}


class Redactor:
    """Replaces secrets in errors by ``***``.

    A secret is found as it is, escaped as in JSON, URLs, HTML or ``repr``, in upper or lower case, and in part: any
    8 bytes of it in a row, or 4 where a string ends in its beginning. Secrets shorter than 8 bytes are placeholders
    (``"none"``, ``"test"``) and are not looked for.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._headers: list[Mapping[str, str]] = []  # read when there is an error: it takes time
        self._urls: list[str] = []
        self._known = 0  # how many secrets the two below were made of: only an error needs them
        self._plain: set[bytes] = set()
        self._pieces: set[bytes] = set()

    def add(self, *secrets: str) -> None:
        """Remember secrets."""
        for secret in secrets:
            if len(secret) >= _PIECE:
                self._secrets.add(secret)

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Remember the values of headers, except those that are known to be no secret; names may have any case."""
        self._headers.append(headers)

    def add_login(self, login: str) -> None:
        """Remember ``user:password`` and the password alone."""
        if login:
            self.add(login, login.partition(":")[2])

    def add_url(self, url: str) -> None:
        """Remember the login of a URL and the values in its query."""
        self._urls.append(url)

    def _read(self) -> None:
        for name, value in itertools.chain.from_iterable(headers.items() for headers in self._headers):
            if isinstance(value, str) and not _PUBLIC_HEADERS.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance] - from the caller
                bare = _SCHEME.sub("", value)
                self.add(bare)
                if bare != value:  # Basic holds a user and a password
                    with contextlib.suppress(binascii.Error, ValueError):
                        self.add_login(base64.b64decode(bare, validate=True).decode())
        for url in self._urls:
            parts = urlsplit(url)
            self.add_login(unquote(parts.netloc.rpartition("@")[0]))
            for name, value in parse_qsl(parts.query, keep_blank_values=True):
                if not _PUBLIC_PARAMETERS.fullmatch(name):
                    self.add(value)
        self._headers, self._urls = [], []

    def __call__(self, text: str) -> str:
        """Redact a string."""
        self._read()
        if not self._secrets:
            return text
        if len(text) > _EXAMINED:
            for secret in self._secrets:
                text = text.replace(secret, MASK)
            return text
        if self._known < len(self._secrets):
            self._plain = {_unescaped(secret.encode("utf-8", "surrogatepass"))[0] for secret in self._secrets}
            self._pieces = {plain[at : at + _PIECE] for plain in self._plain for at in range(len(plain) - _PIECE + 1)}
            self._known = len(self._secrets)
        raw = text.encode("utf-8", "surrogatepass")
        plain, starts = _unescaped(raw)
        parts: list[bytes] = []
        done = 0
        for first, last in self._found(plain):
            parts += [raw[done : starts[first]], MASK.encode()]
            done = starts[last]
        return b"".join([*parts, raw[done:]]).decode("utf-8", "replace") if parts else text

    def error(self, error: AgentKitError) -> AgentKitError:
        """Redact everything that an error says; returns the same error."""
        self._read()
        if self._secrets:
            error.args = tuple(self._value(each) for each in error.args)
            for name, value in vars(error).items():
                setattr(error, name, self._value(value))
        return error

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            members = cast("Mapping[Any, Any]", value).items()
            return {self._value(name): self._value(each) for name, each in members}
        if isinstance(value, list | tuple):
            items = [self._value(each) for each in cast("Sequence[Any]", value)]
            return tuple(items) if isinstance(value, tuple) else items
        return value

    def _found(self, plain: bytes) -> Iterable[tuple[int, int]]:
        """The places of parts of secrets; adjacent places are merged."""
        first = last = -1
        for at in range(len(plain) - _PIECE + 1):
            if plain[at : at + _PIECE] in self._pieces:
                if at > last:
                    if last > 0:
                        yield first, last
                    first = at
                last = at + _PIECE
        for size in range(_PIECE - 1, _END - 1, -1):  # truncated within a secret
            at = len(plain) - size
            if at >= 0 and last <= at and any(secret.startswith(plain[at:]) for secret in self._plain):
                if at > last and last > 0:
                    yield first, last
                first, last = (at if at > last else first), len(plain)
                break
        if last > 0:
            yield first, last


def _unescaped(raw: bytes) -> tuple[bytes, list[int]]:
    """The bytes in lower case with every escape undone, and where each of them begins in ``raw``, then its end."""
    plain = bytearray()
    starts: list[int] = []
    done = 0
    for escape in _ESCAPE.finditer(raw):
        plain += raw[done : escape.start()]
        starts.extend(range(done, escape.start()))
        kind, value = escape.lastgroup, escape[escape.lastgroup] if escape.lastgroup else b""
        if kind in ("x", "p"):
            meant = bytes([int(value, 16)])
        elif kind in ("u", "h", "d"):
            number = int(value, 10 if kind == "d" else 16)
            meant = chr(number).encode("utf-8", "surrogatepass") if number < 0x110000 else b""
        else:
            meant = value if kind == "plus" else _ENTITIES.get(value, b"")
        meant = _ALIKE.get(meant, meant)
        plain += meant
        starts.extend([escape.start()] * len(meant))
        done = escape.end()
    plain += raw[done:]
    starts.extend(range(done, len(raw) + 1))
    return bytes(plain).lower(), starts
