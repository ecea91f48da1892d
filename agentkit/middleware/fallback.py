"""`Fallback`: another model answers where one cannot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from agentkit import errors
from agentkit.chat.client import open_model
from agentkit.chat.events import (
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Retrying,
    TextDelta,
)
from agentkit.chat.messages import AssistantMessage, UserMessage
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest
from agentkit.errors import ConfigError, ModelError
from agentkit.middleware.words import named
from agentkit.run.middleware import Middleware, ModelTurn, NextModel

__all__ = ["UNAVAILABLE", "Fallback", "ModelFallback", "Shown"]

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
        if isinstance(event, Retrying | RequestAdapted):
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


UNAVAILABLE: tuple[type[errors.ModelError], ...] = (  # after these errors another model may do better
    errors.ConnectionFailed, errors.DeadlineExceeded, errors.IncompleteReply, errors.InvalidReply,
    errors.AuthenticationFailed, errors.NotFound, errors.RateLimited, errors.QuotaExceeded, errors.Overloaded,
    errors.ContextTooLong,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelFallback(Event):
    """A model ``failed`` and the ``next`` is asked; pieces emitted before are void unless it ``continues`` the text."""

    failed: str
    next: str
    error: errors.ModelError
    continues: bool


class Fallback(Middleware):
    """Asks the next model when one gives no reply; when none does, the last error is raised, with notes of the others.

    Args:
        *models: Names or `Model` objects, to be asked in this order after the agent's own.
        on: The errors after which the next is asked; by default those of `UNAVAILABLE`.
        after_shown: What to do if a stream has shown pieces already: ``"raise"`` raises the error, ``"continue"`` has
            the next model go on from the text, unless anything else was shown.
    """

    def __init__(
        self,
        *models: str | Model,
        on: tuple[type[errors.ModelError], ...] = UNAVAILABLE,
        after_shown: Literal["raise", "continue"] = "raise",
    ) -> None:
        _check_fallback(models, on, after_shown)
        self._models = [(each, open_model(each)) if isinstance(each, str) else (named(each), each) for each in models]
        self._on, self._continues = on, after_shown == "continue"

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        request, emit = turn.request, turn.emit
        shown, notes = Shown(emit, streamed=request.stream), list[str]()
        models = [(named(turn.model), turn.model), *self._models]
        while True:
            name, model = models.pop(0)
            try:
                return shown.joined(await inner(replace(turn, model=model, request=shown.ahead(request), emit=shown)))
            except errors.AgentKitError as error:
                for note in notes:
                    error.add_note(note)
                next_may = shown.leave(text_stays=self._continues)
                if not models or not isinstance(error, self._on) or not next_may:
                    if isinstance(error, errors.ModelError):
                        error.partial = shown.text or error.partial
                    raise
                notes.append(f"before that, {name} failed: {type(error).__name__}: {error}")
                emit(ModelFallback(name, models[0][0], error, continues=bool(shown.text)))

    async def aclose(self) -> None:
        """Close what the models hold open in this event loop."""
        for _, model in self._models:
            if (close := getattr(model, "aclose", None)) is not None:
                await close()


def _check_fallback(models: tuple[object, ...], on: object, after_shown: object) -> None:
    """Refuse what can neither be asked nor be raised by a model."""
    if not models:
        raise ConfigError('Fallback() has no model to ask: write Fallback("endpoint:model")')
    for each in models:
        if not isinstance(each, str | Model):
            raise ConfigError(f"Fallback takes names of models and objects with a method reply, not {each!r:.80}")
    errors = cast("tuple[object, ...]", on) if isinstance(on, tuple) else (on,)
    if not isinstance(on, tuple) or not all(isinstance(each, type) and issubclass(each, ModelError) for each in errors):
        raise ConfigError(f"Fallback(on=...) is a tuple of ModelErrors, for example (RateLimited,), not {on!r:.80}")
    if after_shown not in ("raise", "continue"):
        raise ConfigError(f'Fallback(after_shown={after_shown!r:.80}): must be "raise" or "continue"')
