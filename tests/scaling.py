"""Measuring how work grows with its input."""

import time
from collections.abc import Callable

__all__ = ["growth"]


def growth(make: Callable[[int], Callable[[], object]], size: int) -> float:
    """How many times as much CPU time work of twice the size takes; the best of several tries, to leave out noise.

    Args:
        make: Makes the work of a size; this is not measured.
        size: Of the smaller work, large enough that it takes some milliseconds.
    """

    def seconds(size: int) -> float:
        best = 1e9
        for _ in range(3):
            work = make(size)
            began = time.process_time()
            work()
            best = min(best, time.process_time() - began)
        return best

    return min(seconds(2 * size) / seconds(size) for _ in range(2))
