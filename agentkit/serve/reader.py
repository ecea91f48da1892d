"""Turn the events of a run, or of one request to a model, into what is sent to a client."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from agentkit import RunResult, RunState, TextDelta, Usage
from agentkit.chat import Reply
from agentkit.events import (
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    DeltasDiscarded,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TurnFinished,
)
from agentkit.messages import AssistantMessage
from agentkit.serve.completion import Answer, Part, audio_to_wire, call_to_wire, logprobs_to_wire, used_since
from agentkit.serve.conversation import call_id
from agentkit.serve.errors import ApiError
from agentkit.serve.events import event_to_json, summary

__all__ = ["GatewayReader", "RunReader"]

_DELTAS = (CallDelta, ReasoningDelta, TextDelta)


class _Text:
    """Sends the text of an answer to a client, which cannot take anything back.

    Args:
        answer: Receives the text.
        streams: Whether the client reads the text as it is written.
        takes_back: Whether the client can take text back.
    """

    def __init__(self, answer: Answer, *, streams: bool, takes_back: bool) -> None:
        self._answer = answer
        self._is_final = streams and not takes_back
        self._start = 0  # of the turn, among the strings of the answer
        self._resent = ""  # text of the turn that was sent and arrives again

    def begin_turn(self) -> None:
        """Begin another text, after a blank line."""
        self._start, self._resent = len(self._answer.text), ""

    @property
    def of_turn(self) -> str:
        """The text of the turn so far."""
        return "".join(self._answer.text[self._start :]).removeprefix("\n\n" if self._start else "")

    def discard(self) -> None:
        """Take back the text of the turn, or check that the new text begins in the same way."""
        if self._is_final:
            self._resent = self.of_turn
        else:
            del self._answer.text[self._start :]

    def end_turn(self, text: str) -> Iterator[Part]:
        """Check that the whole text of the turn was sent.

        Raises:
            ApiError: The client has read something else already.
        """
        yield from self.send(_rest(text, self.of_turn) if not self._resent else "")
        if self._resent:
            raise _interrupted()

    def send(self, text: str) -> Iterator[Part]:
        """Send more text.

        Raises:
            ApiError: The client has read something else already.
        """
        if self._resent:
            known, self._resent = self._resent, self._resent[len(text) :]
            if not (known.startswith(text) or text.startswith(known)):
                raise _interrupted()
            text = text[len(known) :]
        if text:
            begins = self._start and len(self._answer.text) == self._start
            yield self._answer.add(Part(f"\n\n{text}" if begins else text))


class RunReader:
    """Reads the events of a run.

    Args:
        answer: Receives what is sent to the client.
        tools: The names of the tools that belong to the client.
        before: The usage of the run before this request.
        streams: Whether the client reads the answer as it is created.
        events: Whether the client wants the events.
        holds: Whether the text is sent only at the end, because earlier text would not be part of the output.
        logprobs: Whether the client wants log probabilities.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        tools: Collection[str] = (),
        before: Usage | None = None,
        streams: bool = False,
        events: bool = False,
        holds: bool = False,
        logprobs: bool = False,
    ) -> None:
        self.answer = answer
        self._tools, self._before = tools, before or Usage()
        self._streams, self._events, self._holds, self._logprobs = streams, events, holds, logprobs
        self._text = _Text(answer, streams=streams, takes_back=events)
        self._turn = 0
        self._held = ""

    def feed(self, event: Event) -> Iterator[Part]:
        """Yield what to send for an event."""
        is_own = event.origin is None or not event.origin.path
        if is_own:
            yield from self._own(event)
        is_sent = (is_own and isinstance(event, TextDelta)) or (isinstance(event, _DELTAS) and not self._streams)
        if self._events and not is_sent:
            yield self.answer.add(Part(event=event_to_json(event)))

    def read(self, event: Event) -> None:
        """Read an event for an answer that is sent whole."""
        for _ in self.feed(event):
            pass

    def _own(self, event: Event) -> Iterator[Part]:
        turn = event.origin.turn if event.origin else 0
        if turn != self._turn and isinstance(event, TextDelta | RefusalDelta | AudioDelta | TurnFinished):
            self._turn, self._held = turn, ""
            self._text.begin_turn()
        match event:
            case TextDelta() if self._holds:
                self._held += event.text
            case TextDelta():
                yield from self._text.send(event.text)
            case DeltasDiscarded():
                self._held = ""
                self._text.discard()
            case RefusalDelta():
                yield self.answer.add(Part(delta={"refusal": event.text}))
            case AudioDelta():
                yield self.answer.add(Part(delta={"audio": audio_to_wire(event.data, event.transcript)}))
            case TurnFinished():
                yield from self._end_turn(event.reply)
            case _:
                pass

    def _end_turn(self, reply: Reply) -> Iterator[Part]:
        self.answer.reply = reply
        message = reply.message
        if self._holds:
            self._held = message.text if message.content else ""
        else:
            yield from self._text.end_turn(message.text if message.content else "")
        yield from _of_message(self.answer, message, logprobs_to_wire(reply.choices[0]) if self._logprobs else None)

    def end(self, result: RunResult[Any]) -> Iterator[Part]:
        """Yield the end of the answer."""
        state = result.state
        self.answer.usage = used_since(result.usage, self._before)
        calls = list(self._calls(state))
        yield from self._output(result)
        for index, call in enumerate(calls):
            yield self.answer.add(Part(delta={"tool_calls": [{**call, "index": index}]}))
        waits = len(calls) < len(state.pending)
        if waits and not self._events:
            yield from self._say_what_waits(state)
        extension = summary(state) if waits or self._events else None
        if extension is not None and calls:
            brought = {each.id for each in state.pending if self._is_brought(each.name, each.path)}
            extension["pending"] = [each for each in extension["pending"] if each["id"] not in brought]
        yield self.answer.add(
            Part(delta={}, finish_reason=self._finish_reason(state, has_calls=bool(calls)), extension=extension)
        )

    def refuse(self, usage: Usage) -> Iterator[Part]:
        """Yield the end of a refused answer."""
        self.answer.usage = used_since(usage, self._before)
        yield self.answer.add(Part(delta={}, finish_reason="stop"))

    def _output(self, result: RunResult[Any]) -> Iterator[Part]:
        """Yield the part of the output that has not been sent."""
        output = result.output_or_none
        if self._holds:
            text = self._held if output is None or isinstance(output, str) else to_json(output, fallback=str).decode()
            yield from self._text.send(text)
        elif isinstance(output, str) and output != self._text.of_turn:  # of a tool that ends the run
            self._text.begin_turn()
            yield from self._text.send(output)

    def _is_brought(self, name: str, path: tuple[str, ...]) -> bool:
        return not path and name in self._tools

    def _calls(self, state: RunState) -> Iterator[dict[str, Any]]:
        """Return the calls for the client to run."""
        waiting = {each.id for each in state.pending if each.external and self._is_brought(each.name, each.path)}
        replies = [each for each in state.messages if isinstance(each, AssistantMessage)] if waiting else []
        for place, call in enumerate(replies[-1].tool_calls if replies else ()):
            if call.id in waiting:
                yield call_to_wire(call, call_id(state.run_id, state.turns, place), 0)

    def _say_what_waits(self, state: RunState) -> Iterator[Part]:
        """Say in words what the run waits for, for people whose client cannot show it."""
        waiting = [each for each in state.pending if not self._is_brought(each.name, each.path)]
        lines = [f"- {each.name} {to_json(each.arguments, fallback=str).decode()}: {each.reason}" for each in waiting]
        self._text.begin_turn()
        yield from self._text.send("\n".join(["This waits for a decision:", *lines]))

    def _finish_reason(self, state: RunState, *, has_calls: bool) -> str:
        if has_calls:
            return "tool_calls"
        reason = self.answer.reply.finish_reason if self.answer.reply else None
        if state.status == "limited":
            return reason if reason in ("length", "content_filter") else "stop" if self.answer.text else "length"
        return "stop"


