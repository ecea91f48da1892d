"""`Random`: random numbers, picks and orders."""

from __future__ import annotations

import random
from typing import Annotated

from agentkit import tool
from agentkit.errors import ModelRetry
from agentkit.tools import ToolResult, Toolset

__all__ = ["Random"]

_MOST = 1000


class Random(Toolset):
    """Tools that generate random numbers, pick from a list and shuffle one.

    Args:
        seed: Makes the same sequence in every run, for tests and games; None uses the system's randomness.
    """

    def __init__(self, seed: int | str | None = None) -> None:
        self._random = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - asked for by name
        tools = (self.random_integers, self.pick_random, self.shuffle_list)
        # Sequential, in the model's order, so that a seed gives the same results every time.
        super().__init__(*(tool(each, thread=False, sequential=True) for each in tools))

    def random_integers(
        self,
        low: Annotated[int, "The smallest number that may come: 1 for dice."],
        high: Annotated[int, "The largest number that may come: 6 for ordinary dice."],
        count: Annotated[int, "How many numbers."] = 1,
    ) -> ToolResult:
        """Get random whole numbers, for dice, draws and samples."""
        if low > high:
            raise ModelRetry(f"low={low} is above high={high}")
        _check_count(count, _MOST)
        numbers = [self._random.randint(low, high) for _ in range(count)]
        total = f" (sum {sum(numbers)})" if count > 1 else ""
        return ToolResult(", ".join(map(str, numbers)) + total, numbers, metadata={"source": "random"})

    def pick_random(
        self,
        options: Annotated[list[str], "What to choose from."],
        count: Annotated[int, "How many different ones to pick."] = 1,
    ) -> ToolResult:
        """Pick some of several options at random, each at most once."""
        _check_count(count, min(len(options), _MOST))
        picked = self._random.sample(options, count)
        return ToolResult("\n".join(picked), picked, metadata={"source": "random"})

    def shuffle_list(self, items: Annotated[list[str], "What to put in a random order."]) -> ToolResult:
        """Put items in a random order."""
        shuffled = self._random.sample(items, len(items))
        return ToolResult("\n".join(shuffled), shuffled, metadata={"source": "random"})


def _check_count(count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ModelRetry(f"count={count} must be from 1 to {most}")
