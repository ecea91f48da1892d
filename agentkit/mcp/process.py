"""A server process: started in its own group, read line by line, and ended along with everything it started.

The SDK gets two streams of messages. Whatever the process writes is bounded, and its standard error never reaches the
terminal: its last lines are kept for the error that says why it exited.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import anyio
from anyio.abc import AsyncResource, ByteReceiveStream, ByteSendStream, Process
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from agentkit.mcp.normalize import Inbox
from agentkit.mcp.wire import ENDS, LARGEST, Line, Wire

__all__ = ["process_streams"]

Streams: TypeAlias = Any  # of the SDK: one stream to read, and one to write

_GRACE, _KILL_AFTER = 2.0, 1.0  # seconds to exit by itself, and after it was asked to
_POLL = 0.02

_groups: set[int] = set()


@atexit.register
def _kill_all() -> None:
    """End processes that were left running by an event loop that was never closed."""
    for group in list(_groups):
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether it exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


@asynccontextmanager
async def process_streams(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None, wire: Wire
) -> AsyncGenerator[Streams]:
    """Start a process and yield its message streams; it has exited when the block ends.

    Raises:
        OSError: It cannot be started.
    """
    process = await anyio.open_process(
        list(arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=cwd,
        start_new_session=True,
    )
    _groups.add(process.pid)
    running = _Running(process, wire)
    try:
        async with anyio.create_task_group() as tasks:
            for work in (running.read, running.write, running.keep_stderr, running.watch):
                tasks.start_soon(work)
            try:
                yield running.from_server, running.to_server
            finally:
                with anyio.CancelScope(shield=True):
                    await running.stop()
                tasks.cancel_scope.cancel()
    finally:
        _signal(process.pid, signal.SIGKILL)
        _groups.discard(process.pid)


class _Running:
    """A process, and the streams of its messages."""

    def __init__(self, process: Process, wire: Wire) -> None:
        self._process, self._wire, self._inbox = process, wire, Inbox(wire.noise)
        self._stdin = cast("ByteSendStream", process.stdin)
        self._stdout, self._stderr = (cast("ByteReceiveStream", each) for each in (process.stdout, process.stderr))
        self._to_session, self.from_server = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.to_server, self._from_session = anyio.create_memory_object_stream[SessionMessage](0)

    async def read(self) -> None:
        """Pass what the process writes to the session, until its output ends."""
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            async for line in _lines(self._stdout):
                for message in self._messages(line):
                    await self._to_session.send(message)
        with anyio.CancelScope(shield=True), anyio.move_on_after(0.5):  # so that the error can say how it ended
            await _until(lambda: self._process.returncode is not None and self._wire.stderr_ended.is_set())
        self._wire.end(self._process.returncode)
        self._to_session.close()

    def _messages(self, line: bytes | tuple[bytes, bytes]) -> Iterator[SessionMessage]:
        found = self._inbox.read(line) if isinstance(line, bytes) else self._inbox.unreadable(*line, _TOO_LARGE)
        for raw in found:
            try:
                yield SessionMessage(jsonrpc_message_adapter.validate_python(raw, by_name=False))
            except ValidationError:
                self._wire.noise(str(raw)[:ENDS].encode("utf-8", "replace"))

    async def write(self) -> None:
        """Write what the session sends."""
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            async for each in self._from_session:
                message = each.message.model_dump(by_alias=True, mode="json", exclude_unset=True)
                self._inbox.sent(message)
                await self._stdin.send(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def keep_stderr(self) -> None:
        """Keep the last lines of standard error."""
        async for line in _lines(self._stderr):
            self._wire.noise(line if isinstance(line, bytes) else line[0])
        self._wire.stderr_ended.set()

    async def watch(self) -> None:
        """End the rest of the group when the process has exited, because it holds the pipes open."""
        await _ended(self._process)
        await _end_group(self._process.pid)

    async def stop(self) -> None:
        """Let the process exit by itself, then ask it to, then kill it, along with everything it started."""
        await _closed(self._stdin)
        with anyio.move_on_after(_GRACE):
            await _ended(self._process)
        await _end_group(self._process.pid)
        with anyio.move_on_after(_GRACE):
            await _ended(self._process)
        await _closed(self._stdout)
        await _closed(self._stderr)
        # asyncio keeps the transport open while a process that left the group holds a pipe.
        close = getattr(getattr(getattr(self._process, "_process", None), "_transport", None), "close", None)
        if callable(close):
            with contextlib.suppress(PermissionError):
                close()
        for each in (self.from_server, self.to_server, self._to_session, self._from_session):
            each.close()


_TOO_LARGE = f"is larger than {LARGEST // 2**20} MiB"


async def _chunks(stream: ByteReceiveStream) -> AsyncGenerator[bytes]:
    with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        while True:
            yield await stream.receive()


async def _lines(stream: ByteReceiveStream) -> AsyncGenerator[bytes | tuple[bytes, bytes]]:
    """Yield the lines; of one that is too long, its first and last bytes. The last line may be unterminated."""
    line = Line()
    async for chunk in _chunks(stream):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line.add(end)
            yield line.take()
        line.add(rest)
    yield line.take()


async def _ended(process: Process) -> None:
    """Wait for the process itself: asyncio's `Process.wait` waits for everything that holds its pipes."""
    try:
        watched = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or it has exited
        watched = -1
    try:
        if watched >= 0:
            await anyio.wait_readable(watched)
        await _until(lambda: process.returncode is not None)
    finally:
        if watched >= 0:
            os.close(watched)


async def _closed(stream: AsyncResource) -> None:
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        await stream.aclose()


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the system sets no event
        await anyio.sleep(_POLL)


async def _end_group(group: int) -> None:
    if _signal(group, signal.SIGTERM):
        with anyio.move_on_after(_KILL_AFTER):
            await _until(lambda: not _signal(group, 0))
    _signal(group, signal.SIGKILL)
