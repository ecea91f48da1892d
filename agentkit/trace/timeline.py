"""The timeline of runs, from their events in JSON form: what ran when, and inside what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from agentkit.errors import ConfigError
from agentkit.trace.explain import Note, note_of
from agentkit.trace.members import Raw, list_of, name_of, object_of

__all__ = ["Section", "Span", "Timeline", "read_events", "timelines"]

Kind: TypeAlias = Literal["run", "turn", "call"]


_VERSION = 1  # of the format of events
_REASONING = ("reasoning_content", "reasoning", "thoughts")  # where the record of a message stores it


@dataclass(slots=True)
class Section:
    """Something to read: a message, arguments, a result."""

    title: str
    text: str
    images: Sequence[str] = ()


@dataclass(slots=True)
class Span:
    """A run, a turn or a call: when it ran, and what is known about it.

    Attributes:
        kind: What it is.
        name: The agent, the turn or the tool.
        detail: The model that was asked, or the shortened arguments of a call.
        start: Seconds since 1970.
        end: The same; None if it has not ended.
        first: When the first delta of a reply arrived.
        notes: Why something about it was unusual, with the time.
        sections: The texts to read.
        children: The spans nested in it.
        usage: Tokens and cost, by the names of `Usage`.
        key: Two spans of different runs with the same key do the same.
    """

    kind: Kind
    name: str
    start: float
    end: float | None = None
    detail: str = ""
    first: float | None = None
    notes: list[tuple[float, Note]] = field(default_factory=list[tuple[float, Note]])
    sections: list[Section] = field(default_factory=list[Section])
    children: list[Span] = field(default_factory=list["Span"])
    usage: dict[str, Any] = field(default_factory=dict[str, Any])
    key: str = ""
    is_error: bool = False

    def walk(self) -> Iterator[Span]:
        """Yield the span and everything nested in it."""
        yield self
        for each in self.children:
            yield from each.walk()


@dataclass(slots=True)
class Timeline(Span):
    """A run that is not nested in another one, from its start or resumption.

    Attributes:
        run_id: Its id.
        prompt: Its prompt.
        answer: Its last text.
        status: Whether it is running, or how it ended.
        limit: The limit that it reached, in words.
        last: When its last event happened.
    """

    run_id: str = ""
    prompt: str = ""
    answer: str = ""
    status: str = "running"
    limit: str = ""
    last: float = 0.0


def read_events(path: str | Path) -> list[dict[str, Any]]:
    """Read a trace; an incomplete last line is left out.

    Raises:
        ConfigError: The file cannot be read, or is not a trace.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise ConfigError(f"the trace {str(path)!r} cannot be read: {error.strerror}") from None
    events: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line) if line.strip() else None
        except ValueError:
            if number == len(lines) and line.startswith('{"'):  # the rest has not been written yet
                break
            event = ""
        if event is None:
            continue
        if not isinstance(event, dict) or "event" not in event:
            raise ConfigError(f"line {number} of {str(path)!r} is not an event: is this a trace written by --trace?")
        members = cast("dict[str, Any]", event)
        if _number(members.get("version")) > _VERSION:
            raise ConfigError(
                f"{str(path)!r} has events of version {members['version']}, newer than this agentkit reads"
            )
        events.append(members)
    return events


def timelines(events: Iterable[Raw]) -> list[Timeline]:
    """Make the timelines of the runs in the events, in the order in which they start."""
    reader = _Reader()
    for event in events:
        reader.read(event)
    return reader.top


@dataclass(slots=True)
class _OpenRun:
    """A run while its events are read."""

    span: Span
    top: Timeline
    calls: dict[str, Span] = field(default_factory=dict[str, Span])

    @property
    def turn(self) -> Span | None:
        return next((each for each in reversed(self.span.children) if each.kind == "turn"), None)


