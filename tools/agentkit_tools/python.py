"""`Python`: run code in a sandbox that can reach nothing but the tools it is given."""

from __future__ import annotations

import functools
import json
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import anyio.from_thread
import anyio.to_thread
from pydantic_core import to_jsonable_python

from agentkit import CallFinished, CallStarted, Tool, ToolCall, tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.messages import ImagePart
from agentkit.run import Run, ToolRequest
from agentkit.tools import Access, Approval, ToolContext, ToolLike, ToolResult, Toolset, flat_tools

__all__ = ["Python"]

_MOST_SESSIONS = 16  # worker processes: one for each run that has recently run code
_LONGEST_CODE = 50_000
_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}
_METADATA = {"source": "python"}
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_MOST_DOINGS = 10_000  # tool calls and file operations in one run
_MOST_NAMED = 20  # new files that are named
_DIRECTORY = "/files"  # as code sees it
_Outcome: TypeAlias = tuple[str, bool, dict[str, bytes]]  # the output, whether it failed, and the new files


class Python(Toolset):
    """One tool, ``run_python``: Python in a worker process of `pydantic-monty`, without network or environment.

    Variables and functions last for the run. With ``tools``, code can call them like functions (*code mode*): one turn
    replaces a turn per call, and intermediate values never pass through the model. A call from code counts toward the
    limits of the run, passes through its middleware, and emits events. Tools that may need approval are not offered to
    code but to the model itself, so that the run can wait for the decision.

    Code has its own directory, empty at first, that lasts as long as its variables. Images that it writes there are
    shown to the model; all new files are in the ``data`` of the result, a dict of text or bytes by name under
    ``"files"``.

    Args:
        tools: The tools that code can call.
        timeout: Seconds that code may compute in one call; waiting for tools does not count.
        memory: Bytes that code may use.
        most_calls: Most tool calls in one call of ``run_python``.
        max_output: Most characters of output.
        max_files: Bytes that code may write to files in one run.
        requires_approval: For running code; see `ToolOptions`.

    Raises:
        ConfigError: The extra is not installed, or a limit is invalid.
    """

    def __init__(
        self,
        *,
        tools: Sequence[ToolLike] = (),
        timeout: float = 10,
        memory: int = 64 * 1024 * 1024,
        most_calls: int = 100,
        max_output: int = 50_000,
        max_files: int = 5 * 1024 * 1024,
        requires_approval: Approval = False,
    ) -> None:
        if min(timeout, memory, most_calls, max_output, max_files) <= 0:
            raise ConfigError("Python: timeout, memory, most_calls, max_output and max_files must be above 0")
        given = flat_tools(tools)
        waiting = [each for each in given if each.may_wait or each.is_custom]
        self._offered = {each.name: each for each in given if each not in waiting}
        unusable = [name for name in self._offered if not name.isidentifier()]
        if unusable:
            raise ConfigError(f"Python: code cannot call a tool named {unusable[0]!r}: rename it with .renamed(...)")
        self._sessions = _Sessions(
            {
                "max_feed_duration_secs": timeout,
                "max_memory": memory,
                "max_recursion_depth": 500,
                "max_suspensions": _MOST_DOINGS,
            },
            max_files,
        )
        weakref.finalize(self, self._sessions.close)
        self._most_calls, self._max_output = most_calls, max_output
        access: frozenset[Access] = frozenset(kind for each in self._offered.values() for kind in each.access)
        run = tool(self.run_python, sequential=True, timeout=None, requires_approval=requires_approval, access=access)
        if self._offered:
            stubs = "\n".join(map(_stub, self._offered.values()))
            run = replace(run, description=f"{run.description}\nThese functions can be called:\n{stubs}")
        super().__init__(run, *waiting)

    async def run_python(
        self,
        context: ToolContext[Any],
        code: Annotated[
            str, "Python code. The value of the last expression is shown, like everything that is printed."
        ],
    ) -> ToolResult:
        """Run Python code to calculate or to process data. Variables last until the next call.

        A part of the standard library can be imported: math, json, re, datetime, random and others. Files can be
        written to the current directory; images among them are shown.
        """
        if len(code) > _LONGEST_CODE:
            raise ModelRetry(f"the code has more than {_LONGEST_CODE:,} characters")
        calls = _Calls(context, self._most_calls)
        functions = {name: functools.partial(calls.run, each) for name, each in self._offered.items()}
        # A cancelled call waits for the worker, whose time limit ends it.
        shown, failed, files = await anyio.to_thread.run_sync(self._run, context.run_id, code, functions)
        listed = [f"[wrote {name}, {len(content):,} bytes]" for name, content in [*files.items()][:_MOST_NAMED]]
        listed += [f"[and {len(files) - _MOST_NAMED} other files]"] * (len(files) > _MOST_NAMED)
        return ToolResult(
            "\n".join([shown, *listed] if shown else listed) or "(nothing was printed)",
            {"output": shown, "files": {name: _text_or_bytes(content) for name, content in files.items()}},
            is_error=failed,
            files=[ImagePart.from_bytes(each) for each in files.values() if each.startswith(_IMAGES)],
            metadata=_METADATA,
        )

    def _run(self, run_id: str, code: str, functions: Mapping[str, Callable[..., object]]) -> _Outcome:
        session = self._sessions.take(run_id)
        try:
            return session.run(code, functions, self._max_output)
        finally:
            self._sessions.give_back(run_id)


