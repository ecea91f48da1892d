"""A linter for tools: it says what a model could misread, what could leak, and what to write instead. Pure."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agentkit.tools import Access, JsonSchema, Tool, ToolFunction, ToolLike, flat_tools, subschemas, why_not_strict

__all__ = ["ACCESS", "LintWarning", "lint_tools"]

ACCESS: Mapping[Access, str] = {
    "private": "reads private data",
    "untrusted": "reads untrusted content",
    "outside": "talks to the outside",
}
"""The meaning of each kind of ``access`` of a tool, as the end of a sentence."""

_MOST_PARAMETERS = 8
_MOST_BYTES = 4_096  # about a thousand tokens, in each request
_EMPTY_TOOL = re.compile(
    r"(my_?|the_?)?(tool|func|function|fn|run|do|execute|main|call|handler?|helper|process|action|test|foo|bar|f)[_\d]*"
)
_EMPTY_PARAMETER = re.compile(r"(args?|argument|param|parameter|kwargs|foo|bar|tmp|temp|obj|var|stuff|thing)[_\d]*")
_FILLERS = {"a", "an", "the", "of", "this", "that", "its", "s"}
_NOTES = {"description", "default", "title", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"}
_CLOSED = {"enum", "const", "format", "pattern"}  # what says more about a string than its type
_SHORTEST = 5  # letters of names that count as similar: shorter ones are all similar to each other

_AT_PARAMETER = 'describe it below Args: in the docstring, or with Annotated[..., "what it is"]'
_AT_FIELD = "describe it in the docstring of its class, or in a string on the line below it"
_IN_SCHEMA = 'give it a "description" in the schema'

_OPEN_ENDED = re.compile(r"such as|like|e\.g\.|for example|for instance|etc|\.\.\.|…", re.IGNORECASE)
_QUOTED = r"""(?:'[^'\s]+'|"[^"\s]+"|`[^`\s]+`)"""
_WORD = r"[\w-]+"
_ALTERNATIVES = (  # in a description; words without quotes must fill their clause, as "a name or a number" is no choice
    re.compile(rf"({_QUOTED}(?:(?:, ?| ?[/|] ?){_QUOTED})*(?:,? or | ?[/|] ?|, ){_QUOTED})"),
    re.compile(rf"(?:^|[:(] ?)((?-i:[a-z0-9_-]+)(?:, {_WORD})+,? or {_WORD})(?=$|[.;)])"),
    re.compile(rf"(?:[:(] ?|\b(?:one of|either|must be) )({_WORD}(?:, {_WORD})*,? or {_WORD})(?=$|[.;)])", re.I),
    re.compile(rf"\b(?:one of):? ({_WORD}(?:, {_WORD})+)(?=$|[.;)])", re.I),
    re.compile(r"(?<![\w|])(\w+(?: ?\| ?\w+)+)"),
)


@dataclass(frozen=True, slots=True)
class LintWarning:
    """One thing to improve about a tool. As a string, it is a sentence.

    Attributes:
        tool: The tool's name.
        parameter: The parameter, with dots for a member inside it (``dishes.name``); empty for the tool as a whole.
        what: The problem and its remedy: the rest of the sentence that begins with the tool or the parameter.
    """

    tool: str
    parameter: str
    what: str

    def __str__(self) -> str:
        return f"tool {self.tool!r}: {f'parameter {self.parameter!r} ' if self.parameter else ''}{self.what}"


def lint_tools(tools: Iterable[ToolLike]) -> list[LintWarning]:
    """Say what to improve about tools, for a model that has only their names, descriptions and schemas.

    It looks at descriptions that are missing, too short or the same twice; types that are missing or leave open what to
    write; names that say nothing or are close to another tool's; the number of parameters, the size of the schema, and
    what keeps it from being strict. It also warns if calls that need no approval can together read private data, read
    untrusted content and talk to the outside, as the ``access`` of the tools says (see `ToolOptions`). Nothing is
    called, and the same tools always get the same warnings, so that a test can say ``assert lint_tools([my_tool]) ==
    []``.

    Args:
        tools: Functions, tools and toolsets, as for ``Agent(tools=)``.

    Raises:
        DefinitionError: A function cannot become a tool, or two tools have one name.
    """
    flat = flat_tools(tools)
    leak = _leak(flat)
    found: list[LintWarning] = []
    for place, made in enumerate(flat):
        found += (*_of_one(made), *_clashes(made, flat[:place]))
        found += [leak] if leak and leak.tool == made.name else []
    return found


