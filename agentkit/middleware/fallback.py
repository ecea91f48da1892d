"""`Fallback`: another model answers if one cannot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast

from agentkit import errors
from agentkit.chat import ChatRequest, Model, Reply, open_model
from agentkit.errors import AgentKitError, ConfigError, MissingKey, ModelError
from agentkit.events import (
    AudioDelta,
    CallDelta,
    ChoiceDelta,
    DeltasDiscarded,
    Emit,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from agentkit.messages import AssistantMessage, UserMessage
from agentkit.run import Middleware, ModelTurn, NextModel

__all__ = ["UNAVAILABLE", "Fallback", "ModelFallback"]

UNAVAILABLE: tuple[type[AgentKitError], ...] = (  # errors after which another model may succeed
    MissingKey, errors.ConnectionFailed, errors.DeadlineExceeded, errors.IncompleteReply, errors.InvalidReply,
    errors.AuthenticationFailed, errors.NotFound, errors.RateLimited, errors.QuotaExceeded, errors.Overloaded,
    errors.ContextTooLong,
)  # fmt: skip
AfterShown: TypeAlias = Literal["raise", "discard", "continue"]
_NOTE = "Your answer was interrupted. Continue exactly where it stops. Repeat nothing, and say nothing about this."
_DELTAS = (TextDelta, ReasoningDelta, RefusalDelta, AudioDelta, CallDelta, ChoiceDelta)


@dataclass(frozen=True, slots=True)
class ModelFallback(Event):
    """A model ``failed`` and the ``next`` is asked; it ``continues`` the text that was shown, or starts over.

    Before it starts over, a `DeltasDiscarded` event takes back what was shown.
    """

    failed: str
    next: str
    error: AgentKitError
    continues: bool


class Fallback(Middleware):
    """Asks the next model if one gives no reply. If none does, the last error is raised, with notes about the others.

    Args:
        *models: Names or `Model` objects, to be asked in this order after the agent's own.
        on: The errors after which the next is asked: `ModelError` types and `MissingKey`; by default `UNAVAILABLE`.
        after_shown: What to do if a stream has shown deltas already: ``"raise"`` raises the error; ``"discard"`` takes
            them back with a `DeltasDiscarded` event and asks the next; ``"continue"`` has the next model continue the
            text, and raises if anything but text and reasoning was shown.

    Raises:
        ConfigError: An argument has the wrong type or value.
    """

    def __init__(
        self,
        *models: str | Model,
        on: tuple[type[AgentKitError], ...] = UNAVAILABLE,
        after_shown: AfterShown = "raise",
    ) -> None:
        if not models:
            raise ConfigError('Fallback() has no model to ask: write Fallback("provider:model")')
        for each in models:
            if not isinstance(each, str | Model):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"Fallback takes names of models and objects with a method reply, not {each!r:.80}")
        kinds = cast("tuple[object, ...]", on if isinstance(on, tuple) else (on,))  # pyright: ignore[reportUnnecessaryIsInstance]
        if kinds is not on or not all(isinstance(each, type) and issubclass(each, _MAY_CATCH) for each in kinds):
            raise ConfigError(f"Fallback(on=...) is a tuple of ModelErrors, for example (RateLimited,), not {on!r:.80}")
        if after_shown not in ("raise", "discard", "continue"):
            raise ConfigError(f'Fallback(after_shown={after_shown!r:.80}): must be "raise", "discard" or "continue"')
        self._models = [
            (each, open_model(each)) if isinstance(each, str) else (_name_of(each), each) for each in models
        ]
        self._on = on
        self._after_shown: AfterShown = after_shown

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        answer, notes = _Answer(turn.emit, self._after_shown if turn.request.stream else "discard"), list[str]()
        models = [(_name_of(turn.model), turn.model), *self._models]
        while True:
            name, model = models.pop(0)
            try:
                request = answer.continued(turn.request)
                return answer.joined(await inner(replace(turn, model=model, request=request, emit=answer)))
            except AgentKitError as error:
                for note in notes:
                    error.add_note(note)
                if not models or not isinstance(error, self._on) or not answer.may_go_on():
                    if isinstance(error, ModelError):
                        error.partial = answer.shown() or error.partial
                    raise
                answer.leave()
                notes.append(f"before that, {name} failed: {type(error).__name__}: {error}")
                turn.emit(ModelFallback(name, models[0][0], error, continues=bool(answer.text)))

    async def aclose(self) -> None:
        """Close what the models hold open in this event loop."""
        for _, model in self._models:
            if (close := getattr(model, "aclose", None)) is not None:
                await close()


_MAY_CATCH = (ModelError, MissingKey)


class _Answer:
    """Passes events on and remembers what was shown of an answer that several models may write in turn.

    Attributes:
        text: The text of failed models, which the next one continues.
    """

    def __init__(self, emit: Emit, after_shown: AfterShown) -> None:
        self._emit, self._after_shown = emit, after_shown
        self._deltas: list[Event] = []  # of the current model
        self.text = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, DeltasDiscarded):
            if self.text and not self._deltas:
                return  # the text shown is another model's, and stays
            self._deltas.clear()
            if self.text:  # a reader takes back everything: show again what stays
                self._emit(event)
                self._emit(TextDelta(self.text))
                return
        elif isinstance(event, _DELTAS):
            self._deltas.append(event)
        self._emit(event)

    def shown(self) -> str:
        """The text that was shown and not discarded."""
        return self.text + "".join(each.text for each in self._deltas if isinstance(each, TextDelta))

    def may_go_on(self) -> bool:
        """Return True if another model may still be asked, given what was already shown."""
        if self._after_shown == "continue":
            return all(isinstance(each, TextDelta | ReasoningDelta) for each in self._deltas)
        return self._after_shown == "discard" or not self._deltas

    def leave(self) -> None:
        """Move on from a model that has failed."""
        self.text = self.shown() if self._after_shown == "continue" else ""
        if self._deltas and not self.text:
            self._emit(DeltasDiscarded())
        self._deltas.clear()

    def continued(self, request: ChatRequest) -> ChatRequest:
        """Return the request for a model that continues the text."""
        if not self.text:
            return request
        return replace(request, messages=[*request.messages, AssistantMessage(self.text), UserMessage(_NOTE)])

    def joined(self, reply: Reply) -> Reply:
        """Return the reply, preceded by everything that was shown before it."""
        if not self.text:
            return reply
        first = reply.choices[0]
        message = replace(first.message, content=self.text + first.message.text)
        return replace(reply, choices=(replace(first, message=message), *reply.choices[1:]))


def _name_of(model: Model) -> str:
    """Name a model for people: its repr, or its type if it has no repr of its own."""
    return repr(model) if type(model).__repr__ is not object.__repr__ else type(model).__name__
