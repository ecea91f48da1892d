"""Which tool a model means when it writes a name that is not quite one. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

__all__ = ["meant_name", "unknown_name"]

_SHORTEST = 5  # letters of a name that may be misspelt: shorter ones are too close to each other
_MOST_NAMES = 20
_MARK = re.compile(r"<[|｜]")  # noqa: RUF001 - some templates write it wide
_INDEX = re.compile(r"\A(functions\.[^.:]+):\d+\Z")  # how Kimi numbers its calls


def meant_name(name: str, tools: Collection[str]) -> str | None:
    """The one tool that the name can mean, or None.

    Forgiven are what servers put before and after a name (``functions.add``, ``add<|channel|>``), case, dashes and
    underscores, and one letter too many, too few or two that changed places. Another letter is never forgiven: that
    would make ``set_user`` of ``get_user``. Nor is a name that goes on: ``user.delete`` is not ``user``.
    """
    if name in tools:
        return name
    bare = _INDEX.sub(r"\1", _MARK.split(name, maxsplit=1)[0].strip())
    if not bare.isascii():
        return None
    pieces = [_folded(piece) for piece in re.split(r"[./:]+", bare)]
    last, whole = pieces[-1], "".join(pieces)
    same = [tool for tool in tools if _folded(tool) in {*pieces, whole} - {""}]
    if not same:
        same = [tool for tool in tools if _is_slip(last, _folded(tool))]
    elif not {_folded(tool) for tool in same} <= {last, whole}:
        return None
    return same[0] if len(same) == 1 else None


def unknown_name(name: str, tools: Collection[str], switched_off: Collection[str] = ()) -> str:
    """What to tell a model that called a tool which does not exist, or is switched off in this turn."""
    if name in switched_off:
        return f"the tool {name!r} is switched off in this turn"
    if not tools:
        return f"there is no tool {name!r}; there are no tools at all, so answer without one"
    near = difflib.get_close_matches(name, tools, n=3)
    if near:
        return f"there is no tool {name!r}; did you mean {' or '.join(near)}?"
    listed = sorted(tools)[:_MOST_NAMES] if len(tools) > _MOST_NAMES else list(tools)
    more = f" and {len(tools) - len(listed)} more" if len(tools) > len(listed) else ""
    return f"there is no tool {name!r}; the tools are {', '.join(listed)}{more}"


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_slip(written: str, name: str) -> bool:
    """Whether one letter is too many or too few, or two neighbours changed places. A number or a plural is no slip."""
    if re.sub(r"\D", "", written) != re.sub(r"\D", "", name) or written.rstrip("s") == name.rstrip("s"):
        return False
    if min(len(written), len(name)) < _SHORTEST or abs(len(written) - len(name)) > 1:
        return False
    longer, shorter = (written, name) if len(written) > len(name) else (name, written)
    if len(longer) > len(shorter):
        return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    return any(
        written[:at] + written[at + 1] + written[at] + written[at + 2 :] == name for at in range(len(written) - 1)
    )
