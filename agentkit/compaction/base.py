"""What all views have in common: how much a request may hold, what a refusal teaches, and who is told.

Views lie inside each other, the gentlest outermost. A request passes them from the outside in. When the model refuses
it as too long, the error goes to the outermost first, so that the gentlest is again the one that may shorten first;
what it cannot help with, it hands on inward.
"""

from __future__ import annotations

import math
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from agentkit.chat.events import Emit, Event
from agentkit.chat.messages import Message
from agentkit.chat.reply import Model, Reply, Usage
from agentkit.chat.settings import ChatSettings
from agentkit.chat.tokens import size_of_request
from agentkit.compaction.calibration import Scale, prompt_tokens
from agentkit.errors import ConfigError, ContextTooLong
from agentkit.run.middleware import Middleware, ModelTurn, NextModel, NextRun, Run
from agentkit.run.state import RunState

__all__ = ["HistoryShortened", "Memory", "Shorter", "View", "check_least"]

T = TypeVar("T")

_TRIES = 3  # requests that a view sends because the one before was too long
_MODELS = 100  # of which a view knows something
_MARGIN = 0.95  # of the limit that a server told, as sizes are estimates
_SHRINK = 0.75  # of a request that was refused without numbers


@dataclass(frozen=True, slots=True)
class HistoryShortened(Event):
    """The model gets less than the whole transcript: told when a run first comes to that, and whenever it changes.

    Attributes:
        by: The view that shortens.
        messages: How many messages it leaves out, or how many it clears.
        before: The tokens of the request as it came, estimated.
        after: The tokens of what is passed on.
        problem: Why there is no summary, if there is to be one.
    """

    by: str
    messages: int
    before: int
    after: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shorter:
    """What a view makes of a request: the messages to pass on, how many are not whole, and the tokens it took."""

    messages: list[Message]
    left_out: int
    usage: Usage = Usage()
    problem: str = ""


