"""The calls of a reply as the run's tools take them: which tool is meant, and with which arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from agentkit.chat.messages import ToolCall
from agentkit.run.events import Repaired
from agentkit.tools.digits import as_written, write
from agentkit.tools.names import meant_name
from agentkit.tools.repair import fit_arguments, repair_text
from agentkit.tools.tool import Tool

__all__ = ["repair_calls"]

_WRONG_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64


def repair_calls(
    calls: Collection[ToolCall],
    tools: Mapping[str, Tool],
    *,
    switched_off: Collection[str] = (),
    forgive: bool = True,
) -> tuple[tuple[ToolCall, ...], list[Repaired]]:
    """Put right what the model got wrong, as far as that cannot change what it meant.

    The calls that come back are those of the transcript, so that the next request shows the model how it is written.

    Args:
        calls: The calls, their ids and JSON already mended by `mend_calls`.
        tools: The tools that the model was offered.
        switched_off: The names of the run's other tools. One of them is never taken for a tool that was offered.
        forgive: False leaves everything as it is, apart from names that servers would refuse to take back.

    Returns:
        The calls, and for each step what was put right.
    """
    notes: list[Repaired] = []
    names = dict.fromkeys([*tools, *switched_off])
    made: list[ToolCall] = []
    for call in calls:
        mended = _named(call, names, notes, forgive=forgive)
        made.append(_with_arguments(mended, tools, notes) if forgive else mended)
    return tuple(made), notes


def _named(call: ToolCall, names: Collection[str], notes: list[Repaired], *, forgive: bool) -> ToolCall:
    if call.name in names:
        return call
    name = (meant_name(call.name, names) if forgive else None) or _WRONG_IN_NAMES.sub("_", call.name)[:_LONGEST_NAME]
    if name == call.name:
        return call
    notes.append(Repaired(f"the name {call.name[:_LONGEST_NAME]!r} became {name}", call.id, name))
    return replace(call, name=name)


def _with_arguments(call: ToolCall, tools: Mapping[str, Tool], notes: list[Repaired]) -> ToolCall:
    if call.input is not None or call.name not in tools or tools[call.name].is_custom:
        return call
    try:
        written, forgiven = _read(call)
        fitted, changed = fit_arguments(written, tools[call.name].parameters)
        if not call.malformed and not changed:
            return call
        if not call.malformed:  # once more, as a `Decimal` is to have the digits that were written
            fitted, changed = fit_arguments(as_written(call.arguments), tools[call.name].parameters)
        arguments = write(fitted)
    except ValueError:  # unreadable, or a number is too large
        return call  # the model is told what is wrong with its text
    told = [*forgiven, *changed] or ["with characters that are not Unicode"]
    notes.extend(Repaired(f"the arguments of {call.name} were {each}", call.id, call.name) for each in told)
    return replace(call, arguments=arguments, malformed="")


def _read(call: ToolCall) -> tuple[dict[str, Any], list[str]]:
    return repair_text(call.malformed) if call.malformed else (from_json(call.arguments), [])
