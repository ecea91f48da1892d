"""`Wire`: what is known of one connection to a server, for the errors that say why it ended."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import anyio

from agentkit.chat import escape_controls

__all__ = ["ENDS", "LARGEST", "Line", "Wire"]

LARGEST = 64 * 1024 * 1024  # bytes of a message
ENDS = 512  # bytes that are kept of both ends of a larger one
_LINES, _LINE = 20, 500  # the last lines of standard error, and characters of each
_COLORS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

log = logging.getLogger("agentkit.mcp")


class Wire:
    """What came over one connection besides messages.

    Attributes:
        exit_status: The exit status of the process, once it has ended.
        ended: Set when the server can no longer be reached over this connection.
        stderr_ended: Set when the process has closed its standard error.
        session_lost: Whether the server has forgotten the session, and a new one may work.
    """

    def __init__(self, server: str, secrets: Sequence[str] = ()) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)
        self.exit_status: int | None = None
        self.ended = anyio.Event()
        self.stderr_ended = anyio.Event()
        self.session_lost = False
        self._people = 0
        self._server = server
        self._lines: deque[str] = deque(maxlen=_LINES)

    @property
    def is_waiting_for_a_person(self) -> bool:
        """Whether somebody is asked to allow the access, which takes the time it takes."""
        return self._people > 0

    @contextmanager
    def waiting_for_a_person(self) -> Generator[None]:
        """Ask somebody in the block."""
        self._people += 1
        try:
            yield
        finally:
            self._people -= 1

    @property
    def stderr(self) -> str:
        """The last lines that the process wrote besides messages, control characters escaped."""
        return "\n".join(self._lines)

    def mask(self, text: str) -> str:
        """The string without the secrets that the server was given."""
        for each in self._secrets:
            text = text.replace(each, "***")
        return text

    def noise(self, line: bytes) -> None:
        """Take a line that is no message."""
        text = _COLORS.sub("", line[: 4 * _LINE].decode("utf-8", "replace")).strip()
        if text:
            text = escape_controls(self.mask(text))[:_LINE]
            self._lines.append(text)
            log.debug("%s: %s", self._server, text)

    def end(self, exit_status: int | None = None) -> None:
        """Take note that nothing more comes."""
        if not self.ended.is_set():
            self.exit_status = exit_status
            self.ended.set()


class Line:
    """A line of bytes that is read chunk by chunk, in linear time and bounded memory."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head = self._tail = b""

    def add(self, part: bytes) -> None:
        """Take the next bytes."""
        self._size += len(part)
        self._head += part[: ENDS - len(self._head)]
        self._tail = (self._tail + part[-ENDS:])[-ENDS:]
        if self._size <= LARGEST:
            self._parts.append(part)
        else:
            self._parts.clear()

    def take(self) -> bytes | tuple[bytes, bytes]:
        """The line, which is over now; of one that is too long, its first and last bytes."""
        line = b"".join(self._parts) if self._size <= LARGEST else (self._head, self._tail)
        self._begin()
        return line
