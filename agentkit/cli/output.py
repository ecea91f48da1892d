"""Observers that show a run to whoever started it: on a terminal, through a pipe, or as JSON for programs.

The answer goes to standard output, everything about it (calls, results, notes, figures) to standard error, so that a
pipe gets the answer alone.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, TextIO

from rich.text import Text

from agentkit.cli.console import NotesConsole
from agentkit.cli.terminal_text import call_line, one_line, plural, printable, shortened
from agentkit.constrained import ModelPreparing
from agentkit.events import (
    AgentChanged,
    CallDenied,
    CallFinished,
    CallStarted,
    Emit,
    Event,
    LimitWarning,
    MessageAdded,
    Progress,
    ReasoningDelta,
    ReplyRepaired,
    RequestAdapted,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolChanged,
    TurnFinished,
    event_to_dict,
    ignore_event,
)
from agentkit.messages import ToolMessage
from agentkit.run import RunState

__all__ = ["Display", "JsonDisplay", "PlainDisplay", "TerminalDisplay", "ToolOutput", "open_display"]


class Display:
    """Base of the observers: it knows the run, and makes sure that its end is shown however it ends.

    Args:
        stdout: Where the answer goes.

    Attributes:
        trace: Where every event is written to, besides.
    """

    def __init__(self, stdout: TextIO) -> None:
        self.stdout = stdout
        self.trace: Emit = ignore_event
        self.state: RunState | None = None  # of the last run
        self.error: BaseException | None = None
        self.running = False

    def handle(self, event: Event) -> None:
        """Show an event."""
        self.trace(event)
        if isinstance(event, RunStarted):
            self.state, self.running = event.state, True
        if isinstance(event, RunFinished):
            if event.state.status == "failed" and event.error is None:
                return  # of an error that is not agentkit's: `close` will get it
            self.running = False
        self.show(event)

    def close(self, error: BaseException) -> None:
        """Show the end of the run by this error or interruption, unless an event has done so."""
        if self.state is not None and self.running:
            self.error, self.running = error, False
            self.show(RunFinished(self.state))

    def show(self, event: Event) -> None:
        """Show an event in this observer's way."""
        raise NotImplementedError

    def show_printed(self, text: str) -> None:
        """Show what a tool has printed."""
        sys.stderr.write(printable(text))
        sys.stderr.flush()

    def write(self, text: str) -> None:
        """Write to standard output at once."""
        self.stdout.write(text)
        self.stdout.flush()


class ToolOutput:
    """Standard output for tools: what they print goes to standard error, as standard output belongs to the answer."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        """Print in a way that leaves the lines of the answer whole."""
        self._display.show_printed(text)
        return len(text)

    def isatty(self) -> bool:
        """Return False: colors would be escaped."""
        return False


class JsonDisplay(Display):
    """Shows each event as a line of ASCII JSON on standard output, in the form of `event_to_dict`."""

    def show(self, event: Event) -> None:
        """Write the event."""
        if isinstance(event, RunFinished) and isinstance(self.error, Exception) and event.error is None:
            event = RunFinished(event.state, self.error)
        self.write(json.dumps(event_to_dict(event), allow_nan=False) + "\n")


class PlainDisplay(Display):
    """Shows the answer, once it is known to be one, on standard output, and the rest on standard error."""

    def __init__(self, stdout: TextIO) -> None:
        super().__init__(stdout)
        self.notes = NotesConsole()
        self.started = 0.0
        self.numbers: dict[str, int] = {}
        self.reason = ""

    def show(self, event: Event) -> None:
        """Show what a reader wants to know."""
        match event:
            case RunStarted():
                self.started, self.numbers, self.reason = time.monotonic(), {}, ""
            case TurnFinished(_, reply) if reply.message.tool_calls and reply.text.strip():
                self.aside(reply.text)
            case CallDenied(call):
                self.say(("denied  ", "yellow"), (call_line(call), "bold"))
            case CallStarted(call):
                self.numbers[call.id] = len(self.numbers) + 1
                self.say((f"call {self.numbers[call.id]}  ", "cyan"), (call_line(call), "bold"))
            case CallFinished():
                self._show_result(event)
            case Progress(call_id, _, fraction, message):
                part = f"{fraction:.0%} " if isinstance(fraction, int | float) else ""
                number = self.numbers.get(call_id, 0)
                self.say((f"  .. {number}  {part}{one_line(message)}", "dim"))
            case Retrying():
                self.retrying(event)
            case RunFinished(state):
                self.answer(state)
                self._show_ending(state)
            case _ if note := _note(event, self.notes.room):
                self.say(*note)
            case _:
                pass

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Print a line of notes."""
        self.notes.say(*parts)

    def retrying(self, event: Retrying) -> None:
        """Say that a request is sent again."""
        why = "" if event.reason == self.reason else f": {one_line(event.reason)}"
        self.reason = event.reason
        self.say((f"trying again in {event.wait:.1f} s{why}", "dim"))

    def aside(self, text: str) -> None:
        """Show what the model said along with its calls, which is not the answer."""
        self.say((printable(text.strip()), "dim"))

    def answer(self, state: RunState) -> None:
        """Write the answer of a run that has one."""
        if state.status in ("done", "limited") and state.text:
            text = printable(state.text)
            self.write(text if text.endswith("\n") else f"{text}\n")

    def _show_result(self, event: CallFinished) -> None:
        number = self.numbers.get(event.call.id, 0)
        content = shortened(event.result.content, self.notes.room) or "(nothing)"
        style = "red" if event.result.is_error else "green"
        self.say((f"  -> {number}  ", "cyan"), (content, style), (f"  {_seconds(event.seconds)}", "dim"))

    def _show_ending(self, state: RunState) -> None:
        if state.status == "done" and not state.text:
            self.say(("the answer of the model is empty", "yellow"))
        if state.status == "limited":
            self.say((f"the run ended early: {one_line(state.limit)}", "yellow"))
        if state.status == "cancelled":
            self.say(("interrupted", "yellow"))
        if not state.turns:
            return
        usage, denied = state.usage, _denied(state)
        count = sum(isinstance(each, ToolMessage) and each.tool_call_id in denied for each in state.messages)
        figures = [plural(state.turns, "turn"), plural(state.calls - count, "call")]
        figures += [f"{count} denied"] if count else []
        about = "about " if usage.estimated_tokens else ""
        figures += [f"{about}{usage.total_tokens:,} tokens" if usage.total_tokens else "tokens not reported"]
        self.say((", ".join([*figures, _seconds(time.monotonic() - self.started)]), "dim"))


