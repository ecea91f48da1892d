"""`Toolset`: several tools as one value, taken from where they are written, chosen and renamed.

`ToolSource`: a source of tools that are known only while something is open, such as a connection to a server.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from types import MethodType, ModuleType, TracebackType
from typing import Any, Protocol, TypeAlias, TypeGuard, cast

from agentkit.chat.events import Emit
from agentkit.errors import DefinitionError
from agentkit.tools.context import Remaining, RunContext
from agentkit.tools.execute import kind_of
from agentkit.tools.signature import name_of
from agentkit.tools.tool import Deps, Needs, Tool, ToolFunction, as_tool, tool

__all__ = ["SourceRun", "ToolLike", "ToolSource", "Toolset", "flat_tools", "is_source", "split_tools"]


class SourceRun(Protocol):
    """The run that asks a source for its tools, as far as the source may see it."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    @property
    def agent(self) -> str:
        """The name of the agent whose turn it is."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the tool calls that the run is nested in, outermost first."""
        ...

    @property
    def deps(self) -> Any:
        """The dependencies of the run."""
        ...

    @property
    def local(self) -> Mapping[Any, Any]:
        """The memory of middleware and sources for this run."""
        ...

    @property
    def remaining(self) -> Remaining:
        """The remaining limits of the run."""
        ...

    @property
    def emit(self) -> Emit:
        """Emits an event to the observers of the run."""
        ...


