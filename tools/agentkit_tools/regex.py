"""Match regular expressions from a model in a separate process that can be killed.

Python's `re` can take years for some patterns and cannot be interrupted, so it never matches such a pattern here.
ripgrep matches in linear time and is used where it is installed. Either reads lines from its input and opens no file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence

from agentkit.errors import ModelRetry, ToolError

__all__ = ["check_pattern", "matching_lines"]

_LONGEST_PATTERN = 1_000
_PYTHON = """
import re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    pattern = re.compile(sys.argv[1], int(sys.argv[2]))
except (re.error, RecursionError, OverflowError) as error:
    sys.exit(str(error))
for number, line in enumerate(sys.stdin, start=1):
    if pattern.search(line.removesuffix("\\n")):
        print(f"{number}:")
"""


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that cannot match within a line.

    Raises:
        ModelRetry: It is empty, too long, or holds a line feed or NUL.
    """
    if not 0 < len(pattern) <= _LONGEST_PATTERN or "\n" in pattern or "\0" in pattern:
        raise ModelRetry(f"a regular expression must match within one line and have 1 to {_LONGEST_PATTERN} characters")


def matching_lines(pattern: str, lines: Sequence[str], *, case_sensitive: bool, seconds: float = 10) -> list[int]:
    """Return the indices of the ``lines`` that a regular expression matches.

    Raises:
        ModelRetry: It is not a regular expression.
        ToolError: Matching took too long.
    """
    content = "".join(f"{line}\n" for line in lines).encode(errors="replace")
    try:
        done = subprocess.run(  # noqa: S603 - the pattern is one argument of a program that runs nothing
            _command(pattern, case_sensitive=case_sensitive),
            input=content,
            capture_output=True,
            timeout=seconds,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"{pattern!r} took more than {seconds:g} seconds to match; search for something simpler"
        ) from None
    if done.stderr:
        raise ModelRetry(f"{pattern!r} is not a regular expression: {_last_line(done.stderr)}")
    return [int(line.partition(b":")[0]) - 1 for line in done.stdout.splitlines()]


def _command(pattern: str, *, case_sensitive: bool) -> list[str]:
    if ripgrep := shutil.which("rg"):
        options = ["--no-config", "--text", "--line-number", "--no-filename", "--color=never", "--max-columns=1"]
        return [ripgrep, *options, *([] if case_sensitive else ["--ignore-case"]), f"--regexp={pattern}", "-"]
    flags = "0" if case_sensitive else "2"  # re.IGNORECASE
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", _PYTHON, pattern, flags]


def _last_line(output: bytes) -> str:
    return output.decode(errors="replace").strip().splitlines()[-1][:300]