class TerminalDisplay(PlainDisplay):
    """Shows the answer in chunks, as it comes, and the rest in between."""

    def __init__(self, stdout: TextIO) -> None:
        super().__init__(stdout)
        self.last = ""  # what was written last in the line that is still open; empty at the start of a line
        self.thinking = False
        self.shown = False  # whether text of the reply that is under way was shown
        self.replied = False  # whether the model has said anything in this run

    def show(self, event: Event) -> None:
        """Show chunks of text at once, and everything else on lines of its own."""
        match event:
            case RunStarted():
                self.replied = False
                super().show(event)
            case TextDelta(text) if text:
                self._end_thinking()
                self.write(printable(text, after=self.last))
                self.last = "" if text.endswith("\n") else text[-1]
                self.shown = True
            case ReasoningDelta(text) if text:
                self._end_line()
                self.notes.print(Text(printable(text), "dim italic"), end="")
                self.thinking = True
            case TurnFinished(_, reply):
                if not self.shown:  # by a model that does not stream
                    self.write(printable(reply.text))
                    self.last = reply.text[-1:].strip("\n")
                self._end_line()
                self.shown, self.replied = False, True
            case _:
                super().show(event)

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Print a line of notes, never inside a line of the answer."""
        self._end_thinking()
        self._end_line()
        super().say(*parts)

    def show_printed(self, text: str) -> None:
        """Show what a tool has printed, never inside a line of the answer."""
        self._end_thinking()
        self._end_line()
        super().show_printed(text)

    def retrying(self, event: Retrying) -> None:
        """Say that a request is sent again, and what becomes of the text above."""
        super().retrying(event)
        if self.shown:
            self.say(("the unfinished answer above is discarded", "yellow"))
        self.shown = False

    def answer(self, state: RunState) -> None:
        """End the line of the answer. Its text is there already, unless the run was done before it was resumed."""
        if state.status == "cancelled":
            self.last = self.last or "^C"  # which the terminal has echoed
        self._end_thinking()
        self._end_line()
        if self.shown and state.status in ("failed", "cancelled"):
            self.say(("the answer above is not complete", "yellow"))
        self.shown = False
        if not self.replied:
            super().answer(state)

    def _end_line(self) -> None:
        if self.last:
            self.write("\n")
            self.last = ""

    def _end_thinking(self) -> None:
        if self.thinking:
            self.notes.print()
            self.thinking = False


def open_display(stdout: TextIO, *, as_json: bool, trace: str = "") -> Display:
    """Choose the observer that fits where the output goes; it writes a trace to a file, if one is named.

    Raises:
        ConfigError: The trace cannot be written.
    """
    kind = JsonDisplay if as_json else TerminalDisplay if stdout.isatty() else PlainDisplay
    display = kind(stdout)
    if trace:
        from agentkit.trace import Trace  # noqa: PLC0415 - few commands write one

        display.trace = Trace(trace)
    return display


def _note(event: Event, room: int) -> list[tuple[str, str]]:
    """Describe an event in a line of its own; most have none."""
    match event:
        case ReplyRepaired(what):
            return [(f"repaired: {one_line(what)}", "dim")]
        case ModelPreparing(what):
            return [(f"once: {one_line(what)}", "dim")]
        case RequestAdapted(what):
            return [(f"adapted: {one_line(what)}", "dim")]
        case LimitWarning(limit, used, most) if used < most:  # one that is reached is reported at the end
            return [(f"near the limit of {limit}: {used:g} of {most:g} are used", "dim")]
        case AgentChanged(_, agent):
            return [(f"handed off to {one_line(agent)}", "dim")]
        case ToolChanged(tool, how):
            return [(f"the tool {one_line(tool)} was {how} since the run was saved", "yellow")]
        case MessageAdded(message):
            return [(f"added: {shortened(message.text, room)}", "dim")]
        case _:
            return []


def _denied(state: RunState | None) -> set[str]:
    decisions = {} if state is None else state.decisions
    return {id_ for id_, decision in decisions.items() if decision.kind == "deny"}


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"
