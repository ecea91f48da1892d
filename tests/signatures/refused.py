"""Types that JSON cannot be, and functions that cannot be tools, with what is said of each."""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from agentkit.tools.context import ToolContext
from tests.signatures.row import takes

_NO = "parameter 'x' of type .* cannot be described .*; use JSON's own types, a dataclass or a pydantic model, or take"
_ONE_BY_ONE = (
    "parameter 'x' is {}, which yields its items one by one; arguments arrive as a whole, so take a list, for example"
)


class Nothing(enum.Enum):
    """An enum without members."""


class Unknown:
    """Neither pydantic nor JSON knows what it is."""


def unresolvable(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def two_contexts(a: ToolContext[Any], b: ToolContext[Any]) -> None: ...


def aliased(x: Annotated[int, Field(alias="y")]) -> None: ...


REFUSED: list[tuple[Any, str]] = [
    *(
        (takes(hint), _NO)
        for hint in (
            bytearray,
            Callable[[int], int],
            type,
            type[int],
            typing.IO[str],
            typing.Never,
            re.Match[str],
            Exception,
            Unknown,
            list[Unknown],
            Nothing,
            dict[str, Exception | None],
        )
    ),
    *((takes(hint), "parameter 'x' ") for hint in (typing.Self, typing.ClassVar[int], 3, Literal)),
    *(
        (takes(hint), _ONE_BY_ONE.format(name))
        for hint, name in [
            (Iterator[int], "Iterator"),
            (typing.Iterator, "Iterator"),
            (Generator[int, None, None], "Generator"),
            (list[typing.Generator[int, None, None]], "Generator"),
            (AsyncIterable[int] | None, "AsyncIterable"),
            (Annotated[AsyncIterator[int], "x"], "AsyncIterator"),
        ]
    ),
    (unresolvable, "tool 'unresolvable': the annotation of parameter 'x' cannot be resolved"),
    (two_contexts, "'a' and 'b' both take the ToolContext; keep one"),
    (aliased, "parameter 'x' has an alias"),
    (type, "Python cannot tell its parameters"),
]
