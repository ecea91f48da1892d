"""Load agents, tools and other values by name: ``module``, ``module:name``, ``dir/file.py[:name]``.

Only what is named is imported, and only from where it is named.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

from agentkit import Agent
from agentkit.cli.toolsets import open_toolset
from agentkit.errors import AgentKitError, ConfigError, DefinitionError
from agentkit.tools import Tool, ToolLike, Toolset, flat_tools

__all__ = ["call_named", "is_place", "load_agent", "load_tools", "load_value"]

_PACKAGE = Path(__file__).parent.parent
_PLACE = re.compile(r"[^\s:]+\.py(:[A-Za-z_][\w.]*)?|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def load_tools(names: Sequence[str], toolsets: Sequence[str] = ()) -> list[Tool]:
    """Import the named tools and create the ready-made ones, each once.

    A file is imported from its directory; a module from the installed packages or, failing that, from the working
    directory. Such a directory comes after everything installed and serves only the code in it: see `_NamedDirectory`.

    Args:
        names: Modules and files, and names in them.
        toolsets: Specs of ready-made tools; see `open_toolset`.

    Raises:
        ConfigError: There is no such module or name, the module cannot be imported, the name is not a tool, or a
            spec is wrong.
        DefinitionError: A function cannot become a tool, or two tools have one name.
    """
    found: dict[str, tuple[str, Tool]] = {}
    imported: Iterable[tuple[str, Iterable[Tool]]] = (
        (where, _tools_in(load_value(where, "tool"), where)) for where in names
    )
    made = ((f"--with {spec}", open_toolset(spec)) for spec in dict.fromkeys(toolsets))
    for where, tools in (*imported, *made):
        for tool in tools:
            first, known = found.setdefault(tool.name, (where, tool))
            if known.function is not tool.function:
                raise DefinitionError(
                    f"two tools are named {tool.name!r}, from {first} and {where}: leave one out, or give it another "
                    "name with @tool(name=...) or Toolset.prefixed(...) in a file for --tools"
                )
    return [tool for _, tool in found.values()]


def load_agent(where: str) -> Agent[Any, Any]:
    """Import an agent: the named one, the return value of a named function, or the only one in a module.

    Raises:
        ConfigError: There is no such module or name, or it is not an agent.
    """
    value = load_value(where, "agent")
    if isinstance(value, ModuleType):
        agents: dict[str, object] = {name: each for name, each in vars(value).items() if isinstance(each, Agent)}
        if len(set(map(id, agents.values()))) != 1:
            names = ", ".join(f"{where}:{name}" for name in agents)
            raise ConfigError(
                f"{where} has several agents: name one of {names}"
                if agents
                else f"{where} has no agent: write --tools {where} to give its tools to a model"
            )
        value = next(iter(agents.values()))
    if not isinstance(value, Agent) and callable(value):
        value = call_named(value, where)
    if not isinstance(value, Agent):
        raise ConfigError(f"{where} is a value of type {type(value).__name__}, but an agent is needed")
    return value  # pyright: ignore[reportUnknownVariableType] - of whatever types it is


def call_named(function: Callable[..., object], where: str) -> object:
    """Call a function that was named, without arguments.

    Raises:
        ConfigError: It failed.
    """
    try:
        return function()
    except (KeyboardInterrupt, AgentKitError):
        raise
    except Exception as error:
        raise ConfigError(f"{where} cannot be called: {_reason(error)}") from error


def is_place(text: str) -> bool:
    """Return True if a string names a value in code: ``file.py``, ``dir/file.py:name`` or ``package.module:name``."""
    return bool(_PLACE.fullmatch(text))


def load_value(where: str, what: str) -> object:
    """Import a named value, or the module if there is no name after the colon.

    Args:
        where: The name.
        what: What it should be, for errors.

    Raises:
        ConfigError: There is no such module or name, or it cannot be imported.
    """
    place, name = _split(where, what)
    value: object = _import(place)
    for part in filter(None, name.split(".")):
        if not hasattr(value, part):
            near = difflib.get_close_matches(part, dir(value), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: there is no {part!r} in it{hint}")
        value = getattr(value, part)
    return value


def _split(where: str, what: str) -> tuple[str, str]:
    """Split a name at its colon; the colon after a drive letter is part of the path."""
    place, colon, name = where.rpartition(":")
    if colon and not place:
        raise ConfigError(f"{where!r} does not name a module: write module:name")
    if colon and not name:
        instead = f", or {place} for all its tools" if what == "tool" else ""
        raise ConfigError(f"{where!r} names no {what} after the colon: write {place}:name{instead}")
    return (place, name) if colon and name.replace(".", "_").isidentifier() else (where, "")


def _tools_in(value: object, where: str) -> list[Tool]:
    """Return the tools of a module, an agent, a list or a toolset, or a single tool as a list."""
    if isinstance(value, Agent):
        return list(value.tools.values())
    if isinstance(value, ModuleType):
        members = list(vars(value).values())
        tools: list[ToolLike] = [each for each in members if isinstance(each, Tool)]
        tools = tools or [each for each in members if isinstance(each, Toolset)]
        if not tools:
            raise ConfigError(
                f"{where} has no tools: decorate its functions with @tool, or name a function after a colon"
            )
        return flat_tools(tools)
    values = list(cast("Sequence[object]", value)) if isinstance(value, list | tuple | Toolset) else [value]
    for each in values:
        if not isinstance(each, Tool) and not callable(each):
            raise ConfigError(
                f"{where} holds a value of type {type(each).__name__}, "
                "but a tool, a function or a list of them is needed"
            )
    return flat_tools(cast("list[ToolLike]", values))


def _import(place: str) -> ModuleType:
    """Import a module by its name, or a file by its path."""
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    path = Path(place).resolve()
    if is_file and not path.is_file():
        raise ConfigError(f"there is no file {str(path)!r}")
    directory = _NamedDirectory.open(path.parent if is_file else Path.cwd())
    shown = path.name if is_file else f"the module {place!r}"
    try:
        if is_file:
            return _import_file(path, directory)
        directory.named.add(place.partition(".")[0])
        return importlib.import_module(place)
    except (KeyboardInterrupt, ConfigError):
        raise
    except BaseException as error:  # a module may raise anything, even SystemExit
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and not is_file and f"{place}.".startswith(f"{missing}."):
            raise ConfigError(f"there is no module {place!r}, neither installed nor in this directory") from error
        raise ConfigError(f"{shown} cannot be imported: {_reason(error)}") from error


def _import_file(path: Path, directory: _NamedDirectory) -> ModuleType:
    """Import a file under its own name if that is free, and otherwise under a unique one.

    Under its own name, other processes can import it too, as tools with ``process=True`` require.
    """
    if path.stem.isidentifier():
        directory.named.add(path.stem)
        known = sys.modules.get(path.stem)
        found = importlib.util.find_spec(path.stem) if known is None else getattr(known, "__spec__", None)
        if found is not None and found.origin is not None and Path(found.origin).resolve() == path:
            return importlib.import_module(path.stem)
        directory.named.discard(path.stem)
    name = f"file:{path.with_suffix('')}".replace(".", "_")
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{str(path)!r} is not a Python file: its name must end in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _Finder(Protocol):
    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None: ...
    def invalidate_caches(self) -> None: ...


class _NamedDirectory:
    """Finds modules in a directory that holds tools, for the named modules and for code in the directory only.

    Libraries look for optional modules at any time (``h2``, ``socksio``). A file of that name that happens to be next
    to the tools is not what they are looking for, and must not run.
    """

    def __init__(self, directory: str, finder: _Finder) -> None:
        self._directory = directory
        self._finder = finder
        self.named: set[str] = set()

    @classmethod
    def open(cls, directory: Path) -> _NamedDirectory:
        """Put a directory last in ``sys.path``, once. One that Python itself put there stays where it is."""
        path = str(directory)
        finder = pkgutil.get_importer(path)
        if isinstance(finder, cls):
            return finder
        made = cls(path, cast("_Finder", finder))
        if path not in sys.path:
            sys.path.append(path)
            sys.path_importer_cache[path] = made
        return made

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module in the directory, for code that may import it."""
        return self._finder.find_spec(name, target) if name in self.named or self._is_importing() else None

    def invalidate_caches(self) -> None:
        """Discard what is known about the directory."""
        self._finder.invalidate_caches()

    def _is_importing(self) -> bool:
        """True if code of the directory is importing. Code installed inside it, as in ``.venv``, does not count."""
        frame = inspect.currentframe()
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            roots = [each for each in sys.path if each and path.is_relative_to(each)]
            if max(roots, key=len, default="") == self._directory:
                return True
            frame = frame.f_back
        return False


def _reason(error: BaseException) -> str:
    """Say why an import failed and where; agentkit's own errors already say what to do."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"  # names file and line
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    last = next((each for each in reversed(frames) if not Path(each.filename).is_relative_to(_PACKAGE)), None)
    place = f" ({Path(last.filename).name}, line {last.lineno})" if last else ""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}){place}"
    if isinstance(error, DefinitionError):
        return f"{error}{place}"
    return f"{type(error).__name__}: {error}{place}"
