"""The logger of agentkit. No control character that a model, a tool or a server wrote gets into a log line.

A filter on the logger escapes them in the message and in the traceback, so that no text can forge a line, move the
cursor of a terminal or hide what was said.
"""

from __future__ import annotations

import logging
import re
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import anyio

import agentkit.errors

_RUNNERS = ("<", *(str(Path(each).parent) for each in (agentkit.errors.__file__, anyio.__file__)))  # they call tools
_INSTALLED = tuple(sysconfig.get_path(each) for each in ("stdlib", "purelib", "platlib"))
_LONGEST = 300  # characters of a message in one line
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def escape_controls(text: str) -> str:
    r"""Write each control character, line end and mark of direction as Python does: ``\n``, ``\x1b``."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def failure_in_short(error: BaseException) -> str:
    """Describe an exception in one line: its type and message, and the last frame of the user's own code."""
    said = escape_controls(f"{type(error).__name__}: {error}".removesuffix(": "))
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_RUNNERS)]
    own = [each for each in frames if not each.filename.startswith(_INSTALLED)] or frames
    return f"{said} ({own[-1].filename}:{own[-1].lineno}, in {own[-1].name})" if own else said


def _traceback_of(error: traceback.TracebackException) -> Iterator[str]:
    """The lines of a traceback; the type and message of an exception are one, however many the message has."""
    if error.__cause__ is not None:
        yield from _traceback_of(error.__cause__)
        yield "\nThe above exception was the direct cause of the following exception:\n"
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from _traceback_of(error.__context__)
        yield "\nDuring handling of the above exception, another exception occurred:\n"
    if error.stack:
        yield "Traceback (most recent call last):"
        yield from (line.rstrip("\n") for line in error.stack.format())
    yield escape_controls("".join(error.format_exception_only()).rstrip("\n"))
    for each in error.exceptions or ():
        yield from (f"  {line}" for inner in _traceback_of(each) for line in inner.split("\n"))


class _Escaped(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = escape_controls(record.getMessage()), None
        if record.exc_info and record.exc_info[1] is not None:
            failure = traceback.TracebackException.from_exception(record.exc_info[1])
            record.exc_text = "\n".join(_traceback_of(failure))  # formatters use it instead of their own
        return True


log = logging.getLogger("agentkit")
log.addFilter(_Escaped())