def _interrupted() -> ApiError:
    said = "The model's answer was interrupted and began again with other words: ask again."
    return ApiError(502, said, code="stream_interrupted")


def _rest(whole: str, sent: str) -> str:
    return whole[len(sent) :] if whole.startswith(sent) else ""


def _of_message(answer: Answer, message: AssistantMessage, logprobs: Mapping[str, Any] | None) -> Iterator[Part]:
    """Yield what only the finished message has, and anything that had no deltas."""
    if rest := _rest(message.refusal or "", answer.refusal):
        yield answer.add(Part(delta={"refusal": rest}))
    if message.annotations:
        yield answer.add(Part(delta={"annotations": [each.to_wire() for each in message.annotations]}))
    if message.audio is not None:
        sound = message.audio
        delta: dict[str, Any] = {"id": sound.id, "expires_at": sound.expires_at}
        if answer.audio is None:
            delta |= audio_to_wire(sound.data, sound.transcript)
        yield answer.add(Part(delta={"audio": delta}))
    if logprobs is not None:
        yield answer.add(Part(delta={}, logprobs=logprobs))


class GatewayReader:
    """Reads the events of one request to a model, for a gateway.

    Args:
        streams: Whether the client reads the answers while they are made.
        logprobs: Whether the client wants log probabilities.
        custom: The names of the custom tools, whose calls chunks cannot express in parts.
    """

    def __init__(self, *, streams: bool, logprobs: bool, custom: Collection[str] = ()) -> None:
        self.answers: dict[int, Answer] = {}
        self._custom = custom
        self._texts: dict[int, _Text] = {}
        self._streams, self._logprobs = streams, logprobs
        self._names: dict[tuple[int, int], str] = {}

    def feed(self, event: Event) -> Iterator[tuple[int, Part]]:
        """Yield what an event means to the client.

        Raises:
            ApiError: The client has already read text that the model takes back.
        """
        index, delta = (event.choice, event.delta) if isinstance(event, ChoiceDelta) else (0, event)
        if isinstance(delta, DeltasDiscarded):
            self._discard()
            return
        for part in self._parts(self._answer(index), index, delta):
            yield index, part

    def read(self, event: Event) -> None:
        """Read an event for an answer that is sent whole."""
        for _ in self.feed(event):
            pass

    def end(self, reply: Reply) -> Iterator[tuple[int, Part]]:
        """Yield the end of each answer, and anything that had no deltas."""
        for index, choice in enumerate(reply.choices):
            answer, message = self._answer(index), choice.message
            answer.reply = reply
            for part in self._texts[index].end_turn(message.text if message.content else ""):
                yield index, part
            if message.reasoning and (rest := _rest(message.reasoning, answer.reasoning)):
                yield index, answer.add(Part(delta={"reasoning_content": rest}))
            for place, call in enumerate(message.tool_calls):
                if place not in answer.calls:
                    yield index, answer.add(Part(delta={"tool_calls": [call_to_wire(call, call.id, place)]}))
            logprobs = logprobs_to_wire(choice) if self._logprobs else None
            for part in _of_message(answer, message, logprobs):
                yield index, part
            reason = choice.finish_reason
            if message.tool_calls and reason not in ("length", "content_filter"):
                reason = "tool_calls"
            known = reason if reason in ("length", "tool_calls", "content_filter", "function_call") else "stop"
            yield index, answer.add(Part(delta={}, finish_reason=known))
        self.answers[0].usage = reply.usage

    def _answer(self, index: int) -> Answer:
        if index not in self.answers:
            self.answers[index] = Answer(index)
            self._texts[index] = _Text(self.answers[index], streams=self._streams, takes_back=False)
        return self.answers[index]

    def _parts(self, answer: Answer, index: int, delta: Event) -> Iterator[Part]:
        match delta:
            case TextDelta():
                yield from self._texts[index].send(delta.text)
            case ReasoningDelta():
                yield answer.add(Part(delta={"reasoning_content": delta.text}))
            case RefusalDelta():
                yield answer.add(Part(delta={"refusal": delta.text}))
            case AudioDelta():
                yield answer.add(Part(delta={"audio": audio_to_wire(delta.data, delta.transcript)}))
            case CallDelta() if self._streams:
                if self._names.setdefault((index, delta.index), delta.name) not in self._custom:
                    yield answer.add(
                        Part(delta={"tool_calls": [_call_delta(delta, begins=delta.index not in answer.calls)]})
                    )
            case _:
                pass

    def _discard(self) -> None:
        for index, answer in self.answers.items():
            if self._streams and (answer.calls or answer.reasoning or answer.refusal or answer.audio):
                raise _interrupted()
            self._texts[index].discard()
            if not self._streams:
                answer.reasoning = answer.refusal = ""
                answer.audio = None


def _call_delta(delta: CallDelta, *, begins: bool) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": delta.arguments}
    if not begins:
        return {"index": delta.index, "function": function}
    named = {"name": delta.name, **function}
    return {"index": delta.index, "id": delta.call_id, "type": "function", "function": named}
