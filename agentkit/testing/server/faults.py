"""All faults, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from agentkit.testing.server.answers import TABLE as ANSWERS
from agentkit.testing.server.calls import TABLE as CALLS
from agentkit.testing.server.connection import TABLE as CONNECTION
from agentkit.testing.server.streams import TABLE as STREAMS
from agentkit.testing.server.table import Fault

__all__ = ["FAULTS", "fault"]

FAULTS: Mapping[str, Fault] = {
    name: each for table in (CONNECTION, ANSWERS, STREAMS, CALLS) for name, each in table.faults.items()
}
"""Every fault by its name, in the order of their numbers."""


def fault(name: str) -> Fault:
    """The fault of this name, for a script.

    Raises:
        KeyError: There is none; the message names similar ones. `FAULTS` has them all.
    """
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=3)
        raise KeyError(f"there is no fault {name!r}" + (f"; there is {', '.join(near)}" if near else ""))
    return FAULTS[name]