class Memory(Generic[T]):
    """The last so many values by key; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[object, T] = {}
        self._lock = threading.Lock()

    def get(self, key: object) -> T | None:
        """The value, which thereby becomes the newest."""
        with self._lock:
            if key not in self._values:
                return None
            value = self._values[key] = self._values.pop(key)
            return value

    def put(self, key: object, value: T) -> None:
        """Keep a value; the oldest may go for it."""
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                del self._values[next(iter(self._values))]


@dataclass(slots=True)
class _Asking:
    """A request on its way inward: what a view tells those inside it, and they it."""

    first: bool = True  # it wants to hear first of a request that is too long
    failed: ContextTooLong | None = None  # it could not help, and they are to take this for the answer to their request
    inside: int = 0  # how many views are inside it
    sent: int = 0  # the size of what left the innermost view
    counted: int = 0  # the tokens that the server counted of it


@dataclass(slots=True)
class _Known:
    """What is known of a model, which is held so that its id, the key of this, stays its own."""

    model: Model | None
    scale: Scale = field(default_factory=Scale)
    limit: float = math.inf

    def room(self, tokens: float, settings: ChatSettings) -> float:
        """The estimated tokens that a request may have, with room for the reply in a limit that was learned."""
        reply = settings.max_completion_tokens or settings.max_tokens or 0
        learned = max(self.limit * _MARGIN - reply, self.limit / 4)
        return min(tokens, learned) / self.scale.factor

    def learn(self, error: ContextTooLong, sent: int) -> None:
        """Take note that a request of this size was too long."""
        if error.got or (error.limit or 0) > sent * self.scale.factor:
            self.scale.learn(sent, error.got or error.limit or 0, at_once=True)
        refused = sent * self.scale.factor
        limit = error.limit or math.inf
        self.limit = min(self.limit, limit if limit * _MARGIN < refused else refused * _SHRINK)


_ASKING: ContextVar[_Asking | None] = ContextVar("agentkit_views_asking", default=None)
_TOLD: ContextVar[dict[int, int] | None] = ContextVar("agentkit_views_told", default=None)


class View(Middleware):
    """Passes on a shorter request when the whole one is too long; the transcript of the run stays as it is.

    An object can serve any number of runs, event loops and threads at the same time. What it learns is kept by model.
    """

    def __init__(self, tokens: int | None = None) -> None:
        self._tokens = math.inf if tokens is None else tokens
        self._known = Memory[_Known](_MODELS)

    async def shorten(self, turn: ModelTurn, room: float, inner: NextModel) -> Shorter | None:
        """What to pass on so that a request takes at most ``room`` estimated tokens; None for all of it."""
        raise NotImplementedError

    async def around_run(self, run: Run[Any], inner: NextRun) -> RunState:  # noqa: ARG002
        """A run of its own, also if a tool of another run has started it."""
        told, asking = _TOLD.set({}), _ASKING.set(None)
        try:
            return await inner()
        finally:
            _ASKING.reset(asking)
            _TOLD.reset(told)

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:
        """Ask with what fits, and with less when the model says that it does not."""
        outer = _ASKING.get() or _Asking(first=False)
        asking = _Asking(inside=max(0, outer.inside - 1), sent=outer.sent)
        token = _ASKING.set(asking)
        try:
            return await self._ask(turn, inner, asking, outer)
        finally:
            _ASKING.reset(token)
            outer.inside, outer.sent, outer.counted = asking.inside + 1, asking.sent, asking.counted

    async def _ask(self, turn: ModelTurn, inner: NextModel, asking: _Asking, outer: _Asking) -> Reply:
        request, emit = turn.request, turn.emit
        known = self._known_of(turn.model)
        spent, tries = Usage(), 0
        failed, outer.failed = outer.failed, None
        while True:
            if failed is not None:
                if outer.first:
                    raise failed
                known.learn(failed, asking.sent)
            shorter = await self.shorten(turn, known.room(self._tokens, request.settings), inner)
            passed = request if shorter is None else replace(request, messages=shorter.messages)
            spent = spent if shorter is None else spent + shorter.usage
            size = size_of_request(passed)
            if failed is not None and (size >= asking.sent or tries > _TRIES):
                if not asking.inside:
                    raise failed
                asking.first, asking.failed = False, failed
            else:
                asking.sent, asking.counted = size, 0
            if shorter is not None:
                self._tell(emit, shorter, size_of_request(request), size, known.scale.factor)
            try:
                reply = await inner(replace(turn, request=passed))
            except ContextTooLong as error:
                if not asking.first:
                    raise
                failed, tries = error, tries + 1
            else:
                return _counted(reply, known, asking, spent)

    def _known_of(self, model: Model) -> _Known:
        known = self._known.get(id(model))
        if known is None:
            known = _Known(model)
            self._known.put(id(model), known)
        return known

    def _tell(self, emit: Emit, shorter: Shorter, before: int, after: int, factor: float) -> None:
        told = _TOLD.get()
        if told is not None:
            if told.get(id(self)) == shorter.left_out and not shorter.problem:
                return
            told[id(self)] = shorter.left_out
        tokens = round(before * factor), round(after * factor)
        emit(HistoryShortened(type(self).__name__, shorter.left_out, *tokens, shorter.problem))


def check_least(view: str, **values: tuple[int | None, int]) -> None:
    """Refuse what is no number, or too small: each comes with the least that it may be. Only ``keep`` may not be None.

    Raises:
        ConfigError: One is.
    """
    for name, (value, least) in values.items():
        if value is None and name != "keep":
            continue
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{view}({name}={value!r:.80}): must be a whole number, at least {least}")


def _counted(reply: Reply, known: _Known, asking: _Asking, spent: Usage) -> Reply:
    """The reply, with what was spent for it besides; how its request was counted is remembered."""
    if not asking.inside:
        asking.counted = prompt_tokens(reply.usage)
    known.scale.learn(asking.sent, asking.counted)
    return replace(reply, usage=spent + reply.usage) if spent != Usage() else reply
