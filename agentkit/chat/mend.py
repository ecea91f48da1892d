"""What servers get wrong in calls, put right so that the next request is valid for the strictest server. Pure.

The ids that are sent out match ``[A-Za-z0-9]{9}`` unless the server's own id is fine: nine alphanumeric characters are
the one form that every known server takes. What is put right here cannot change what a call means; what a model gets
wrong when it writes arguments is put right where the tools are known.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic_core import from_json

from agentkit.chat.messages import ToolCall

__all__ = ["mend_calls"]

_GOOD_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)


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
    for index, call in enumerate(_named(calls, notes)):
        if not _GOOD_ID.fullmatch(call.id) or call.id in used:
            problem = "no id" if not call.id.strip() else f"the id {call.id[:20]!r}, used before or not valid"
            call = replace(call, id=_made_id(salt, index, call))  # noqa: PLW2901 - the mended call takes its place
            notes.append(f"{call.name} had {problem}; it is {call.id} now")
        used.add(call.id)
        mended.append(call)
    return tuple(mended), notes


def _named(calls: Sequence[ToolCall], notes: list[str]) -> Iterator[ToolCall]:
    """The calls that have a name, each with arguments that are one JSON object."""
    for call in calls:
        if not call.name:
            notes.append(f"a call without a name was dropped (arguments {call.written[:80]!r})")
        elif call.input is not None or call.malformed:
            yield call
        else:
            yield from _with_objects(call, notes)


def _with_objects(call: ToolCall, notes: list[str]) -> Iterator[ToolCall]:
    """The call with arguments that are a JSON object, whatever was written; several if several objects were."""
    text = call.arguments.strip()
    if text in ("", "null"):
        yield replace(call, arguments="{}")  # how many servers write a call without arguments
        return
    value = _json(text)
    if isinstance(value, dict):
        yield replace(call, arguments=text)  # without blanks that are none in JSON
    elif isinstance(value, str) and isinstance(_json(value), dict):
        notes.append(f"the arguments of {call.name} were encoded twice")
        yield replace(call, arguments=value)
    elif value in ("", []):  # how PHP writes an object without members
        notes.append(f"the arguments of {call.name} were {text}, which is none")
        yield replace(call, arguments="{}")
    elif objects := _run_together(text):
        several = f"{len(objects)} calls" if len(objects) > 1 else "one call"
        notes.append(f"several objects ran together in the arguments of {call.name}; they are {several} now")
        yield from (replace(call, arguments=each) for each in objects)
    else:
        notes.append(f"the arguments of {call.name} are not a JSON object")
        yield replace(call, arguments="{}", malformed=call.arguments)


def _run_together(text: str) -> list[str]:
    """The objects of a text that is nothing but objects, one after the other; none if it is anything else.

    An empty one that stands beside others is a placeholder, and one that equals the one before it was sent again.
    """
    found: list[tuple[str, str]] = []
    empty, at = "", 0
    while at < len(text):
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        written = text[at:end]
        if not isinstance(value, dict) or _json(written) is None:
            return []
        meaning = json.dumps(value, sort_keys=True)
        empty = empty or (written if not value else "")
        if value and (not found or found[-1][0] != meaning):
            found.append((meaning, written))
        space = _SPACE.match(text, end)
        at = space.end() if space else end
    return [written for _, written in found] or [empty]


def _json(text: str) -> object:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return None


def _made_id(salt: str, index: int, call: ToolCall) -> str:
    seed = f"{salt}\0{index}\0{call.id}\0{call.name}\0{call.arguments}"
    return hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:9]