class ToolSource(Protocol):
    """A source of tools; it may be in ``Agent(tools=[...])`` among other tools.

    It is entered before its tools are requested: by ``async with agent`` once for all runs inside, otherwise by each
    run. It must be possible to enter it again after leaving it.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None: ...

    async def tools(self, run: SourceRun, /) -> Sequence[Tool]:
        """The tools that the model is offered in the next turn of this run; asked before each turn."""
        ...


def is_source(value: object) -> TypeGuard[ToolSource]:
    """Return True if a value is a `ToolSource`: an async context manager with an async method ``tools``."""
    kind = type(value)
    is_entered = callable(getattr(kind, "__aenter__", None)) and callable(getattr(kind, "__aexit__", None))
    return is_entered and inspect.iscoroutinefunction(getattr(kind, "tools", None))


GROUP = "agentkit.tools"  # the entry points under which installed packages offer tools
_NOT_TOOLS = sys.stdlib_module_names | {"pydantic", "pydantic_core"}  # whose public methods are not the user's
_METHODS = (staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod)


class Toolset:
    """Several tools with distinct names. Immutable: every method returns a new toolset.

    Give it to ``Agent(tools=[...])`` among other tools, or alone as ``tools=``.

    Args:
        *tools: Functions, tools and other toolsets.

    Raises:
        DefinitionError: A function cannot become a tool, or two tools have one name.
    """

    def __init__(self, *tools: ToolLike[Any]) -> None:
        self._tools = {each.name: each for each in flat_tools(tools)}

    @classmethod
    def of(cls, owner: object) -> Toolset:
        """Collect the tools of an object, a class or a module.

        For an object these are its public methods, for a class its static and class methods, for a module the public
        functions that it defines or names in ``__all__``. If any of them are decorated with ``@tool``, only those
        count.

        Raises:
            DefinitionError: One of them cannot become a tool, or there are none.
        """
        found = _of_module(owner) if isinstance(owner, ModuleType) else _of_object(owner)
        if not found:
            kind = "module" if isinstance(owner, ModuleType) else "class" if isinstance(owner, type) else ""
            name = f"{kind} {getattr(owner, '__name__', '')}" if kind else f"an object of {type(owner).__name__}"
            raise DefinitionError(f"{name} has no public function to make a tool of")
        return cls(*found)

    @classmethod
    def installed(cls, *names: str) -> Toolset:
        """Collect the tools that installed packages offer under the entry point group ``agentkit.tools``.

        An entry point names a tool, a function, a toolset, a module, or a class or object as for `of`.

        Args:
            *names: Which entry points; all if none is named. Only these are loaded.

        Raises:
            DefinitionError: There is no such entry point, it cannot be loaded, or it offers no tool.
        """
        entries = {each.name: each for each in entry_points(group=GROUP)}
        for name in names:
            if name not in entries:
                raise DefinitionError(f"no installed package offers tools named {name!r}{_hint(name, entries)}")
        found: list[ToolLike] = []
        for name in names or entries:
            try:
                value: Any = entries[name].load()
            except Exception as error:  # another package's code, which can raise anything
                raise DefinitionError(
                    f"the tools {name!r} ({entries[name].value}) cannot be loaded: {error}"
                ) from error
            is_tool = isinstance(value, Tool | Toolset) or inspect.isroutine(value)
            found.append(cast("ToolLike", value) if is_tool else cls.of(cast("object", value)))
        return cls(*found)

    def __iter__(self) -> Iterator[Tool]:
        """The tools, in their order."""
        return iter(self._tools.values())

    def __len__(self) -> int:
        """The number of tools."""
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        """Return True if there is a tool of this name."""
        return name in self._tools

    def __getitem__(self, name: str) -> Tool:
        """The tool of this name."""
        return self._tools[name]

    def __repr__(self) -> str:
        return f"Toolset({', '.join(self._tools)})"

    def __add__(self, other: ToolLike[Any]) -> Toolset:
        """Both together; their names must differ."""
        return Toolset(self, other)

    def __radd__(self, other: ToolLike[Any]) -> Toolset:
        """Both together; their names must differ."""
        return Toolset(other, self)

    def prefixed(self, prefix: str) -> Toolset:
        """With this prefix before each name: ``"calendar_"`` makes ``calendar_book`` of ``book``."""
        return Toolset(*(replace(each, name=prefix + each.name, prefix=prefix + each.prefix) for each in self))

    def only(self, *names: str) -> Toolset:
        """The tools of these names, in the order of the set.

        Raises:
            DefinitionError: There is no such tool.
        """
        self._check(names)
        return Toolset(*(each for each in self if each.name in names))

    def without(self, *names: str) -> Toolset:
        """All but the tools of these names.

        Raises:
            DefinitionError: There is no such tool.
        """
        self._check(names)
        return Toolset(*(each for each in self if each.name not in names))

    def renamed(self, names: Mapping[str, str] | None = None, /, **more: str) -> Toolset:
        """With other names: ``renamed(book="reserve")``, or ``renamed({"get-user": "get_user"})``.

        Raises:
            DefinitionError: There is no such tool, or two tools then have one name.
        """
        new = {**(names or {}), **more}
        self._check(new)
        return Toolset(*(replace(each, name=new.get(each.name, each.name)) for each in self))

    def when(self, condition: Condition) -> Toolset:
        """Offered to the model only while the condition is true. If it raises, the run ends with `ToolFailed`.

        Args:
            condition: Asked before each turn, with what is known of the run then: ``context.deps``, ``context.turn``,
                ``context.messages``. It must return at once.

        Raises:
            DefinitionError: The condition is async.
        """
        if kind_of(condition) != "plain":
            raise DefinitionError(f"the condition {name_of(condition)!r} must be a plain function that returns at once")

        def both(first: Condition | None) -> Condition:
            return condition if first is None else lambda context: first(context) and condition(context)

        return Toolset(*(replace(each, condition=both(each.condition)) for each in self))

    def deferred(self) -> Toolset:
        """Offered to the model only when it has searched for them: it gets the tool ``search_tools`` in their place."""
        return Toolset(*(replace(each, deferred=True) for each in self))

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._tools:
                raise DefinitionError(f"there is no tool {name!r} in this toolset{_hint(name, self._tools)}")


Condition: TypeAlias = Callable[[RunContext[Any]], bool]


class PlainFunction(Protocol):
    """A function that is not a tool yet, for type checkers: a `ToolFunction` is called like one, but does not match."""

    @property
    def __globals__(self) -> dict[str, Any]: ...
    @property
    def __call__(self) -> Callable[..., Any]: ...


class CachedFunction(Protocol):
    """The type of a function wrapped by `functools.cache`, for type checkers."""

    def cache_clear(self) -> None: ...
    @property
    def __call__(self) -> Callable[..., Any]: ...


ToolLike: TypeAlias = (
    Tool[Needs[Deps]] | Toolset | ToolSource | PlainFunction | CachedFunction | MethodType | functools.partial[Any]
)
"""Anything that an agent with dependencies ``Deps`` accepts as tools: tools, toolsets, tool sources, functions.

