"""What `Fallback` stands on: an ``emit`` that knows what was shown of an answer."""

from __future__ import annotations

from dataclasses import replace

from agentkit.chat.events import (
    Adapted,
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    Retrying,
    TextDelta,
)
from agentkit.chat.messages import AssistantMessage, UserMessage
from agentkit.chat.reply import Reply
from agentkit.chat.request import ChatRequest

__all__ = ["Shown"]

_NOTE = "Your answer was cut off. Go on exactly where it stops. Repeat nothing, and say nothing about this."


class Shown:
    """Passes events on and keeps what was shown of an answer that several models may write, one after the other.

    Attributes:
        text: What models that failed have written and the next goes on from.
    """

    def __init__(self, emit: Emit, *, streamed: bool) -> None:
        self._emit, self._streamed = emit, streamed
        self._pieces: list[Event] = []  # of the model that writes now
        self.text = ""

    def __call__(self, event: Event) -> None:  # noqa: D102
        if isinstance(event, Retrying | Adapted):
            if self.text and not self._pieces:
                return  # it says that pieces are void, but those that are shown are of another model, and stay
            self._pieces.clear()
        elif isinstance(event, _PIECES):
            self._pieces.append(event)
        self._emit(event)

    def leave(self, *, text_stays: bool) -> bool:
        """The model has failed; says whether the next may be asked.

        It may if nothing was shown. If only text was shown, which stays, it may if it is to go on from there.
        """
        pieces, self._pieces = self._pieces, []
        if not self._streamed or not (pieces or self.text):
            return True
        self.text += "".join(each.text for each in pieces if isinstance(each, TextDelta))
        return text_stays and all(isinstance(each, TextDelta | ReasoningDelta) for each in pieces)

    def ahead(self, request: ChatRequest) -> ChatRequest:
        """The request for a model that goes on."""
        if not self.text:
            return request
        return replace(request, messages=[*request.messages, AssistantMessage(self.text), UserMessage(_NOTE)])

    def joined(self, reply: Reply) -> Reply:
        """The reply with all that was shown before it."""
        if not self.text:
            return reply
        first = reply.choices[0]
        message = replace(first.message, content=self.text + first.message.text)
        return replace(reply, choices=(replace(first, message=message), *reply.choices[1:]))


_PIECES = (TextDelta, ReasoningDelta, RefusalDelta, AudioDelta, CallDelta, ChoiceDelta)