def _leak(tools: Sequence[Tool]) -> LintWarning | None:
    """Yield a warning, at the last tool it takes, that strangers' text could make a model send private data out."""
    first: dict[Access, str] = {}
    for made in tools:
        if made.may_wait:
            continue
        for kind in made.access:
            first.setdefault(kind, made.name)
        if len(first) == len(ACCESS):
            who = ", ".join(f"{first[kind]} {meaning}" for kind, meaning in ACCESS.items())
            what = f"completes what can leak private data without an approval: {who}; leave one of the three out, or "
            return LintWarning(made.name, "", f"{what}require approval of all tools that can do it")
    return None


def _of_one(made: Tool) -> Iterator[LintWarning]:
    yield from (LintWarning(made.name, "", what) for what in _of_tool(made))
    open_ones = set[str]()
    of_function = isinstance(made, ToolFunction)
    types = _Types(made.parameters.get("$defs", {}), of_function)
    remedy = _AT_PARAMETER if of_function else _IN_SCHEMA
    unannotated = _unannotated(made.function) if of_function else set[str]()
    for name, schema in made.parameters.get("properties", {}).items():
        yield from (LintWarning(made.name, name, what) for what in _of_words(name, types.said_of(schema), remedy))
        if name in unannotated:
            open_ones.add(name)
            yield LintWarning(made.name, name, f"has no type annotation; write one, for example {name}: str")
            continue
        for place, what, is_open in types.of(schema, name):
            open_ones |= {place} if is_open else set()
            yield LintWarning(made.name, place, what)
    yield from (each for each in _of_strictness(made) if each.parameter not in open_ones)


def _unannotated(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name for each in parameters if each.annotation is inspect.Parameter.empty}


def _of_tool(made: Tool) -> Iterator[str]:
    if _EMPTY_TOOL.fullmatch(made.name.lower()) or len(made.name) == 1:
        yield "has a name that says nothing; name it for what it does"
    if not made.description.strip():
        where = "in its docstring " if isinstance(made, ToolFunction) else ""
        yield f"has no description; say {where}what it does, and when to call it"
    elif _is_short(made.description.strip()):
        yield f"has the short description {made.description.strip()!r}; say what it does, and when to call it"
    count = len(made.parameters.get("properties", ()))
    if count > _MOST_PARAMETERS:
        yield f"has {count} parameters, over {_MOST_PARAMETERS}; make several tools of it, or group them in classes"
    size = len(json.dumps(made.definition.to_wire(), ensure_ascii=False, separators=(",", ":")).encode())
    if size > _MOST_BYTES:
        yield f"takes {size:,} bytes of each request, more than {_MOST_BYTES:,}; shorten its descriptions and types"


def _is_short(text: str) -> bool:
    return len(text.split()) < 3 if text.isascii() else len(text) < 4  # not every script uses spaces


def _of_words(name: str, description: str, remedy: str) -> Iterator[str]:
    if _EMPTY_PARAMETER.fullmatch(name.lower()):
        yield "has a name that says nothing; name it for what it holds"
    if not description.strip():
        yield f"has no description; {remedy}"
    elif not _words(description) - _words(name) - _FILLERS:
        yield f"has a description, {description.strip()!r}, that only repeats its name; say what a good value is"


def _words(text: str) -> set[str]:
    return {each.lower().rstrip("s") for each in re.findall(r"[A-Z]?[^\W_A-Z]+|[A-Z\d]+", text)}


def _of_strictness(made: Tool) -> Iterator[LintWarning]:
    found = made.strict is None and why_not_strict(made.parameters, of_function=isinstance(made, ToolFunction))
    if found:
        place, reason = found
        it = reason.removeprefix("it ")
        yield LintWarning(made.name, place, f"cannot be strict: it {it}; strict=False says that this is meant")


def _clashes(made: Tool, earlier: Sequence[Tool]) -> Iterator[LintWarning]:
    """Yield problems that exist only because of earlier tools."""
    for other in earlier:
        if _are_close(made.name, other.name):
            what = f"has nearly the name of {other.name!r}; give one of them a name of other words"
            yield LintWarning(made.name, "", what)
        if made.description.strip() and _same_words(made.description, other.description):
            what = f"has the same description as {other.name!r}; say what tells the two apart, or drop one of them"
            yield LintWarning(made.name, "", what)


