"""Standard input as lines, read so that a program can exit while it waits for one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import anyio
import anyio.from_thread
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream

from agentkit.mcp.wire import Line

__all__ = ["own_input"]

_CHUNK = 64 * 1024  # bytes that are read at once


@contextmanager
def own_input(stop: anyio.Event | None = None) -> Generator[AsyncGenerator[str]]:
    """Take over standard input: its lines come from here, and everything else, child processes too, finds it empty.

    A line longer than 64 MB is truncated. A thread may still wait for input when this ends.

    Args:
        stop: Ends the lines when it is set.
    """
    own, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    send, receive = anyio.create_memory_object_stream[bytes]()
    token = anyio.lowlevel.current_token()

    def read() -> None:
        with contextlib.suppress(RuntimeError, OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := os.read(own, _CHUNK):
                anyio.from_thread.run(send.send, chunk, token=token)
            anyio.from_thread.run(send.aclose, token=token)

    # A worker thread of anyio would keep the program from exiting until more input arrives.
    threading.Thread(target=read, name="standard input", daemon=True).start()
    try:
        yield _lines(receive, stop or anyio.Event())
    finally:
        send.close()
        receive.close()
        os.dup2(own, 0)  # and `own` stays open, since the thread may still read it


async def _lines(chunks: MemoryObjectReceiveStream[bytes], stop: anyio.Event) -> AsyncGenerator[str]:
    line = Line()
    while chunk := await _next(chunks, stop):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line.add(end)
            taken = line.take()
            yield (taken if isinstance(taken, bytes) else taken[0]).decode(errors="replace")
        line.add(rest)


async def _next(chunks: MemoryObjectReceiveStream[bytes], stop: anyio.Event) -> bytes:
    """The next bytes; none at the end."""
    chunk = b""
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            await stop.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(wait)
        with contextlib.suppress(anyio.EndOfStream):
            chunk = await chunks.receive()
        tasks.cancel_scope.cancel()
    return chunk
