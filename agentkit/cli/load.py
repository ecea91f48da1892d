"""Tools from what a user names: ``module``, ``module:name``, ``dir/file.py`` or ``dir/file.py:name``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import cast

from agentkit.errors import ConfigError, DefinitionError
from agentkit.tools.tool import Tool, as_tool
from agentkit.tools.toolset import Toolset

__all__ = ["load_tools"]

_OURS = Path(__file__).parent.parent


def load_tools(names: Sequence[str]) -> list[Tool]:
    """The tools that the names mean, each once. Modules are imported as if Python was started in this directory.

    Raises:
        ConfigError: There is no such module or name, the module cannot be imported, or the name is no tool.
        DefinitionError: A function cannot become a tool, or two tools have one name.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: dict[str, tuple[str, Tool]] = {}
    for where in names:
        for tool in _tools_at(where):
            first, known = found.setdefault(tool.name, (where, tool))
            if known.function is not tool.function:
                raise DefinitionError(
                    f"two tools are named {tool.name!r}, from {first} and {where}: "
                    "give one of them another name with @tool(name=...)"
                )
    return [tool for _, tool in found.values()]


def _tools_at(where: str) -> list[Tool]:
    place, name = _split(where)
    value: object = _module(place)
    for part in filter(None, name.split(".")):
        value = _member(value, part, where)
    if isinstance(value, ModuleType):
        return _tools_of(value, where)
    if isinstance(value, list | tuple | Toolset):
        return [_tool(each, where) for each in cast("Iterable[object]", value)]
    return [_tool(value, where)]


def _split(where: str) -> tuple[str, str]:
    """What stands before and behind the colon; the colon behind a drive is part of the path."""
    place, colon, name = where.rpartition(":")
    if colon and not place:
        raise ConfigError(f"{where!r} names no module: write module:name")
    if colon and not name:
        raise ConfigError(f"{where!r} names no tool behind the colon: write {place}:name, or {place} for all its tools")
    return (place, name) if colon and name.replace(".", "_").isidentifier() else (where, "")


def _tools_of(module: ModuleType, where: str) -> list[Tool]:
    values = list(vars(module).values())
    tools = [as_tool(each) for each in values if isinstance(each, Tool)]
    tools = tools or [tool for each in values if isinstance(each, Toolset) for tool in each]
    if not tools:
        raise ConfigError(f"{where} has no tools: decorate its functions with @tool, or name a function behind a colon")
    return tools


def _tool(value: object, where: str) -> Tool:
    if not isinstance(value, Tool) and not callable(value):
        kind = type(value).__name__
        raise ConfigError(f"{where} holds a value of type {kind}, where a tool, a function or a list of them is needed")
    return as_tool(value)


def _member(value: object, name: str, where: str) -> object:
    try:
        return getattr(value, name)
    except AttributeError:
        near = difflib.get_close_matches(name, dir(value), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{where}: there is no {name!r} in it{hint}") from None


def _module(place: str) -> ModuleType:
    if place.endswith(".py") or "/" in place or "\\" in place:
        return _module_of_file(Path(place))
    try:
        return importlib.import_module(place)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise anything, SystemExit too
        if isinstance(error, ModuleNotFoundError) and error.name and f"{place}.".startswith(f"{error.name}."):
            raise ConfigError(f"there is no module {place!r}, neither installed nor in this directory") from error
        raise ConfigError(f"the module {place!r} cannot be imported: {_why(error)}") from error


def _module_of_file(path: Path) -> ModuleType:
    """Run a file as a module, once, with its own directory importable as for a script."""
    path = path.resolve()
    if not path.is_file():
        raise ConfigError(f"there is no file {str(path)!r}")
    name = f"file:{path.with_suffix('')}".replace(".", "_")
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{str(path)!r} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # see above
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ConfigError(f"{path.name} cannot be imported: {_why(error)}") from error
    return module


def _why(error: BaseException) -> str:
    """The reason in words, with the place; an error of agentkit says by itself what to do."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"  # names file and line
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    last = next((each for each in reversed(frames) if not Path(each.filename).is_relative_to(_OURS)), None)
    place = f" ({Path(last.filename).name}, line {last.lineno})" if last else ""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}){place}"
    if isinstance(error, DefinitionError):
        return f"{error}{place}"
    return f"{type(error).__name__}: {error}{place}"
