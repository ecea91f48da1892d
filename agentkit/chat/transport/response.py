"""One request and its response: the input of an engine, the deadlines, and how bytes reach the sink."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

import anyio
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from agentkit.chat.transport.address import without_secrets
from agentkit.chat.transport.body import BodyDecoder
from agentkit.chat.transport.redaction import Redactor
from agentkit.errors import ConfigError, DeadlineExceeded

MOST_CONNECTIONS = 1000  # at once; a request beyond them waits
KEPT = 5.0  # seconds that an idle connection is kept
GRACE = 1.0  # seconds for a server to end a body that is complete, so that the connection can be used again
_SLACK = 1.1  # the idle deadline may be this late, so that its timer is rarely reset
_SLICE = 8 * 1024  # bytes that are decoded at once
_BUSY = 0.01  # seconds of decoding after which other tasks of the event loop have their turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Time limits of one attempt of a request, in seconds; ``math.inf`` means no deadline.

    The defaults suit models that reason for minutes and local servers that load a model first. A try that passes a
    deadline after the server had begun to answer is not sent again.

    Attributes:
        connect: Until the connection is established.
        first_byte: The longest silence before the first event of a streamed reply. Comments, with which servers keep
            a connection open, are no event, but end a silence. A reply that is not streamed has only ``total``.
        idle: The longest silence after the first event; up to a tenth more may go unnoticed.
        total: Altogether.

    Raises:
        ConfigError: One is not a number of seconds.
    """

    connect: float = 10
    first_byte: float = 300
    idle: float = 300
    total: float = 600

    def __post_init__(self) -> None:
        for name, seconds in asdict(self).items():
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
                raise ConfigError(f"the deadline {name} is seconds, or math.inf for none, not {seconds!r}")


class Sink(Protocol):
    """A decoder that a response is fed to."""

    @property
    def done(self) -> bool:
        """True if the response is complete, whatever may still follow."""
        ...

    @property
    def complete(self) -> bool:
        """True if the response can be used as it is if nothing more arrives."""
        ...

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take status and headers (names in lower case)."""
        ...

    def feed(self, chunk: bytes) -> bool:
        """Take bytes; return True if they advance the answer."""
        ...


class Request(NamedTuple):
    """A request to POST: where to, what, and the seconds within which it must be connected."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    connect: float
    redactor: Redactor


class Response:
    """A response on its way into its sink, and how long it may still take.

    Args:
        sink: Receives it.
        deadlines: How long it may take.
        stream: Whether it is expected to come in parts, which have deadlines of their own.
    """

    def __init__(self, sink: Sink, deadlines: Deadlines, *, stream: bool) -> None:
        now = anyio.current_time()
        self._end = now + deadlines.total
        self._silence = deadlines.first_byte if stream else deadlines.total
        self.scope = anyio.CancelScope(deadline=min(self._end, now + self._silence))
        self.answered = False
        self._sink = sink
        self._deadlines = deadlines
        self._stream = stream
        self._which = "first_byte"
        self._error: Exception | None = None
        self._over = False
        self._yielded = False  # to other tasks, while decoding

    async def read(
        self, status: int, headers: Mapping[str, str], chunks: AsyncGenerator[bytes], *, unpacked: bool = False
    ) -> None:
        """Read it to its end, or until its outcome is known.

        Args:
            status: The status.
            headers: The headers, names in lower case.
            chunks: The body.
            unpacked: Whether the body is no longer compressed, whatever the headers say.
        """
        self.answered = True
        self._sink.start(status, headers)
        encoding = "" if unpacked else headers.get("content-encoding", "")
        decoder = BodyDecoder(encoding, needed=status < 400)  # a bad status says enough
        async with aclosing(chunks):
            async for chunk in chunks:
                await self._take(decoder, chunk)
        # A cancellation that came while the last chunk was decoded takes effect here.
        await (checkpoint() if self._yielded else checkpoint_if_cancelled())

    async def _take(self, decoder: BodyDecoder, chunk: bytes) -> None:
        """Decode a chunk, however much it unpacks to, without holding the event loop for long."""
        started = time.perf_counter()
        progress = False
        try:
            for part in decoder.feed(chunk):
                for start in range(0, len(part), _SLICE):
                    if self._over:
                        return
                    progress = self._sink.feed(part[start : start + _SLICE]) or progress
                    self._over = self._sink.done
                    if time.perf_counter() - started > _BUSY:
                        with anyio.CancelScope(shield=True):  # a cancellation must come from inside the generators
                            await checkpoint()
                        self._yielded = True
                        started = time.perf_counter()
                        self._over = self._over or anyio.current_effective_deadline() <= anyio.current_time()
        except Exception as error:  # noqa: BLE001 - raised by `check`
            self._error, self._over = error, True
            self.scope.cancel()  # unwinds the library's generators in order, which an exception does not
            return
        now = anyio.current_time()
        if self._over:
            self.scope.deadline = min(self.scope.deadline, now + GRACE)
        elif self._stream:
            if progress:
                self._which, self._silence = "idle", self._deadlines.idle
            soonest = min(self._end, now + self._silence)
            if not soonest <= self.scope.deadline <= now + self._silence * _SLACK:
                self.scope.deadline = min(self._end, now + self._silence * _SLACK)

    def check(self, url: str) -> None:
        """Raise the sink's error, or the one for a deadline that passed before the response was complete."""
        if self._error is not None:
            raise self._error
        if self._sink.complete:
            return
        if self.scope.cancelled_caught:
            which = "total" if self.scope.deadline >= self._end else self._which
            happened = {"first_byte": "nothing was sent", "idle": "the stream stalled"}.get(
                which, "the reply was not complete"
            )
            seconds = getattr(self._deadlines, which)
            message = f"{without_secrets(url)}: {happened} after {seconds:g} s (deadline {which!r})"
            raise DeadlineExceeded(message, which=which, answered=self.answered)


class Failures(NamedTuple):
    """Raised by an engine: no connection in time, a malformed header, or a broken connection."""

    late: type[Exception]
    illegal: type[Exception]
    broken: tuple[type[Exception], ...]


class Engine(Protocol):
    """Connections that requests are sent on."""

    failures: Failures

    async def send(self, request: Request, response: Response) -> None:
        """Send a request, and have its response read."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers of a response, names in lower case; repeated ones are joined with commas."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers
