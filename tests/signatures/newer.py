"""The syntax of Python 3.12 (PEP 695). Before, it is a syntax error, and these rows are not there."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import BaseModel

from agentkit.tools.context import ToolContext
from agentkit.tools.tool import tool
from tests.signatures.row import ANYTHING, Row, members

_SOURCE = """
type Name = str
type Names = list[Name]
type Tree = int | list[Tree]
type Context = ToolContext[Any]

class Crate[T](BaseModel):
    content: T

class Store[T]:
    class Inner(BaseModel):
        n: int
    def put(self, item: T): return item
    @tool
    def take(self, item: T, inner: Inner): return item, inner.n

def pick[T: int](first: T, names: Names): return first, names
def later[T: int](first: "T", names: "Names"): return first, names
def free[T](item: T): return item
def climb(tree: Tree): return tree
def open_crate(crate: Crate[str]): return crate.content
def with_context(context: Context, n: int): return n
"""


_INTEGER, _TEXT = {"type": "integer"}, {"type": "string"}
_INNER = {"type": "object", "properties": {"n": _INTEGER}, "required": ["n"]}
_CRATE = {"type": "object", "properties": {"content": _TEXT}, "required": ["content"]}
_PICKED = members({"first": _INTEGER, "names": {"type": "array", "items": _TEXT}}, "first", "names")
_TREE = {"anyOf": [_INTEGER, {"type": "array", "items": {"$ref": "#/$defs/Tree"}}]}
_CLIMBED = members({"tree": {"$ref": "#/$defs/Tree"}}, "tree", **{"$defs": {"Tree": _TREE}})
_N, _ITEM = members({"n": _INTEGER}, "n"), members({"item": _INTEGER}, "item")
_ANY_ITEM = f"parameter 'item' {ANYTHING}"


def _rows(space: dict[str, Any]) -> list[Row]:
    store = space["Store"][int]()
    names = tuple[int, list[str]]
    return [
        Row("type parameter", space["pick"], _PICKED, _PICKED, '{"first": "1", "names": ["a"]}', (1, ["a"]), names),
        Row("type parameter as text", space["later"], _PICKED, _PICKED, '{"first": 1, "names": []}', (1, []), names),
        Row("free type parameter", space["free"], members({"item": {}}, "item"), _ANY_ITEM, '{"item": 1}', 1, Any),
        Row(
            "type statement that holds itself", space["climb"], _CLIMBED, _CLIMBED, '{"tree": [1, [2]]}', [1, [2]], Any
        ),
        Row(
            "generic model",
            space["open_crate"],
            members({"crate": _CRATE}, "crate"),
            members({"crate": {**_CRATE, "additionalProperties": False}}, "crate"),
            '{"crate": {"content": "x"}}',
            "x",
            str,
        ),
        Row("method of a class with a type parameter", store.put, _ITEM, _ITEM, '{"item": "1"}', 1, int),
        Row(
            "tool in a class with a type parameter",
            store.take,
            members({"item": {}, "inner": _INNER}, "item", "inner"),
            _ANY_ITEM,
            '{"item": "1", "inner": {"n": 2}}',
            ("1", 2),
            tuple[Any, int],
        ),
        Row("type statement of the context", space["with_context"], _N, _N, '{"n": 1}', 1, int),
    ]


NEWER: list[Row] = []
if sys.version_info >= (3, 12):
    _SPACE: dict[str, Any] = {"BaseModel": BaseModel, "ToolContext": ToolContext, "Any": Any, "tool": tool}
    exec(_SOURCE, _SPACE)
    NEWER += _rows(_SPACE)