class _Reader:
    def __init__(self) -> None:
        self.top: list[Timeline] = []
        self._runs: dict[str, _OpenRun] = {}

    def read(self, event: Raw) -> None:
        origin = object_of(event.get("origin"))
        run_id, time = str(origin.get("run_id", "")), _number(origin.get("time"))
        if event["event"] == "RunStarted":
            self._runs[run_id] = self._start(event, origin, run_id, time)
        run = self._runs.get(run_id)
        if run is None:
            return  # from a client without a run, or from a run that began before the file
        run.top.last = max(run.top.last, time)
        if (step := _STEPS.get(event["event"])) is not None:
            step(run, event, time)
        elif event["event"].endswith("Delta") and run.turn is not None:
            _delta(run.turn, event, time)
        if (note := note_of(event)) is not None:
            _noted_span(run, event).notes.append((time, note))

    def _start(self, event: Raw, origin: Raw, run_id: str, time: float) -> _OpenRun:
        state, agent = object_of(event.get("state")), str(origin.get("agent") or "agent")
        outer = self._outer_call(run_id, list(map(str, origin.get("path") or ())))
        messages, prior = list_of(state.get("messages")), int(_number(state.get("prior_messages")))
        before = [replace(each, title=f"before: {each.title}") for each in map(_section, messages[:prior])]
        # The state of an event in memory has all later messages too.
        asked = [_section(each) for each in takewhile(lambda each: each.get("role") != "assistant", messages[prior:])]
        if outer is not None:
            run, call = outer
            span = Span("run", agent, time, sections=[*before, *asked])
            call.children.append(span)
            return _OpenRun(span, run.top)
        made = Timeline("run", agent, time, run_id=run_id, last=time, sections=[*before, *asked])
        made.prompt = next((each.text for each in asked if each.title == "user"), "")
        self.top.append(made)
        return _OpenRun(made, made)

    def _outer_call(self, run_id: str, path: Sequence[str]) -> tuple[_OpenRun, Span] | None:
        """Find the call that a run is nested in, by the run's id or else by the name of the tool."""
        outer, _, call_id = run_id.rpartition(":call:")
        if outer in self._runs and call_id in self._runs[outer].calls:
            return self._runs[outer], self._runs[outer].calls[call_id]
        if path:
            for run in reversed(self._runs.values()):
                for call in reversed(run.calls.values()):
                    if call.name == path[-1] and call.end is None:
                        return run, call
        return None


def _turn_started(run: _OpenRun, event: Raw, time: float) -> None:
    agent = object_of(event.get("origin")).get("agent") or run.span.name
    other = "" if agent == run.span.name else f", {agent}"  # after a hand-off
    run.span.children.append(Span("turn", f"turn {event.get('turn')}{other}", time))


def _delta(turn: Span, event: Raw, time: float) -> None:
    """Add a delta to what is shown of an incomplete reply."""
    if turn.end is not None:
        return
    turn.first = turn.first or time
    title = {"TextDelta": "assistant, so far", "ReasoningDelta": "reasoning, so far"}.get(event["event"])
    if title:
        if not turn.sections or turn.sections[-1].title != title:
            turn.sections.append(Section(title, ""))
        turn.sections[-1].text += str(event.get("text", ""))


def _turn_finished(run: _OpenRun, event: Raw, time: float) -> None:
    turn, reply = run.turn, object_of(event.get("reply"))
    if turn is None:
        return
    choice = next(iter(list_of(reply.get("choices"))), object_of(None))
    message = object_of(choice.get("message"))
    turn.end, turn.usage = time, _usage_of(reply)
    turn.detail = str(reply.get("model") or "")
    section = _section(message)
    turn.sections = [
        Section(title, text)
        for title, text in (
            ("reasoning", next(filter(None, map(message.get, _REASONING)), "")),
            ("refusal", message.get("refusal")),
            ("adaptations", "\n".join(reply.get("adaptations") or ())),
            ("finish reason", choice.get("finish_reason")),
        )
        if text and isinstance(text, str)
    ]
    if section.text or section.images:
        turn.sections.insert(0, section)
    calls = list_of(message.get("tool_calls"))
    for call in calls:
        turn.sections.append(Section(f"call of {name_of(call)}", _arguments_of(call)))
    turn.key = json.dumps(["turn", [[name_of(each), _arguments_of(each)] for each in calls]])
    if run.span is run.top and not calls:
        run.top.answer = section.text


