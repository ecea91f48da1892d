"""Text of models and tools made fit to be printed. Pure.

What came out of a model or a tool is data: it must not move the cursor, change colours, write the clipboard, hide
words or turn their order around on somebody's terminal.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from agentkit.chat.messages import ToolCall

__all__ = ["call_line", "exact_line", "one_line", "printable", "shortened"]

_JOINERS = "\u200c\u200d"  # shape Persian and Indic letters and join emoji, so they stay behind a visible character
_UNSAFE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # seen as nothing
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, separators, bidi controls
    "\ud800-\udfff"  # halves of characters
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # musical controls; tags and selectors, used to smuggle text
    "]"
)
_MOST = 200


def printable(text: str, *, after: str = "") -> str:
    r"""The text with every character that is a command, or that nobody can see, written as JSON writes it: ``\u001b``.

    Newlines (also as CR LF) and tabs stay. A joiner stays where it joins: behind a visible character beyond ASCII.

    Args:
        text: What a model, a tool or a server wrote.
        after: What was printed before it, when the text comes in pieces.
    """
    text = text.replace("\r\n", "\n")

    def escaped(found: re.Match[str]) -> str:
        before = text[found.start() - 1] if found.start() else after[-1:]
        joins = before > "\x7f" and not _UNSAFE.match(before)
        return found[0] if found[0] in _JOINERS and joins else _escape(found[0])

    return _UNSAFE.sub(escaped, text)


def one_line(text: str) -> str:
    """The text, printable, with every run of white space as one space."""
    return printable(" ".join(text.split()))


def exact_line(text: str, most: int = _MOST) -> str:
    """A name in one line, with every newline and tab written as an escape; the beginning of a very long one."""
    line = printable(text[:most]).replace("\n", "\\u000a").replace("\t", "\\u0009")
    return line if len(text) <= most else f"{line} [... {len(text):,} characters]"


def shortened(text: str, most: int = _MOST) -> str:
    """The beginning of the text on one line, with a note when it is not all of it."""
    line = " ".join(text.split())
    return printable(line) if len(line) <= most else f"{printable(line[:most])} [... {len(text):,} characters]"


def call_line(call: ToolCall) -> str:
    """A call with all its arguments as the model wrote them, much as Python writes it: ``add(a=1, b=2)``."""
    try:
        arguments: object = json.loads(call.written)
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return one_line(f"{call.name}({call.written})")
    members = (f"{name}={_json(value)}" for name, value in cast("dict[str, Any]", arguments).items())
    return printable(f"{call.name}({', '.join(members)})".replace("\n", " "))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
