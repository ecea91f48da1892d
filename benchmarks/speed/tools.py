"""The tools that every driver offers."""

import time

TURNS: list[tuple[float, float]] = []  # when `add` was called: seconds, and seconds of CPU


async def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    TURNS.append((time.perf_counter(), time.process_time()))
    return a + b


def wait() -> str:
    """Wait for fifty milliseconds."""
    time.sleep(0.05)
    return "waited"


async def note(text: str) -> str:
    """Write something down.

    Args:
        text: What to write down.
    """
    return f"{len(text)} characters"


TOOLS = (add, wait, note)