def _call_started(run: _OpenRun, event: Raw, time: float) -> None:
    call = object_of(event.get("call"))
    span = Span("call", name_of(call), time, sections=[Section("arguments", _arguments_of(call))])
    span.key = json.dumps(["call", span.name, span.sections[0].text])
    span.detail = _in_short(call)
    run.calls[str(call.get("id"))] = span
    run.span.children.append(span)


def _call_finished(run: _OpenRun, event: Raw, time: float) -> None:
    span = run.calls.get(str(object_of(event.get("call")).get("id")))
    if span is None:
        return
    result, error = object_of(event.get("result")), object_of(event.get("error"))
    span.end, span.is_error = time, bool(result.get("is_error"))
    span.sections.append(Section("result", _pretty(str(result.get("content", ""))), _images(result.get("files"))))
    if error:
        span.sections.append(Section("exception", f"{error.get('type')}: {error.get('message')}"))


def _run_finished(run: _OpenRun, event: Raw, time: float) -> None:
    state = object_of(event.get("state"))
    status = str(state.get("status", "done"))
    run.span.end = time
    for each in run.span.walk():
        each.end = time if each.end is None else each.end
    run.span.usage, run.span.is_error = _usage_of(state), status == "failed"
    run.span.usage["turns"], run.span.usage["calls"] = state.get("turns", 0), state.get("calls", 0)
    if run.span is run.top:
        run.top.status, run.top.limit = status, str(state.get("limit") or "")


_STEPS: dict[str, Callable[[_OpenRun, Raw, float], None]] = {
    "TurnStarted": _turn_started,
    "TurnFinished": _turn_finished,
    "CallStarted": _call_started,
    "CallFinished": _call_finished,
    "RunFinished": _run_finished,
}


def _noted_span(run: _OpenRun, event: Raw) -> Span:
    """Return the span that a note is about: the call, the turn it happened in, or the run."""
    if event["event"] == "RunFinished":
        return run.span
    id_ = event.get("call_id") or object_of(event.get("call")).get("id")
    return run.calls.get(str(id_)) or run.turn or run.span


def _section(message: Raw) -> Section:
    content = message.get("content")
    title = str(message.get("role", "message"))
    if isinstance(content, str) or content is None:
        return Section(title, content or "")
    parts = list_of(content)
    texts = [str(each.get("text", "")) if each.get("type") == "text" else f"[{each.get('type')}]" for each in parts]
    return Section(title, "\n".join(texts), _images(parts))


def _usage_of(members: Raw) -> dict[str, Any]:
    usage = object_of(members.get("usage"))
    return {name: value for name, value in usage.items() if value is None or isinstance(value, int | float)}


def _images(parts: Any) -> list[str]:
    """Return the embedded images; a page loads none from elsewhere."""
    found: list[str] = []
    for part in list_of(parts):
        url = object_of(part.get("image_url")).get("url")
        if isinstance(url, str) and url.startswith(("data:image/png;", "data:image/jpeg;", "data:image/webp;")):
            found.append(url)
    return found


def _arguments_of(call: Raw) -> str:
    if call.get("malformed"):
        return str(call["malformed"])
    if call.get("custom"):
        return str(object_of(call["custom"]).get("input", ""))
    return _pretty(str(object_of(call.get("function")).get("arguments", "")))


def _in_short(call: Raw) -> str:
    """Return the beginning of each argument's value."""
    try:
        values = json.loads(object_of(call.get("function")).get("arguments", ""))
    except (TypeError, ValueError, RecursionError):
        return _arguments_of(call)[:80]
    return ", ".join(str(each)[:60] for each in object_of(values).values())[:120]


def _pretty(text: str) -> str:
    """Indent JSON; return anything else unchanged."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
