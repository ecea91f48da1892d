"""Observers that show a run to whoever started it: on a terminal, through a pipe, or as JSON for programs.

The answer goes to standard output and everything else (calls, results, notes, figures) to standard error, so that a
pipe gets only the answer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from agentkit import Usage
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
from agentkit.messages import ToolCall, ToolMessage
from agentkit.run import RunState

__all__ = [
    "Display",
    "JsonDisplay",
    "PlainDisplay",
    "ToolOutput",
    "describe_end",
    "describe_event",
    "seconds_text",
    "usage_text",
]

_OF_A_RUN = (RunStarted, RunFinished, TurnFinished, TextDelta, ReasoningDelta)


class Display:
    """Base of the observers. It shows the end of a run however it ends.

    Args:
        stdout: Where the answer goes.

    Attributes:
        state: The last run.
        trace: Also receives every event.
        writes_answer: Whether the text of the model is the answer; otherwise the caller writes the output.
    """

    shows_nested = False  # whether it shows what agents inside tools say

    def __init__(self, stdout: TextIO) -> None:
        self.stdout = stdout
        self.state: RunState | None = None
        self.trace: Emit = ignore_event
        self.writes_answer = True
        self.error: BaseException | None = None
        self.running = False
        self.started = 0.0

    @property
    def seconds(self) -> float:
        """How long the run has taken."""
        return time.monotonic() - self.started

    def handle(self, event: Event) -> None:
        """Show an event."""
        self.trace(event)
        if event.origin is not None and event.origin.path:
            if self.shows_nested or not isinstance(event, _OF_A_RUN):
                self.show(event)
            return
        if isinstance(event, RunStarted):
            self.started = time.monotonic()
            self.state, self.running = event.state, True
        if isinstance(event, RunFinished):
            if event.state.status == "failed" and event.error is None:
                return  # of an error that is not agentkit's: `close` shows it
            self.running = False
        self.show(event)

    def close(self, error: BaseException) -> None:
        """Show that this error or interruption ended the run, unless an event has already done so."""
        if self.state is not None and self.running:
            self.error, self.running = error, False
            ended = RunFinished(self.state)
            self.trace(ended)
            self.show(ended)

    def show(self, event: Event) -> None:
        """Show an event; each observer has its own way."""
        raise NotImplementedError

    @staticmethod
    def line_of(event: Event, call: ToolCall) -> str:
        """Write a call, preceded by the names of the calls that its run is nested in."""
        path = event.origin.path if event.origin is not None else ()
        return " > ".join([*map(one_line, path), call_line(call)])

    def show_printed(self, text: str) -> None:
        """Show what a tool has printed."""
        sys.stderr.write(printable(text))
        sys.stderr.flush()

    def write(self, text: str) -> None:
        """Write to standard output at once."""
        self.stdout.write(text)
        self.stdout.flush()


class ToolOutput:
    """Standard output for tools: what they print goes to standard error, because standard output is for the answer."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        """Print without breaking the lines of the answer."""
        self._display.show_printed(text)
        return len(text)

    def isatty(self) -> bool:
        """Return False: colors would be escaped."""
        return False


class JsonDisplay(Display):
    """Shows each event as a line of ASCII JSON on standard output, in the form of `event_to_dict`."""

    shows_nested = True

    def show(self, event: Event) -> None:
        """Write the event."""
        if isinstance(event, RunFinished) and isinstance(self.error, Exception) and event.error is None:
            event = RunFinished(event.state, self.error)
        self.write(json.dumps(event_to_dict(event), allow_nan=False) + "\n")


class PlainDisplay(Display):
    """Shows the answer on standard output and the rest on standard error.

    Without tools, all text is the answer and is shown as it arrives. With tools, only a reply without calls is the
    answer: it is shown once it is complete, and other text is a note.

    Args:
        stdout: Where the answer goes.
        streams: Whether all text is the answer.
    """

    def __init__(self, stdout: TextIO, *, streams: bool = False) -> None:
        super().__init__(stdout)
        self.notes = NotesConsole()
        self.streams = streams
        self.numbers: dict[str, int] = {}
        self.reason = ""
        self.last = ""  # what was written last

    def show(self, event: Event) -> None:
        """Show what a reader wants to know."""
        match event:
            case RunStarted():
                self.numbers, self.reason, self.last = {}, "", ""
            case TextDelta(text) if self.streams and text:
                self.write(printable(text, after=self.last))
                self.last = text
            case TurnFinished(_, reply) if reply.message.tool_calls and reply.text.strip():
                self.say((printable(reply.text.strip()), "dim"))
            case CallDenied(call):
                self.say(("denied  ", "magenta"), (call_line(call), "bold"))
            case CallStarted(call):
                self.numbers[call.id] = len(self.numbers) + 1
                self.say((f"call {self.numbers[call.id]}  ", "magenta"), (self.line_of(event, call), "bold"))
            case CallFinished():
                number = self.numbers.get(event.call.id, 0)
                content = shortened(event.result.content, self.notes.result_width) or "(nothing)"
                style = "red" if event.result.is_error else "green"
                self.say((f"  -> {number}  ", "magenta"), (content, style), (f"  {seconds_text(event.seconds)}", "dim"))
            case Progress(call_id, _, fraction, message):
                part = f"{fraction:.0%} " if isinstance(fraction, int | float) else ""
                number = self.numbers.get(call_id, 0)
                self.say((f"  .. {number}  {part}{one_line(message)}", "dim"))
            case RunFinished(state):
                self._end(state)
            case _:
                self._note(event)

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Print a line of notes."""
        self.notes.say(*parts)

    def _note(self, event: Event) -> None:
        """Print other notes, and the reason for retries once."""
        if isinstance(event, Retrying) and event.reason == self.reason:
            self.say((f"trying again in {event.wait:.1f} s", "dim"))
        elif note := describe_event(event, self.notes.result_width):
            self.reason = event.reason if isinstance(event, Retrying) else self.reason
            self.say(*note)

    def _end(self, state: RunState) -> None:
        """Write the rest of the answer, and how the run ended."""
        text = printable(state.text) if state.status in ("done", "limited") and not self.last else ""
        if not self.writes_answer:
            text = ""
        if text or self.last:
            self.write(text if text.endswith("\n") else "" if self.last.endswith("\n") else f"{text}\n")
        self.last = ""
        for line in describe_end(state, self.seconds, empty=self.writes_answer):
            self.say(line)


