"""Compressed bodies, unpacked a little at a time so that a bomb is noticed before it fills the memory. Pure.

No compression is asked for, but some gateways compress anyway, and some only say that they do.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from agentkit.errors import InvalidReply

__all__ = ["BodyDecoder"]

PART = 64 * 1024  # most bytes unpacked at once
_GZIP_OR_ZLIB = 47  # zlib's wbits for: either of the two, recognized by its first bytes


class BodyDecoder:
    """Unpacks one body.

    Args:
        encoding: The answer's ``content-encoding``.
        needed: Whether the answer is useless without its body; if not, a body that cannot be unpacked is left out.

    Raises:
        InvalidReply: It is compressed in a way that cannot be unpacked here, as it will be the next time.
    """

    def __init__(self, encoding: str, *, needed: bool = True) -> None:
        names = [name.strip().lower() for name in encoding.split(",")]
        unknown = [name for name in names if name not in ("", "identity", "gzip", "x-gzip", "deflate")]
        self._unread = bool(unknown) or len(names) > 1
        if self._unread and needed:
            error = InvalidReply(
                f"the server compressed its answer ({encoding[:100]}), which was not requested and cannot be read; "
                "switch that off in the server or in the proxy before it"
            )
            error.again = False
            raise error
        self._packed = names[0] not in ("", "identity")
        self._zlib: Any = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes and yield what they unpack to, in parts.

        Raises:
            InvalidReply: They are damaged.
        """
        if self._unread:
            return
        if self._packed and self._zlib is None:
            self._packed = chunk[:1] in (b"\x1f", b"\x78")  # else it is only said to be
            self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        if not self._packed or self._zlib is None:
            yield chunk
            return
        while chunk:
            try:
                part = self._zlib.decompress(chunk, PART)
            except zlib.error as error:
                raise InvalidReply(f"the server's compressed answer is damaged: {error}") from None
            if part:
                yield part
            chunk = self._zlib.unconsumed_tail
            if self._zlib.eof and self._zlib.unused_data:  # another member follows
                chunk, self._zlib = self._zlib.unused_data, zlib.decompressobj(_GZIP_OR_ZLIB)
