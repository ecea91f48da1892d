"""The layers: who may import whom, and how large a module may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "agentkit"
CORE = ["errors", "chat", "tools", "run", "agent"]
FACES = ["events", "messages"]  # they only re-export
START = ["__main__", "_startup"]
OPTIONAL = ["testing", "local", "middleware", "compaction", "sessions", "cli", "constrained", "probe", "lint"]
ALONE = {  # a third-party library -> the one module that may import it
    "httpx2": "agentkit.chat.transport.http",
    "httpx": "ignore_event",
    "docstring_parser": "agentkit.tools.schema.docstrings",
    "typer": "agentkit.cli",
    "rich": "agentkit.cli",
    "xllamacpp": "ignore_event",
}
FILES = sorted(PACKAGE.rglob("*.py"))
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, typing-only and lazy imports counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            assert node.module
            yield node.module


def layer_of(module: str) -> str:
    return [*module.split("."), ""][1]


def test_each_layer_is_known() -> None:
    assert {layer_of(name_of(path)) for path in FILES} - {""} <= {*CORE, *FACES, *OPTIONAL, *START}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_imports_only_from_layers_to_its_left(path: Path) -> None:
    layer = layer_of(name_of(path))
    if not layer or layer in (*FACES, *START):
        return
    for module in imports(path):
        other = layer_of(module) if module.partition(".")[0] == "agentkit" else layer
        if module == "agentkit":
            assert layer in OPTIONAL, f"{name_of(path)} imports the whole of agentkit"
        elif layer in OPTIONAL:
            assert other in (*CORE, *FACES, *OPTIONAL), f"{name_of(path)} imports {module}"
        else:
            assert other in CORE[: CORE.index(layer) + 1], f"{name_of(path)} imports {module}"


def test_no_module_imports_itself_through_others() -> None:
    names = {name_of(path) for path in FILES}
    graph = {name_of(path): [each for each in imports(path) if each in names] for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way, name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_library_has_one_module_and_the_core_knows_no_event_loop(path: Path) -> None:
    for module in imports(path):
        library = module.partition(".")[0]
        if (name_of(path), library) != ("agentkit.chat.background", "trio"):  # anyio has no task without a group
            assert library not in ("asyncio", "trio", "pickle", "marshal"), f"{name_of(path)} imports {module}"
        if library in ALONE:
            assert name_of(path).startswith(ALONE[library]), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", [*FILES, *sorted((ROOT / "tests").rglob("*.py"))], ids=name_of)
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= (800 if "tests" in path.parts else 600)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTION):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"


def test_half_of_the_functions_of_the_core_are_tiny() -> None:
    lengths: list[int] = []
    for path in FILES:
        if layer_of(name_of(path)) in CORE:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            lengths += [(node.end_lineno or 0) - node.lineno + 1 for node in nodes if isinstance(node, FUNCTION)]
    assert sorted(lengths)[len(lengths) // 2] < 15


def test_importing_agentkit_does_nothing_and_loads_nothing_it_does_not_need() -> None:
    program = """
import os, sys, threading
before = dict(os.environ)
import agentkit, agentkit.testing
assert dict(os.environ) == before
assert threading.active_count() == 1
for module in ("httpx", "trio", "rich", "typer", "xllamacpp", "agentkit.local", "agentkit.cli"):
    assert module not in sys.modules, module
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