def describe_event(event: Event, width: int) -> list[tuple[str, str]]:
    """Describe an event in a line of its own; most events have none."""
    match event:
        case Retrying():
            return [(f"trying again in {event.wait:.1f} s: {one_line(event.reason)}", "dim")]
        case ReplyRepaired(what):
            return [(f"repaired: {one_line(what)}", "dim")]
        case ModelPreparing(what):
            return [(f"preparing: {one_line(what)}", "dim")]
        case RequestAdapted(what):
            return [(f"adapted: {one_line(what)}", "dim")]
        case LimitWarning(limit, used, most) if used < most:  # a limit that is reached is reported at the end
            return [(f"near the limit of {limit}: {used:g} of {most:g} are used", "dim")]
        case AgentChanged(_, agent):
            return [(f"handed off to {one_line(agent)}", "dim")]
        case ToolChanged(tool, how):
            return [(f"the tool {one_line(tool)} was {how} since the run was saved", "magenta")]
        case MessageAdded(message):
            return [(f"added: {shortened(message.text, width)}", "dim")]
        case _:
            return []


def describe_end(state: RunState, seconds: float, *, empty: bool = True) -> Iterator[tuple[str, str]]:
    """Describe how a run ended and what it used.

    Args:
        state: The run.
        seconds: How long it took.
        empty: Whether to report an empty answer.
    """
    if empty and state.status == "done" and not state.text:
        yield "the model's answer is empty", "magenta"
    if state.status == "limited":
        yield f"the run ended early: {one_line(state.limit)}", "magenta"
    if state.status == "cancelled":
        yield "interrupted", "magenta"
    if not state.turns:
        return
    denied = {id_ for id_, decision in state.decisions.items() if decision.kind == "deny"}
    count = sum(isinstance(each, ToolMessage) and each.tool_call_id in denied for each in state.messages)
    figures = [plural(state.turns, "turn"), plural(state.calls - count, "call")]
    figures += [f"{count} denied"] if count else []
    yield ", ".join([*figures, usage_text(state.usage), seconds_text(seconds)]), "dim"


def usage_text(usage: Usage) -> str:
    """Write the tokens, and the cost if it is known."""
    about = "about " if usage.estimated_tokens else ""
    tokens = f"{about}{usage.total_tokens:,} tokens" if usage.total_tokens else "tokens not reported"
    return tokens if usage.cost is None else f"{tokens}, cost {usage.cost:.4g}"


def seconds_text(seconds: float) -> str:
    """Write a duration."""
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"
