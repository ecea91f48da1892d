"""What servers get wrong in calls, put right so that the next request is valid for the strictest server. Pure.

The ids that are sent out match ``[A-Za-z0-9]{9}`` unless the server's own id is fine: nine alphanumeric characters are
the one form that every known server takes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic_core import from_json

from agentkit.chat.messages import ToolCall

__all__ = ["mend_calls"]

_GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def mend_calls(
    calls: Sequence[ToolCall], *, salt: str = "", taken: Iterable[str] = ()
) -> tuple[tuple[ToolCall, ...], list[str]]:
    """Give each call a valid and unique id and drop calls without a name; the second value says what was mended.

    Args:
        calls: The calls of one reply, as the server sent them.
        salt: What tells this reply from others (its id, or its turn), so that made ids do not repeat.
        taken: Ids that the transcript has already; many servers count from one again in each reply.
    """
    mended: list[ToolCall] = []
    notes: list[str] = []
    used = set(taken)
    for index, call in enumerate(calls):
        if not call.name:
            notes.append(f"a call without a name was dropped (arguments {call.arguments[:80]!r})")
            continue
        if not _GOOD_ID.fullmatch(call.id) or call.id in used:
            problem = "no id" if not call.id else f"the id {call.id[:20]!r}, used before or not valid"
            call = replace(call, id=_made_id(salt, index, call))  # noqa: PLW2901 - the mended call takes its place
            notes.append(f"{call.name} had {problem}; it is {call.id} now")
        used.add(call.id)
        mended.append(_with_object(call, notes))
    return tuple(mended), notes


def _with_object(call: ToolCall, notes: list[str]) -> ToolCall:
    """The call with arguments that are a JSON object, whatever the model wrote."""
    if not call.arguments.strip() or call.arguments.strip() == "null":
        return replace(call, arguments="{}")  # how many servers write a call without arguments
    value = _json(call.arguments)
    if isinstance(value, str) and isinstance(_json(value), dict):
        notes.append(f"the arguments of {call.name} were encoded twice")
        return replace(call, arguments=value)
    if isinstance(value, dict):
        return call
    notes.append(f"the arguments of {call.name} are not a JSON object")
    return replace(call, arguments="{}", malformed=call.arguments)


def _json(text: str) -> object:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return None


def _made_id(salt: str, index: int, call: ToolCall) -> str:
    seed = f"{salt}\0{index}\0{call.id}\0{call.name}\0{call.arguments}"
    return hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:9]
