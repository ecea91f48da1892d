"""The progress of many runs: one line on a terminal, erased whenever something else may write."""

from __future__ import annotations

import sys
import time

__all__ = ["ProgressLine"]

_WIDTH = 24  # characters of the bar
_EVERY = 0.1  # seconds


class ProgressLine:
    """A line such as ``[######      ] 512/2,000, 3 failed, 14/s, 1:46 left``.

    Args:
        total: The number of items; None if it is not known.
        shown: Whether to show it, if standard error is a terminal.
    """

    def __init__(self, total: int | None, *, shown: bool) -> None:
        self._total, self._shown = total, shown and sys.stderr.isatty()
        self._done = self._failed = 0
        self._began = self._drawn_at = time.monotonic()
        self._is_drawn = False

    def count(self, *, failed: bool) -> None:
        """Count an item that has ended."""
        self._done += 1
        self._failed += failed
        if self._is_drawn and time.monotonic() - self._drawn_at > _EVERY:
            self.draw()

    def draw(self) -> None:
        """Write the line over the previous one."""
        if self._shown:
            self._drawn_at, self._is_drawn = time.monotonic(), True
            sys.stderr.write(f"\r{self.text(self._drawn_at - self._began)}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line."""
        if self._is_drawn:
            self._is_drawn = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def text(self, seconds: float) -> str:
        """Return the line after this many seconds."""
        parts = [f"{self._done:,}/{self._total:,}" if self._total is not None else f"{self._done:,} done"]
        parts += [f"{self._failed:,} failed"] if self._failed else []
        if self._done and seconds > 0:
            rate = self._done / seconds
            parts.append(f"{rate:.2g}/s")
            if self._total is not None:
                left = round((self._total - self._done) / rate)
                parts.append(f"{left // 60}:{left % 60:02d} left")
        filled = _WIDTH * self._done // self._total if self._total else 0
        bar = f"[{'#' * filled}{' ' * (_WIDTH - filled)}] " if self._total else ""
        return bar + ", ".join(parts)
