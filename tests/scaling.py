"""Measuring how work grows with its input."""

import gc
import time
from collections.abc import Callable

__all__ = ["assert_linear", "growth"]

_FACTOR = 8


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
            gc.collect()
            gc.disable()
            began = time.process_time()
            work()
            best = min(best, time.process_time() - began)
            gc.enable()
        return best

    best = 1e9
    for _ in range(5):
        best = min(best, seconds(2 * size) / seconds(size))
        if best < 2:
            break
    return best


def assert_linear(work: Callable[[int], object], size: int) -> None:
    """Check that twice the size takes at most 2.2 times the CPU time: eight times the size, so at most 10.6 times.

    Work that is quadratic takes 64 times. A bad ratio is measured again, as a busy machine disturbs it.

    Args:
        work: Does the work of a size.
        size: Of the smaller work.
    """
    ratios: list[float] = []
    for _ in range(4):
        small = min(_seconds(work, size) for _ in range(3))
        ratios.append(min(_seconds(work, size * _FACTOR) for _ in range(2)) / max(small, 0.0005))
        if ratios[-1] < 2.2**3:
            return
    raise AssertionError(f"{_FACTOR} times the size took {min(ratios):.1f} times the time")


def _seconds(work: Callable[[int], object], size: int) -> float:
    start = time.process_time()
    work(size)
    return time.process_time() - start