def _are_close(one: str, other: str) -> bool:
    first, second = (re.sub(r"[\d_-]", "", each).lower().removesuffix("s") for each in (one, other))
    return first == second or _is_slip(first, second)


def _is_slip(one: str, other: str) -> bool:
    """Return True if the names differ by one added, missing or transposed letter."""
    if min(len(one), len(other)) < _SHORTEST or abs(len(one) - len(other)) > 1:
        return False
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    if len(longer) > len(shorter):
        return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    return any(one[:at] + one[at + 1] + one[at] + one[at + 2 :] == other for at in range(len(one) - 1))


def _same_words(one: str, other: str) -> bool:
    return re.findall(r"\w+", one.lower()) == re.findall(r"\w+", other.lower())


@dataclass(slots=True)
class _Types:
    """Finds parameter types that leave open what to write; each definition is checked once."""

    definitions: Mapping[str, Any]
    of_function: bool
    _seen: frozenset[str] = frozenset()

    def said_of(self, schema: Any) -> str:
        """The description of what has this schema, or of its class."""
        node = _as_schema(schema)
        target = _as_schema(self.definitions.get(str(node.get("$ref", "")).removeprefix("#/$defs/")))
        return str(node.get("description") or target.get("description", ""))

    def of(self, schema: Any, place: str, said: str = "") -> Iterator[tuple[str, str, bool]]:
        """The places in the schema, what is wrong there, and whether it is the type that leaves open what to write.

        ``said`` is the description around it.
        """
        if schema is not True and not isinstance(schema, dict):
            return
        node = _as_schema(schema)
        said = str(node.get("description", "")) or said
        name = str(node.get("$ref", "")).removeprefix("#/$defs/")
        if name and name not in self._seen:  # it may hold itself
            self._seen |= {name}
            yield from self.of(self.definitions.get(name, False), place, said)
        what = _open_type(node, self.of_function) or _open_string(node, said, self.of_function)
        if what:
            yield place, what, True
        else:
            yield from self._inside(node, place, said)

    def _inside(self, node: JsonSchema, place: str, said: str) -> Iterator[tuple[str, str, bool]]:
        for keyword, name, each in subschemas(node):
            if keyword == "properties":
                remedy = _AT_FIELD if self.of_function else _IN_SCHEMA
                found = _of_words(str(name), self.said_of(each), remedy)
                yield from ((f"{place}.{name}", what, False) for what in found)
                yield from self.of(each, f"{place}.{name}")
            elif keyword in ("anyOf", "oneOf", "allOf", "prefixItems", "additionalProperties") or (
                keyword == "items" and "prefixItems" not in node
            ):
                yield from self.of(each, place, said)


def _as_schema(schema: Any) -> JsonSchema:
    return cast("JsonSchema", schema if isinstance(schema, dict) else {})


def _open_type(node: JsonSchema, of_function: bool) -> str:  # noqa: FBT001 - of this module
    if not node.keys() - _NOTES:
        return "may be anything; give it a type"
    if node.get("type") == "array" and "prefixItems" not in node and node.get("items", {}) in ({}, True):
        how = "as in list[str]" if of_function else 'in "items"'
        return f"is a list of anything; say of what, {how}"
    members = node.keys() & {"properties", "patternProperties", "anyOf", "oneOf", "allOf", "enum"}
    if node.get("type") == "object" and not members and node.get("additionalProperties", {}) in ({}, True):
        if not of_function:
            return 'is an object with any members; name them in "properties"'
        return "is an object with any members; name them in a class, or say of what they are, as in dict[str, int]"
    return ""


def _open_string(node: JsonSchema, description: str, of_function: bool) -> str:  # noqa: FBT001 - of this module
    if node.get("type") != "string" or node.keys() & _CLOSED or _OPEN_ENDED.search(description):
        return ""
    found = next(filter(None, (each.search(description) for each in _ALTERNATIVES)), None)
    if found is None:
        return ""
    remedy = "make it a Literal or an Enum" if of_function else 'list them in an "enum"'
    return f"is any string, but its description lists {found[1]!r}; if these are all, {remedy}"
