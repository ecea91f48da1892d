"""`Trace`: every event of a run as a line of JSON in a file."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentkit.errors import AgentKitError, ConfigError
from agentkit.events import (
    CallDelta,
    ChoiceDelta,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    event_to_dict,
)
from agentkit.trace.masking import Mask

__all__ = ["Trace"]

log = logging.getLogger("agentkit")

_GROWING: dict[type[Event], str] = {  # deltas that are joined, and their growing member
    TextDelta: "text",
    ReasoningDelta: "text",
    RefusalDelta: "text",
    CallDelta: "arguments",
}
_WAIT = 0.5  # seconds that a delta waits for the next one
_MOST = 16 * 1024  # characters that wait


class Trace:
    """Writes every event as a line of JSON; pass it as ``on_event``, or call it with each event of a stream.

    ::

        await agent.run("...", on_event=Trace("run.jsonl"))

    A line is what `event_to_dict` returns, with secrets masked (see `Mask`). Consecutive deltas are joined, so that no
    secret is written in parts. Only the owner can read the file; an existing one is appended to. Runs in several
    threads and processes may write to one file. If the file can no longer be written, for example because the disk is
    full, that is logged once; the run continues.

    Args:
        path: The file.
        secrets: Secrets to mask in addition to those that `Mask` finds by itself.

    Raises:
        ConfigError: The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, secrets: Iterable[str] = ()) -> None:
        self.path = Path(path)
        self._mask = Mask(secrets)
        self._waiting: dict[tuple[Any, ...], _Joined] = {}
        self._lock = threading.Lock()
        self._failed = False
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise ConfigError(f"the trace {os.fspath(path)!r} cannot be written: {error.strerror}") from None
        self._file = file
        self._close = weakref.finalize(self, os.close, file)

    def __repr__(self) -> str:
        return f"Trace({os.fspath(self.path)!r})"

    def __call__(self, event: Event) -> None:
        """Write an event."""
        inner = event.delta if isinstance(event, ChoiceDelta) else event
        with self._lock:
            if type(inner) in _GROWING:
                self._join(event, inner)
                return
            run = None if event.origin is None else event.origin.run_id
            self._write_waiting(run)
            self._write(_as_dict(event))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is buffered and close the file."""
        with self._lock:
            for key in list(self._waiting):
                self._write(self._waiting.pop(key).to_dict())
            self._failed = True
            self._close()

    def _join(self, event: Event, inner: Event) -> None:
        place = None if event.origin is None else event.origin[:-1]  # all but the time
        key = (place, getattr(event, "choice", 0), type(inner), getattr(inner, "call_id", ""))
        joined = self._waiting.get(key)
        if joined is None:
            self._write_waiting(place[0] if place else None, other_than=key)
            joined = self._waiting[key] = _Joined(_as_dict(event))
        joined.add(getattr(inner, _GROWING[type(inner)]))
        if joined.is_due() and (written := joined.split()) is not None:
            self._write(written)

    def _write_waiting(self, run: str | None, other_than: tuple[Any, ...] = ()) -> None:
        for key in [each for each in self._waiting if (each[0][0] if each[0] else None) == run and each != other_than]:
            self._write(self._waiting.pop(key).to_dict())

    def _write(self, event: dict[str, Any]) -> None:
        if self._failed:
            return
        line = json.dumps(self._mask(event), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            while line:  # one call in practice: lines of several processes do not mix
                line = line[os.write(self._file, line) :]
        except OSError as error:
            self._failed = True
            log.warning("the trace %s ends here, as it cannot be written: %s", self.path, error.strerror)


@dataclass(slots=True)
class _Joined:
    """Deltas that become one line."""

    first: dict[str, Any]
    chunks: list[str] = field(default_factory=list[str])
    size: int = 0
    since: float = field(default_factory=time.monotonic)

    def add(self, text: str) -> None:
        self.chunks.append(text)
        self.size += len(text)

    def is_due(self) -> bool:
        return self.size > _MOST or time.monotonic() - self.since > _WAIT

    def split(self) -> dict[str, Any] | None:
        """Take the text up to the last space, since the rest may be half of a secret; None if there is none."""
        text = "".join(self.chunks)
        at = max(text.rfind(" "), text.rfind("\n")) + 1
        at = len(text) if not at and self.size > _MOST else at
        written = self._with(text[:at]) if at else None
        self.chunks, self.size, self.since = [text[at:]], len(text) - at, time.monotonic()
        if at and "name" in self.first:  # only the first delta of a call has it
            self.first["name"] = ""
        return written

    def to_dict(self) -> dict[str, Any]:
        return self._with("".join(self.chunks))

    def _with(self, text: str) -> dict[str, Any]:
        inner = self.first.get("delta") or self.first
        name = "arguments" if "arguments" in inner else "text"
        grown = {**inner, name: text}
        return {**self.first, "delta": grown} if "delta" in self.first else grown


def _as_dict(event: Event) -> dict[str, Any]:
    try:
        return event_to_dict(event)
    except AgentKitError as error:
        origin = None if event.origin is None else event.origin._asdict()
        return {"version": 1, "event": type(event).__name__, "origin": origin, "not_written": str(error)}
