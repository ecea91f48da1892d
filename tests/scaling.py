"""Telling work that grows in step with its input from work that grows faster."""

import gc
import time
from collections.abc import Callable

__all__ = ["assert_linear"]

_FACTOR = 8
_MOST = (
    24  # between 8 times (linear) and 64 (quadratic) by the same ratio, far from both: caches and neighbours add to 8
)


def assert_linear(make: Callable[[int], Callable[[], object]], size: int) -> None:
    """Check that the CPU time of work grows in step with its size: eight times the size takes 8 times as long, not 64.

    Args:
        make: Makes the work of a size; making it is not measured.
        size: Of the smaller work.
    """
    ratios: list[float] = []
    for _ in range(4):
        small = min(_seconds(make(size)) for _ in range(3))
        ratios.append(min(_seconds(make(size * _FACTOR)) for _ in range(2)) / max(small, 0.0005))
        if ratios[-1] < _MOST:
            return
    raise AssertionError(f"{_FACTOR} times the size took {min(ratios):.1f} times the time")


def _seconds(work: Callable[[], object]) -> float:
    gc.disable()  # a collection costs what the whole suite has allocated
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()