class _Calls:
    """Makes the tool calls of code in the same way as those of the model."""

    def __init__(self, context: ToolContext[Any], most: int) -> None:
        self._context, self._most, self._made = context, most, 0

    def run(self, called: Tool, *values: object, **named: object) -> object:
        """Call a tool from the thread that waits for the code's worker.

        Raises:
            RuntimeError: What went wrong, for the code to read or to catch.
        """
        names = list(called.parameters.get("properties", {}))
        if len(values) > len(names):
            raise RuntimeError(f"{called.name}() takes {len(names)} arguments, not {len(values)}")
        arguments = {**dict(zip(names, values, strict=False)), **named}
        try:
            return anyio.from_thread.run(self._call, called, json.dumps(to_jsonable_python(arguments)))
        except ToolError as error:
            raise RuntimeError(str(error)) from None

    async def _call(self, called: Tool, arguments: str) -> object:
        self._made += 1
        if self._made > self._most:
            raise ToolError(f"code can make at most {self._most} tool calls")
        call = ToolCall(f"{self._context.call_id}.{self._made}", called.name, arguments)
        run = cast("Run[Any]", self._context.view)
        if not isinstance(self._context.view, Run):  # called without a run, as in a test
            return _value(await called.call(replace(self._context, call_id=call.id, tool=called.name), arguments))
        if run.remaining.calls == 0:
            raise ToolError("the run has no calls left")
        run.spend(calls=1)
        self._context.emit(CallStarted(call))
        started = time.monotonic()
        result, unexpected = ToolResult("", is_error=True), None
        try:
            context: ToolContext[Any] = run.tool_context(call, self._context.emit)
            result = await run.call_tool(ToolRequest(run, called, call, context))
        except ToolError as error:
            result = ToolResult(str(error), is_error=True)
        except Exception as error:  # noqa: BLE001 - of the tool: the code reads it, as the model would
            result, unexpected = ToolResult(f"{called.name} failed: {type(error).__name__}", is_error=True), error
        finally:
            self._context.emit(CallFinished(call, result, time.monotonic() - started, unexpected))
        if result.is_error:
            raise ToolError(result.content)
        return _value(result)


def _value(result: ToolResult) -> object:
    """Return a result as code receives it: the tool's value if JSON can express it, otherwise its text."""
    try:
        return result.content if result.data is None else to_jsonable_python(result.data)
    except ValueError:
        return result.content


