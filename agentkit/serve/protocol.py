"""HTTP of a connection: that of uvicorn and httptools, with bounds on what comes before a request can be answered.

Neither of the two has any. A head, or the trailers of a chunked body, could be of any length and take any time.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedProtocol"]

_HEAD = 64 * 1024  # bytes of a head, or of what is between two parts of a body
_SECONDS = 30.0  # in which a head must have arrived


class BoundedProtocol(HttpToolsProtocol):
    """A connection that closes when a head is too long or too slow."""

    _unread = 0
    _timer: Any = None  # of the event loop

    def connection_made(self, transport: Any) -> None:
        """Wait for a request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, and give up on a head that has no end."""
        self._unread += len(data)
        super().data_received(data)
        if self._unread > _HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header, without the white space that may follow its value."""
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read part of a body, of which the app knows how long it may be."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._unread = 0
        super().on_message_complete()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_SECONDS, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
