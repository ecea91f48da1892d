"""The layers: who may import whom, and how large a module may be."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "agentkit"
CORE = ["errors", "chat", "tools", "run", "agent"]
FACES = ["events", "messages"]  # they only re-export
OPTIONAL = [
    *("testing", "local", "middleware", "compaction", "sessions", "cli", "constrained", "probe", "lint", "extract"),
    *("automation", "mcp", "serve", "durable", "otel", "trace", "prices", "drafts"),
]
START = ["__main__", "_startup"]  # what a process begins with
PUBLIC = {"agentkit", *(f"agentkit.{each}" for each in ("chat", "tools", "run", "events", "messages", "errors"))}
ALONE: dict[str, str | tuple[str, ...]] = {  # a third-party library -> the one module that may import it
    "httpx2": ("agentkit.chat.transport.http_httpx", "agentkit.mcp.http"),  # the SDK of MCP takes a client
    "httpcore2": "agentkit.chat.transport.http_httpx",
    "aiohttp": "agentkit.chat.transport.http_aiohttp",
    "httpx": "nobody",
    "docstring_parser": "agentkit.tools.docstrings",
    "starlette": ("agentkit.serve", "agentkit.mcp.server"),  # types of ASGI
    "typer": "agentkit.cli",
    "httptools": "agentkit.serve.protocol",
    "uvicorn": ("agentkit.serve.process", "agentkit.serve.protocol"),
    "rich": "agentkit.cli",
    "prompt_toolkit": "agentkit.cli",
    "xllamacpp": "nobody",
    "mcp": "agentkit.mcp",
    "mcp_types": "agentkit.mcp",
    "opentelemetry": "agentkit.otel.middleware",
    "genai_prices": "agentkit.prices",
}
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def forget_trees() -> Iterator[None]:
    """Millions of objects, which every collection of garbage would look at until the end of the suite."""
    yield
    tree_of.cache_clear()


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, typing-only and lazy imports counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"


def layer_of(module: str) -> str:
    return [*module.split("."), ""][1]


def test_each_layer_is_known() -> None:
    assert {layer_of(name_of(path)) for path in FILES} - {""} <= {*CORE, *FACES, *OPTIONAL, *START}


def may_import(layer: str, module: str) -> bool:
    if module.partition(".")[0] != "agentkit":
        return not module.startswith(".")
    if not layer or layer in (*FACES, *START):
        return True
    if layer in OPTIONAL:
        return module == "agentkit" or layer_of(module) in (*CORE, *FACES, *OPTIONAL)
    return layer_of(module) in CORE[: CORE.index(layer) + 1]


def test_a_module_imports_only_from_layers_to_its_left() -> None:
    found = [(name_of(path), module) for path in FILES for module in imports(tree_of(path))]
    assert [(name, module) for name, module in found if not may_import(layer_of(name), module)] == []


def users() -> Iterator[tuple[str, str, str]]:
    """What uses the core from outside: the file, its own package, and a module that it imports."""
    for path in FILES:
        if layer_of(name_of(path)) in OPTIONAL:
            yield from ((str(path.relative_to(ROOT)), layer_of(name_of(path)), each) for each in imports(tree_of(path)))
    for path in [*sorted((ROOT / "examples").rglob("*.py")), *sorted((ROOT / "tools").rglob("*.py"))]:
        yield from ((str(path.relative_to(ROOT)), "", each) for each in imports(tree_of(path)))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        blocks = re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        for block in blocks:
            yield from ((str(path.relative_to(ROOT)), "", each) for each in imports(ast.parse(block)))


def is_public(module: str, package: str) -> bool:
    """Whether a package may import a module: public faces, optional packages as a whole, and itself."""
    if module.partition(".")[0] != "agentkit" or module in PUBLIC:
        return True
    return layer_of(module) == package or (layer_of(module) in OPTIONAL and module.count(".") == 1)


def test_docs_examples_and_optional_packages_import_from_public_faces() -> None:
    inside = {(file, module) for file, package, module in users() if not is_public(module, package)}
    assert sorted(inside) == []


def test_no_module_imports_itself_through_others() -> None:
    names = {name_of(path) for path in FILES}
    graph = {name_of(path): [each for each in imports(tree_of(path)) if each in names] for path in FILES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way, name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_library_has_one_module_and_the_core_knows_no_event_loop() -> None:
    for path in FILES:
        for module in imports(tree_of(path)):
            library = module.partition(".")[0]
            if (name_of(path), library) != ("agentkit.chat.background", "trio"):  # anyio has no task without a group
                assert library not in ("asyncio", "trio", "pickle", "marshal"), f"{name_of(path)} imports {module}"
            assert name_of(path).startswith(ALONE.get(library, "")), f"{name_of(path)} imports {module}"


def test_files_and_functions_stay_short() -> None:
    for path in [*FILES, *TESTS]:
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= (800 if path in TESTS else 600), path
        for node in ast.walk(tree_of(path)):
            if isinstance(node, FUNCTION):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"


def test_half_of_the_functions_of_the_core_are_tiny() -> None:
    lengths: list[int] = []
    for path in FILES:
        if layer_of(name_of(path)) in CORE:
            nodes = ast.walk(tree_of(path))
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
