"""HTTP of a connection: that of uvicorn and httptools, with bounds on what comes before a request can be answered.

Neither of the two has any. A head, or the trailers of a chunked body, could be of any length and take any time. And
they lose the body of a request that offers another protocol, as Java's client does with HTTP/2.
"""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedProtocol"]

_HEAD = 64 * 1024  # bytes of a head, or of what is between two parts of a body
_OFFER = (b"connection", b"upgrade", b"http2-settings")
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
        self._unset_keepalive_if_required()
        self._unread += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("This is not HTTP.")
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
        if not self.parser.should_upgrade():
            self._stop_waiting()
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read part of a body, of which the app knows how long it may be."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self.parser.should_upgrade():
            self._unread = 0
            super().on_message_complete()

    def _decline(self, rest: bytes) -> None:
        """Read a request anew as one that offers no other protocol, as the parser has left its body out."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self.send_400_response("This is not a proxy.")
            return
        closes = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
        headers = [each for each in self.headers if each[0] not in _OFFER] + [(b"connection", b"close")] * closes
        lines = [b"%s %s HTTP/%s" % (method, self.url, version.encode()), *(b"%s: %s" % each for each in headers)]
        self.parser, self._unread = httptools.HttpRequestParser(self), 0
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(_SECONDS, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