def _text_or_bytes(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


class _Session:
    """A worker process with the variables and the files of one run."""

    def __init__(self, checkout: Any, max_files: int) -> None:
        self._checkout, self.lost, self.busy = checkout, False, False
        self._folder = tempfile.TemporaryDirectory(prefix="agentkit-")
        self._max_files = max_files
        self._known: dict[str, bytes] = {}
        self._worker = checkout.__enter__()

    def close(self) -> None:
        """Return the worker to the pool."""
        self._checkout.__exit__(None, None, None)
        self._folder.cleanup()

    def new_files(self) -> dict[str, bytes]:
        """Return the files that are new or have changed since the last call, by path."""
        root = Path(self._folder.name)
        found = {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        new = {name: content for name, content in found.items() if self._known.get(name) != content}
        self._known = found
        return new

    def run(self, code: str, functions: Mapping[str, Callable[..., object]], most: int) -> _Outcome:
        """Run code and return its printed output with its last value, whether it failed, and the files it wrote."""
        import pydantic_monty as monty  # noqa: PLC0415 - an extra

        printed = monty.CollectString(max_bytes=10 * 1024 * 1024)
        left = self._max_files - sum(map(len, self._known.values()))
        mount = monty.MountDir(
            virtual_path=_DIRECTORY, host_path=self._folder.name, mode="read-write", write_bytes_limit=max(left, 0)
        )
        try:
            value = self._worker.feed_run(
                code, external_lookup=dict(functions), print_callback=printed, mount=mount, cwd=_DIRECTORY
            )
            last, failed = "" if value is None else repr(value), False
        except monty.MontyCrashedError as error:
            self.lost = True
            last, failed = f"the worker ended, and all variables are lost: {error}", True
        except (monty.MontyRuntimeError, monty.MontySyntaxError) as error:
            last, failed = error.display(), True
            if isinstance(
                error.exception(), TimeoutError
            ):  # stopped at an arbitrary point, so its memory is not used again
                self.lost = True
                last += "\nAll variables and files are lost."
        except (monty.MontyError, ValueError, TypeError) as error:  # a value that cannot leave the sandbox
            last, failed = str(error), True
        shown = "\n".join(part for part in (_bounded(printed.output.rstrip("\n"), most), _bounded(last, most)) if part)
        return shown, failed, self.new_files()


class _Sessions:
    """The workers of the runs that have recently run code."""

    def __init__(self, limits: Mapping[str, Any], max_files: int) -> None:
        try:
            from pydantic_monty import Monty  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise ConfigError("Python: running code needs the extra agentkit[python]") from None
        self._pool = Monty(min_processes=0, max_processes=_MOST_SESSIONS)
        self._limits, self._max_files = limits, max_files
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._lock = threading.Lock()
        self._started = False

    def take(self, run_id: str) -> _Session:
        """Return the worker of a run; if there are too many, the least recently used one is replaced.

        Raises:
            ToolError: All workers are busy.
        """
        with self._lock:
            if not self._started:
                self._pool.__enter__()
                self._started = True
            if run_id not in self._sessions:
                idle = [name for name, session in self._sessions.items() if not session.busy]
                if len(self._sessions) >= _MOST_SESSIONS:
                    if not idle:
                        raise ToolError(f"{_MOST_SESSIONS} runs are running code, the maximum; try again later")
                    self._sessions.pop(idle[0]).close()
                limits: Any = self._limits
                self._sessions[run_id] = _Session(self._pool.checkout(limits=limits), self._max_files)
            self._sessions.move_to_end(run_id)
            self._sessions[run_id].busy = True
            return self._sessions[run_id]

    def give_back(self, run_id: str) -> None:
        """Mark the worker as idle again, or remove it."""
        with self._lock:
            self._sessions[run_id].busy = False
            if self._sessions[run_id].lost:
                self._sessions.pop(run_id).close()

    def close(self) -> None:
        """End all workers."""
        while self._sessions:
            self._sessions.popitem()[1].close()
        if self._started:
            self._pool.__exit__(None, None, None)
            self._started = False


def _bounded(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n[truncated: {most:,} of {len(text):,} characters]"


def _stub(described: Tool) -> str:
    """Write a tool as a function signature, with its description."""
    required = described.parameters.get("required", [])
    properties: Mapping[str, Any] = described.parameters.get("properties", {})
    parameters = [
        f"{name}: {_type(schema)}{'' if name in required else ' = ...'}" for name, schema in properties.items()
    ]
    notes = [f"{name}: {schema['description']}" for name, schema in properties.items() if schema.get("description")]
    text = " ".join([described.description.strip().replace("\n", " "), *notes])
    return f"def {described.name}({', '.join(parameters)})  # {text}"


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    kinds: object = schema.get("type")
    if isinstance(kinds, list):
        return " | ".join(_TYPES.get(str(each), "object") for each in cast("list[object]", kinds))
    if kinds == "array" and isinstance(schema.get("items"), Mapping):
        return f"list[{_type(cast('Mapping[str, Any]', schema['items']))}]"
    return _TYPES.get(str(kinds), "object")
