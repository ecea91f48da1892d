"""`ResourceChanges`: which of the resources that a program watches have changed. Imports no SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

import anyio

from agentkit.mcp.errors import MCPError

__all__ = ["ResourceChanges", "Watch"]

_MOST = 10_000  # changed resources that nobody has looked at yet

Watch: TypeAlias = "Callable[[Sequence[str], ResourceChanges], Awaitable[Callable[[], Awaitable[None]]]]"
"""Begins to report the changes of resources; returns what ends that."""


class ResourceChanges:
    """The addresses of resources that change, for ``async for``; `MCPToolset.watch` makes it.

    A resource that changes several times before it is looked at is given once, and its content is not part of it.

    Attributes:
        error: Why no more changes are reported; None while they are.
    """

    def __init__(self, watch: Watch, uris: Sequence[str]) -> None:
        self._watch, self._uris = watch, uris
        self._changed: dict[str, None] = {}
        self.error: MCPError | None = None
        self._woken = anyio.Event()
        self._stop: Callable[[], Awaitable[None]] | None = None

    async def __aenter__(self) -> Self:
        self._stop = await self._watch(self._uris, self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stop is not None:
            await self._stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Wait for the next resource that changes.

        Raises:
            MCPError: The connection has ended; what changed since is not known.
        """
        while not self._changed:
            if self.error is not None:
                raise self.error
            await self._woken.wait()
            self._woken = anyio.Event()
        uri = next(iter(self._changed))
        del self._changed[uri]
        return uri

    def report(self, uri: str) -> None:
        """Take note that a resource, or a part of it, has changed."""
        if any(uri == each or uri.startswith(f"{each.rstrip('/')}/") for each in self._uris):
            if len(self._changed) < _MOST:
                self._changed[uri] = None
            self._woken.set()

    def end(self, error: MCPError) -> None:
        """Take note that no change is reported any more."""
        self.error = error
        self._woken.set()