Type checkers refuse a decorated function whose first or second parameter is the `ToolContext` of other dependencies.
They accept every function without a decorator; a run checks all of them before its first request. For type checkers,
wrap callable objects of other classes in `tool`.
"""


def flat_tools(tools: Iterable[ToolLike[Any]]) -> list[Tool]:
    """The tools one by one.

    Raises:
        DefinitionError: A function cannot become a tool, two tools have one name, or there is a `ToolSource`.
    """
    flat, sources = split_tools(tools)
    if sources:
        raise DefinitionError(f"an object of {type(sources[0]).__name__} is a source of tools: give it to an agent")
    return flat


def split_tools(tools: Iterable[ToolLike[Any]]) -> tuple[list[Tool], list[ToolSource]]:
    """Split a list into single tools and sources, whose tools are known only once they are open.

    Raises:
        DefinitionError: A function cannot become a tool, or two tools have one name.
    """
    given: Any = tools
    if not isinstance(given, Iterable) or isinstance(given, str | Mapping):
        name = name_of(cast("Any", given)) if callable(cast("Any", given)) else type(cast("object", given)).__name__
        raise DefinitionError(f"tools= takes a list, not {name}: write tools=[...]")
    by_name: dict[str, Tool] = {}
    sources: list[ToolSource] = []
    for each in tools:
        if is_source(each):
            sources.append(each)
            continue
        for made in each if isinstance(each, Toolset) else (as_tool(cast("Any", each)),):
            if made.name in by_name:
                raise DefinitionError(
                    f"two tools are named {made.name!r}: give one of them another with @tool(name=...), "
                    "or a toolset a prefix with .prefixed(...)"
                )
            by_name[made.name] = made
    return list(by_name.values()), sources


def _of_module(module: ModuleType) -> list[ToolLike[Any]]:
    named: Iterable[str] | None = getattr(module, "__all__", None)
    members: dict[str, Any] = vars(module)
    if named is not None:
        functions = [members[each] for each in named if _is_function(members.get(each))]
    else:
        functions = [
            each
            for name, each in members.items()
            if not name.startswith("_") and _is_function(each) and _home(each) == module.__name__
        ]
    return [each for each in functions if isinstance(each, Tool)] or functions


def _is_function(value: object) -> bool:
    is_cached = hasattr(value, "cache_info") and inspect.isfunction(getattr(value, "__wrapped__", None))
    return isinstance(value, Tool) or inspect.isfunction(value) or is_cached


def _home(function: Any) -> str:
    written = cast("Any", function.function) if isinstance(function, Tool) else function
    while isinstance(written, functools.partial):
        written = cast("Any", written.func)
    return str(getattr(written, "__module__", ""))


def _of_object(owner: object) -> list[ToolLike[Any]]:
    kind = owner if isinstance(owner, type) else type(owner)
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] in _NOT_TOOLS:
            continue
        for name, written in vars(base).items():
            found.pop(name, None)
            if not name.startswith("_") and (_is_function(written) or isinstance(written, _METHODS)):
                found[name] = written
    marked = {name: each for name, each in found.items() if isinstance(getattr(each, "__func__", each), Tool)}
    return [_taken_from(owner, kind, name, each) for name, each in (marked or found).items()]


def _taken_from(owner: object, kind: type, name: str, written: object) -> ToolLike[Any]:
    """The method as a tool; one without ``@tool`` keeps the name it has in the class."""
    if isinstance(written, functools.singledispatchmethod):
        raise DefinitionError(
            f"{kind.__name__}.{name} chooses a method by the type of its argument, which JSON does not have: "
            "write a method that takes a union, or begin its name with '_'"
        )
    needs_object = not isinstance(written, staticmethod | classmethod) and getattr(written, "is_method", True)
    if needs_object and isinstance(owner, type):
        raise DefinitionError(
            f"{kind.__name__}.{name} needs an object: write Toolset.of({kind.__name__}(...)), or make it static"
        )
    taken: Any = getattr(owner, name)
    if isinstance(getattr(taken, "__func__", None), ToolFunction):
        return as_tool(taken)
    if isinstance(written, functools.partialmethod):
        return cast("Tool", tool(taken, name=name))
    if isinstance(written, staticmethod) and not isinstance(taken, Tool):
        return functools.partial(taken)  # its first parameter may be called `self`
    return cast("ToolLike[Any]", taken)


def _hint(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(known) or 'none'}"
