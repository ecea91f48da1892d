"""`Window`: the newest part of a conversation."""

from __future__ import annotations

import math

from agentkit.chat import ChatRequest, size_around, size_of_messages, size_of_text
from agentkit.compaction.base import Ask, ShorterRequest, Strategy, check_least
from agentkit.compaction.layout import Bounds, Layout
from agentkit.errors import ConfigError

__all__ = ["LEFT_OUT", "Window", "budget_for_units"]

LEFT_OUT = "[Earlier messages of this conversation were left out here, as it became too long.]"


class Window(Strategy):
    """Sends the newest exchanges; what is older is left out, with a short note in its place.

    Instructions always stay, and so does the question that is being answered, however old it is. When there is too
    much, half of it is left out at once, so that requests begin with the same messages until there is too much again,
    for the sake of prompt caches. Without ``exchanges`` and ``tokens`` it waits until the model refuses a request as
    too long.

    Args:
        exchanges: Most exchanges to send: user messages, each with everything that follows it.
        tokens: Most tokens of a request, tools and instructions included, as estimated.
        keep: The fraction of ``exchanges`` or ``tokens`` that stays when there is too much, between 0 and 1.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(self, *, exchanges: int | None = None, tokens: int | None = None, keep: float = 0.5) -> None:
        check_least("Window", exchanges=(exchanges, 1), tokens=(tokens, 1))
        if not isinstance(keep, int | float) or not 0 < keep < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"Window(keep={keep!r:.80}): must be between 0 and 1, for example 0.5")
        super().__init__(tokens)
        self._exchanges, self._keep = exchanges, keep

    async def shorten(self, request: ChatRequest, budget: float, ask: Ask) -> ShorterRequest | None:  # noqa: ARG002, D102
        if budget == math.inf and self._exchanges is None:
            return None
        layout = Layout(request.messages)
        rest = budget_for_units(request, layout, budget)
        if layout.fits(0, layout.last, Bounds(rest, self._exchanges)):
            return None
        most = Bounds(rest - size_of_text(LEFT_OUT), self._exchanges)
        fewest = self._exchanges and max(1, int(self._exchanges * self._keep))
        cut = layout.cut(most, Bounds(most.tokens * self._keep, fewest))
        if not cut or not layout.left_out(cut):
            return None
        return ShorterRequest(messages=layout.from_cut(cut, LEFT_OUT), left_out=layout.left_out(cut))


def budget_for_units(request: ChatRequest, layout: Layout, budget: float) -> float:
    """Return the estimated tokens that remain of the budget after tools and instructions."""
    return budget - size_around(request) - size_of_messages(request.messages[: layout.head])
