"""Make strings from models and tools safe to print. Pure.

What comes from a model or a tool is data: it must not move the cursor, change colors, write to the clipboard, or hide
or reorder words on the terminal.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # errors of a command line are printed without the rest of agentkit
    from agentkit.messages import ToolCall

__all__ = ["call_line", "exact_line", "one_line", "plural", "printable", "shortened", "written_arguments"]

_JOINERS = "\u200c\u200d"  # shape Persian and Indic letters and join emoji, so they stay after a visible character
_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, separators, bidi controls
    "\ud800-\udfff"  # halves of characters
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # musical controls; tags and selectors, used to smuggle text
    "]"
)
_MOST = 200


def printable(text: str, *, after: str = "") -> str:
    r"""Escape every control or invisible character as JSON does: ``\u001b``.

    Newlines (also CR LF) and tabs stay. A joiner stays where it joins: after a visible non-ASCII character.

    Args:
        text: What a model, a tool or a server wrote.
        after: What was printed before it, when the text arrives in chunks.
    """
    text = text.replace("\r\n", "\n")

    def escape(found: re.Match[str]) -> str:
        before = text[found.start() - 1] if found.start() else after[-1:]
        if found[0] in _JOINERS and before > "\x7f" and not _UNSAFE.match(before):
            return found[0]
        units = found[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))

    return _UNSAFE.sub(escape, text)


def one_line(text: str) -> str:
    """Make a string printable, with each run of white space collapsed into one space."""
    return printable(" ".join(text.split()))


def exact_line(text: str, most: int = _MOST) -> str:
    """Put a name on one line, with newlines and tabs escaped; a very long one is truncated."""
    line = printable(text[:most]).replace("\n", "\\u000a").replace("\t", "\\u0009")
    return line if len(text) <= most else f"{line} [... {len(text):,} characters]"


def shortened(text: str, most: int = _MOST) -> str:
    """Put the beginning of a string on one line, with a note if it is truncated."""
    line = " ".join(text.split())
    return printable(line) if len(line) <= most else f"{printable(line[:most])} [... {len(text):,} characters]"


def plural(count: int, noun: str) -> str:
    """Count something: ``1 call``, ``2 calls``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def call_line(call: ToolCall) -> str:
    """Write a call with all its arguments in Python's notation: ``add(a=1, b=2)``."""
    arguments = written_arguments(call)
    if arguments is None:
        return one_line(f"{call.name}({call.written})")
    members = ", ".join(f"{name}={value}" for name, value in arguments.items())
    return printable(f"{call.name}({members})".replace("\n", " "))


def written_arguments(call: ToolCall) -> dict[str, str] | None:
    """Read the arguments of a call by name, each as JSON, with the digits of every number as the model wrote them.

    Returns:
        None if the call has no JSON object.
    """
    if call.input is not None:
        return None
    try:
        value = _parse(call.written)
        value = _parse(value) if isinstance(value, str) else value  # an object that was encoded twice
        if not isinstance(value, dict):
            return None
        return {name: _write(member) for name, member in cast("dict[str, object]", value).items()}
    except (ValueError, RecursionError):
        return None


class _Number(str):
    """A number of a JSON document, with its original digits: a float shows ``1e+20`` for 100000000000000000000.01."""

    __slots__ = ()


def _parse(text: str) -> Any:
    return json.loads(text, strict=False, parse_int=_Number, parse_float=_Number)


def _write(value: object) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        return "{" + ", ".join(f"{_write(name)}: {_write(member)}" for name, member in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_write, cast("list[object]", value))) + "]"
    return json.dumps(value, ensure_ascii=False)
