"""`Window`: the newest part of a transcript."""

from __future__ import annotations

import math

from agentkit.chat.request import ChatRequest
from agentkit.chat.tokens import size_around, size_of_messages, size_of_text
from agentkit.compaction.base import Shorter, View, check_least
from agentkit.compaction.layout import Bounds, Layout
from agentkit.errors import ConfigError
from agentkit.run.middleware import ModelTurn, NextModel

__all__ = ["LEFT_OUT", "Window", "room_for_units"]

LEFT_OUT = "[Earlier messages of this conversation were left out here, as it became too long.]"


class Window(View):
    """Sends the newest exchanges; what is older is left out, with a short note in its place.

    Instructions always stay, and so does the question that is being answered, whatever its age. When there is too much,
    a half is left out at once, so that requests begin with the same messages until there is too much again: prompt
    caches live on that. Without ``exchanges`` and ``tokens`` it waits until the model refuses a request as too long.

    Args:
        exchanges: Most exchanges to send: questions of the user with all that came of them.
        tokens: Most tokens of a request, tools and instructions counted; estimated, see `agentkit.compaction.size`.
        keep: What stays of ``exchanges`` or ``tokens`` when there is too much, from 0 to 1.

    Raises:
        ConfigError: A number is out of its limits.
    """

    def __init__(self, *, exchanges: int | None = None, tokens: int | None = None, keep: float = 0.5) -> None:
        check_least("Window", exchanges=(exchanges, 1), tokens=(tokens, 1))
        if not isinstance(keep, int | float) or not 0 < keep < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"Window(keep={keep!r:.80}): must be between 0 and 1, for example 0.5")
        super().__init__(tokens)
        self._exchanges, self._keep = exchanges, keep

    async def shorten(self, turn: ModelTurn, room: float, inner: NextModel) -> Shorter | None:  # noqa: ARG002
        """The instructions, a note and the newest turns; or within a very long turn, its question and newest calls."""
        if room == math.inf and self._exchanges is None:
            return None
        layout = Layout(turn.request.messages)
        most = Bounds(room_for_units(turn.request, layout, room) - size_of_text(LEFT_OUT), self._exchanges)
        goal = Bounds((most.tokens or 0) * self._keep, self._exchanges and max(1, int(self._exchanges * self._keep)))
        cut = layout.cut(most, goal)
        if not cut or not layout.left_out(cut):
            return None
        return Shorter(messages=layout.view(cut, LEFT_OUT), left_out=layout.left_out(cut))


def room_for_units(request: ChatRequest, layout: Layout, room: float) -> float:
    """What tools and instructions leave of the room."""
    return room - size_around(request) - size_of_messages(request.messages[: layout.head])
