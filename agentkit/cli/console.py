"""The console for everything except the answer."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

__all__ = ["NotesConsole"]


class NotesConsole(Console):
    """Standard error, with colors if it is a terminal that wants them."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    @property
    def result_width(self) -> int:
        """The number of characters of a result to show: on a terminal, what fits on its line."""
        return max(40, min(200, self.width - 40)) if self.is_terminal else 200

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Print one line. Its parts are strings, or strings with a style, and already printable."""
        with self.capture() as line:  # rich would write it again if Ctrl-C came while it writes
            self.print(Text.assemble(*parts))
        self.file.write(line.get())
        self.file.flush()
