"""`Fallback`: another model answers where one cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentkit import errors
from agentkit.chat.client import open_model
from agentkit.chat.events import Emit, Event
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest
from agentkit.middleware.checks import check_fallback
from agentkit.middleware.shown import Shown
from agentkit.middleware.words import named
from agentkit.run.middleware import Middleware, NextModel, model_of

__all__ = ["UNAVAILABLE", "Fallback", "FallenBack"]

UNAVAILABLE: tuple[type[errors.ModelError], ...] = (  # after these errors another model may do better
    errors.ConnectionFailed, errors.DeadlineExceeded, errors.IncompleteReply, errors.InvalidReply,
    errors.AuthenticationFailed, errors.NotFound, errors.RateLimited, errors.QuotaExceeded, errors.Overloaded,
    errors.ContextTooLong,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FallenBack(Event):
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
        check_fallback(models, on, after_shown)
        self._models = [(each, open_model(each)) if isinstance(each, str) else (named(each), each) for each in models]
        self._on, self._continues = on, after_shown == "continue"

    async def around_model(self, request: ChatRequest, emit: Emit, inner: NextModel) -> Reply:  # noqa: D102
        shown, notes = Shown(emit, streamed=request.stream), list[str]()
        asks = [(named(model_of(inner)), inner), *((name, model.reply) for name, model in self._models)]
        while True:
            name, ask = asks.pop(0)
            try:
                return shown.joined(await ask(shown.ahead(request), shown))
            except errors.AgentKitError as error:
                for note in notes:
                    error.add_note(note)
                next_may = shown.leave(text_stays=self._continues)
                if not asks or not isinstance(error, self._on) or not next_may:
                    if isinstance(error, errors.ModelError):
                        error.partial = shown.text or error.partial
                    raise
                notes.append(f"before that, {name} failed: {type(error).__name__}: {error}")
                emit(FallenBack(name, asks[0][0], error, continues=bool(shown.text)))

    async def aclose(self) -> None:
        """Close what the models hold open in this event loop."""
        for _, model in self._models:
            if (close := getattr(model, "aclose", None)) is not None:
                await close()
