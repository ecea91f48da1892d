"""A run on a terminal: text as Markdown while it streams, calls side by side, and a spinner from the first moment.

Complete parts are printed once and scroll away; the rest is redrawn below them.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.style import Style
from rich.syntax import RICH_SYNTAX_THEMES
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from agentkit.cli.output import Display, JsonDisplay, PlainDisplay, describe_end, describe_event, seconds_text
from agentkit.cli.terminal_text import one_line, printable, shortened
from agentkit.events import (
    CallDenied,
    CallFinished,
    CallStarted,
    DeltasDiscarded,
    Event,
    Progress,
    ReasoningDelta,
    RunFinished,
    RunStarted,
    TextDelta,
    TurnFinished,
)

__all__ = ["LiveDisplay", "open_display", "split_blocks"]

_FRAMES = 10  # a second
_LARGE = 8_000  # characters of a block that is redrawn; only the end of a larger one is shown
# Yellow, cyan, white and blue are hard to read on either a light or a dark background, so they are not used.
_THEME = Theme(
    {
        "markdown.code": "bold",
        "markdown.code_block": "none",
        "markdown.list": "none",
        "markdown.item.number": "bold",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
        "markdown.link": "underline",
        "markdown.link_url": "underline",
        "markdown.kbd": "bold",
    }
)
_CODE = "agentkit"  # the name of the colors of code
RICH_SYNTAX_THEMES[_CODE] = {
    ("Comment",): Style(dim=True, italic=True),
    ("Keyword",): Style(bold=True),
    ("Name", "Tag"): Style(bold=True),
    ("Literal", "String"): Style(color="green"),
    ("Literal", "Number"): Style(color="magenta"),
    ("Generic", "Inserted"): Style(color="green"),
    ("Generic", "Deleted"): Style(color="red"),
}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def open_display(stdout: TextIO, *, as_json: bool, streams: bool = False, trace: str = "") -> Display:
    """Open the display that suits the output. It also writes a trace if a file is named.

    Args:
        stdout: Where the answer goes.
        as_json: Events for programs.
        streams: Whether all text of the model is the answer, because there are no tools.
        trace: The file of the trace.

    Raises:
        ConfigError: The trace cannot be written.
    """
    display: Display
    if as_json:
        display = JsonDisplay(stdout)
    elif stdout.isatty() and sys.stderr.isatty():
        display = LiveDisplay(stdout)
    else:
        display = PlainDisplay(stdout, streams=streams)
    if trace:
        from agentkit.trace import Trace  # noqa: PLC0415 - few commands write one

        display.trace = Trace(trace)
    return display


def split_blocks(text: str) -> tuple[str, str]:
    """Split Markdown after its last complete block: before a line that follows an empty one, outside a fence."""
    fence, at, last, was_empty = "", 0, 0, False
    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if was_empty and not fence and line[0] not in " \t\n":
            last = at
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence):
            fence = ""
        was_empty = not line.strip()
        at += len(line)
    return text[:last], text[last:]


@dataclass(slots=True)
class _Call:
    """A call that is running."""

    line: str
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="magenta"))
    started: float = field(default_factory=time.monotonic)
    fraction: float | None = None
    message: str = ""


class _Lines:
    """A renderable without surrounding empty lines, and only its last lines if it is taller than the screen."""

    def __init__(self, shown: RenderableType, height: int = 0) -> None:
        self._shown, self._height = shown, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._shown, options.update(height=None), pad=False)
        full = [at for at, line in enumerate(lines) if any(segment.text.strip() for segment in line)]
        lines = lines[full[0] : full[-1] + 1] if full else []
        for line in lines[-self._height :]:
            yield from line
            yield Segment.line()


class LiveDisplay(Display):
    """Shows a run on a terminal.

    Args:
        stdout: The terminal.
        console: The console to draw on; by default one for the terminal.
    """

    def __init__(self, stdout: TextIO, console: Console | None = None) -> None:
        super().__init__(stdout)
        self.console = console or Console(file=stdout, theme=_THEME, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._calls: dict[str, _Call] = {}
        self._waiting = Spinner("dots", style="magenta")
        self._text = ""  # of the incomplete block
        self._thought = ""  # the same of the reasoning
        self._last = ""  # the last text, for joining characters
        self._printed = False  # whether text of the current reply was printed
        self._replied = False  # whether the model has replied in this run
        self._after_call = False  # whether the last line is the result of a call

    def show(self, event: Event) -> None:
        """Show what a reader wants to know."""
        match event:
            case RunStarted():
                self._calls, self._text, self._thought, self._printed, self._replied = {}, "", "", False, False
                self._open()
            case TextDelta(text) if text and self.writes_answer:
                self._think("", whole=True)
                self._write(printable(text, after=self._last))
                self._last = text
            case ReasoningDelta(text) if text:
                self._think(printable(text, after=self._last))
                self._last = text
            case TurnFinished(_, reply):
                if not self._text and not self._printed and self.writes_answer:  # by a model that does not stream
                    self._write(printable(reply.text))
                self._flush()
                self._printed, self._replied = False, True
            case DeltasDiscarded() if self._printed or self._text:
                self._flush()
                self._printed = False
                self._say(*describe_event(event, self._room), ("\nthe unfinished answer above is discarded", "magenta"))
            case RunFinished():
                self._end(event)
            case _:
                self._show_call(event)

    def show_printed(self, text: str) -> None:
        """Show what a tool has printed."""
        self.console.print(Text(printable(text)), end="")

    @property
    def _room(self) -> int:
        return max(40, min(200, self.console.width - 20))

    def _show_call(self, event: Event) -> None:
        match event:
            case CallDenied(call):
                self._say(("✗ ", "magenta"), (self.line_of(event, call), "bold"), ("  denied", "magenta"))
            case CallStarted(call):
                self._flush()
                self._calls[call.id] = _Call(self.line_of(event, call))
            case Progress(call_id, _, fraction, message) if call_id in self._calls:
                running = self._calls[call_id]
                running.fraction = float(fraction) if isinstance(fraction, int | float) else None
                running.message = one_line(message)
            case CallFinished(call, result, seconds):
                self._calls.pop(call.id, None)
                self._after_call = True
                mark = ("✗ ", "red") if result.is_error else ("✓ ", "green")
                self._say(mark, (self.line_of(event, call), "bold"), (f"  {seconds_text(seconds)}", "dim"))
                style = "red" if result.is_error else ""
                self._say(("  → ", "dim"), (shortened(result.content, self._room) or "(nothing)", style))
            case _ if note := describe_event(event, self._room):
                self._flush()
                self._say(*note)
            case _:
                pass

    def _end(self, event: RunFinished) -> None:
        """Stop drawing, show what is left, and say how the run ended."""
        state = event.state
        if (
            not self._replied and state.status in ("done", "limited") and self.writes_answer
        ):  # done before it was resumed
            self._write(printable(state.text))
        self._flush()
        self._calls = {}
        if self._live is not None:
            self._live.stop()
            self._live = None
        if state.status == "failed" and self._printed:
            self._say(("the answer above is not complete", "magenta"))
        for line in () if state.status == "paused" else describe_end(state, self.seconds, empty=self.writes_answer):
            self._say(line)

    def _open(self) -> None:
        if self._live is None:
            self._live = Live(
                console=self.console, get_renderable=self._draw, refresh_per_second=_FRAMES, transient=True
            )
            self._live.start(refresh=True)

    def _say(self, *parts: str | tuple[str, str]) -> None:
        self.console.print(Text.assemble(*parts), soft_wrap=True)

    def _write(self, text: str) -> None:
        """Add text to the answer, and print the blocks that are complete."""
        self._text += text
        if "\n" in text:
            complete, self._text = split_blocks(self._text)
            self._print(complete)

    def _print(self, text: str) -> None:
        if text.strip():
            self._printed = True
            if self._live is not None:
                self._live.refresh()  # or the text printed now would be there twice until the next frame
            if self._after_call:
                self.console.print()
            self._after_call = False
            self.console.print(_Lines(_markdown(text)))
            self.console.print()

    def _think(self, text: str, *, whole: bool = False) -> None:
        """Add to the reasoning, and print the paragraphs that are complete."""
        self._thought += text
        complete, rest = (self._thought, "") if whole else split_blocks(self._thought)
        if complete.strip():
            self.console.print(Padding(Text(complete.strip(), "dim italic"), (0, 0, 1, 2)))
        self._thought = rest

    def _flush(self) -> None:
        """Print everything that is incomplete."""
        self._think("", whole=True)
        text, self._text = self._text, ""
        self._print(text)

    def _draw(self) -> RenderableType:
        """Draw what is incomplete: the end of a block, the running calls, or a spinner while the model is thinking."""
        parts: list[RenderableType] = []
        calls = list(self._calls.values())
        height = max(3, self.console.height - len(calls) - 3)
        if thought := self._thought:
            parts.append(_Lines(Padding(Text(thought.lstrip()[-_LARGE:], "dim italic"), (0, 0, 0, 2)), height))
        if text := self._text:
            shown = _markdown(text) if len(text) <= _LARGE else Text(text[-_LARGE:])
            parts.append(_Lines(shown, height))
        if calls:
            parts.append(_table(calls, self.console.width))
        else:
            self._waiting.update(text=Text(f"{self.seconds:.0f} s" if self.seconds >= 1 else "", "dim"))
            parts.append(self._waiting)
        return Group(*parts)


def _markdown(text: str) -> Markdown:
    return Markdown(text, hyperlinks=False, code_theme=_CODE)  # a link shows its address


def _table(calls: list[_Call], width: int) -> Table:
    """Draw the calls that are running, a line each."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(20, width - 40))
    table.add_column(width=12)
    table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
    for call in calls:
        bar = "" if call.fraction is None else ProgressBar(1.0, min(1.0, max(0.0, call.fraction)), width=12)
        elapsed = seconds_text(time.monotonic() - call.started)
        table.add_row(call.spinner, Text(call.line), bar, Text(f"{elapsed}  {call.message}"))
    return table
