"""`Tool`: whatever a model can call. `tool` makes one of a function.

What a call goes through, in order: its text is parsed and validated (`arguments`), bound to the function's parameters
(`schema`), run, and its result written as text for the model (`to_result`).
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
import traceback
from collections.abc import Awaitable, Callable, Collection, ItemsView, KeysView, Mapping, ValuesView
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from pydantic_core import from_json, to_json, to_jsonable_python

from agentkit.chat.events import Event
from agentkit.chat.messages import encode_json
from agentkit.chat.request import FunctionTool
from agentkit.errors import DefinitionError
from agentkit.tools.arguments import parse_arguments, validate_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.schema import Signature, name_of, read_signature

__all__ = ["Tool", "ToolFunction", "ToolResult", "as_tool", "to_result", "tool"]

P = ParamSpec("P")
F_co = TypeVar("F_co", covariant=True)
T = TypeVar("T")
_Bind: TypeAlias = Callable[[ToolContext[Any], dict[str, Any]], tuple[list[Any], dict[str, Any]]]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_PARTLY_TEXT = "\n[Part of this result is not JSON and is shown as text.]"


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave. A tool may return one itself, to say exactly what the model reads.

    Attributes:
        content: What the model reads.
        data: What the program gets: the value that the function returned.
        is_error: Whether the content says what went wrong.
    """

    content: str
    data: Any = None
    is_error: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: `cached_property` keeps the definition in __dict__
class Tool:
    """Whatever a model can call. Make one with `tool`, or with `Tool.from_schema`.

    Attributes:
        name: What the model calls it.
        description: What the model reads about it.
        parameters: The JSON Schema of its arguments.
        function: What runs.
        sequential: Whether no other call of the same reply may run beside it.
        is_method: Whether it is a method that has no object yet: take the tool from an object to call it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(repr=False)
    function: Callable[..., Any] = field(repr=False)
    sequential: bool = False
    _bind: _Bind = field(repr=False)
    is_method: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"tool {self.name!r}: a name has 1 to 64 letters, digits, '_' and '-'; give one with tool(name=...)"
            )

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[[ToolContext[Any], dict[str, Any]], Any],
        *,
        sequential: bool = False,
    ) -> Tool:
        """A tool whose schema is known but is not that of a Python function: a server's, a handoff, another agent.

        Args:
            name: What the model calls it.
            description: What the model reads about it.
            parameters: The JSON Schema of its arguments, an object. Arguments are parsed, but not checked against it.
            function: Takes the call's context and the arguments as a dict; async or not.
            sequential: Whether no other call of the same reply may run beside it.

        Raises:
            DefinitionError: The name is not allowed, or the schema is not one of an object.
        """
        schema: dict[str, Any] = {"type": "object", "properties": {}, **parameters}
        try:
            encode_json(schema)
        except (TypeError, ValueError, RecursionError) as error:
            raise DefinitionError(f"tool {name!r}: its parameters are not JSON ({error})") from error
        if schema["type"] != "object":
            raise DefinitionError(f"tool {name!r}: its parameters must be a JSON Schema of type 'object'")
        return Tool(
            name=name,
            description=description,
            parameters=schema,
            function=function,
            sequential=sequential,
            _bind=lambda context, arguments: ([context, arguments], {}),
        )

    @cached_property
    def definition(self) -> FunctionTool:
        """The tool as a request sends it."""
        return FunctionTool(self.name, self.description, self.parameters)

    async def call(self, context: ToolContext[Any], arguments: str) -> ToolResult:
        """Run a model's call: parse and validate the arguments, run the function, write its result as text.

        A function that is not async runs in a worker thread. If the call is cancelled meanwhile, the thread is left to
        itself.

        Args:
            context: What the function may know about the run.
            arguments: The text that the model wrote.

        Raises:
            ToolError: The arguments do not fit, or the function raised it.
            Exception: Whatever else the function raised.
        """
        args, kwargs = self._bind(_usable_in_threads(context), parse_arguments(arguments))
        run = functools.partial(self.function, *args, **kwargs)
        if _is_async(self.function):
            value = await _contained(cast("Awaitable[Any]", run()))
        else:
            value = await anyio.to_thread.run_sync(_run_in_thread, run, abandon_on_cancel=True)
            if isinstance(value, _Awaitable):
                value = await _contained(value.value)
        return to_result(value)


class ToolFunction(Tool, Generic[F_co]):
    """A tool that was made of a function, and is called like it: other code and tests need not know it is a tool."""

    # A property with the function's own type, and not a method over a ParamSpec: only so do mypy and pyright know what
    # `[one_tool, another]` is a list of.
    @property
    def __call__(self) -> F_co:
        """Call the function itself."""
        return cast("F_co", self.function)

    @overload
    def __get__(self, instance: None, owner: type) -> ToolFunction[F_co]: ...
    @overload
    def __get__(
        self: ToolFunction[Callable[Concatenate[Any, P], T]], instance: object, owner: type | None = None
    ) -> ToolFunction[Callable[P, T]]: ...
    def __get__(self, instance: object, owner: type | None = None) -> ToolFunction[Any]:
        """The tool of this object, if the tool is a method."""
        if instance is None or not self.is_method:
            return self
        return replace(self, function=MethodType(self.function, instance), is_method=False)


class _Decorator(Protocol):
    def __call__(self, function: Callable[P, T], /) -> ToolFunction[Callable[P, T]]: ...


@overload
def tool(
    function: Callable[P, T], /, *, name: str | None = None, description: str | None = None, sequential: bool = False
) -> ToolFunction[Callable[P, T]]: ...
@overload
def tool(*, name: str | None = None, description: str | None = None, sequential: bool = False) -> _Decorator: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    sequential: bool = False,
) -> Tool | _Decorator:
    """Make a tool of a function; as a decorator with or without options.

    The schema comes from the signature, the descriptions from the docstring or from `Annotated`; a parameter annotated
    with `ToolContext` gets the context of the call. In the body of a class it makes a method a tool of each object.

    Args:
        function: A function, async function, bound method, callable object or `functools.partial`. A tool is returned
            as it is, apart from the options given.
        name: What the model calls it, if not by the function's name.
        description: What the model reads about it, if not the docstring.
        sequential: Whether no other call of the same reply may run beside it.

    Raises:
        DefinitionError: The name is not allowed, or a parameter cannot be described to a model.
    """
    if function is None:
        return cast("_Decorator", functools.partial(tool, name=name, description=description, sequential=sequential))
    if isinstance(function, ToolFunction):
        return _changed(cast("Tool", function), name=name, description=description, sequential=sequential or None)
    signature = _signature(function)
    return ToolFunction[Any](
        name=signature.name if name is None else name,
        description=signature.description if description is None else description,
        parameters=signature.parameters,
        function=function,
        sequential=sequential,
        _bind=lambda context, arguments: signature.bind(validate_arguments(signature, arguments), context),
        is_method=_is_method(function),
    )


def _changed(made: Tool, **changes: Any) -> Tool:
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(made, **given) if given else made


def as_tool(function: Tool | Callable[..., Any]) -> Tool:
    """The tool itself, or one made of the function with its own name and docstring.

    Raises:
        DefinitionError: It cannot become a tool, or is a method that was taken from the class, not from an object.
    """
    made = function if isinstance(function, Tool) else tool(function)
    if made.is_method:
        raise DefinitionError(f"tool {made.name!r} is a method: take it from an object, not from the class")
    return made


def to_result(value: object) -> ToolResult:
    """Write a function's value as text for a model. Never fails, since the function has already done its work.

    A text stays as it is. Everything else is compact JSON, as pydantic writes it: None is ``null``, a model goes by its
    aliases, and what JSON writes as a text (a date, an enum's value, UTF-8 bytes) is that text without quotes. NaN is
    written as the text NaN. What JSON cannot express is described in words, and a last line says so. A `ToolResult` is
    returned as it is.
    """
    return value if isinstance(value, ToolResult) else ToolResult(_text(value), value)


# Defining.


def _signature(function: Callable[..., Any]) -> Signature:
    if not callable(function):
        raise DefinitionError(f"{function!r} is not a function; of a class method, use `tool(Class.method)`")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"tool {name_of(function)!r} is a generator; return a list instead of yielding")
    return read_signature(function, method=_is_method(function))


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether it is a function from the body of a class that does not know its object yet."""
    names = function.__qualname__.split(".") if inspect.isfunction(function) else []
    first = next(iter(inspect.signature(function).parameters), "") if len(names) > 1 else ""
    return first == "self" and names[-2] != "<locals>"


# Running.


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _usable_in_threads(context: ToolContext[Any]) -> ToolContext[Any]:
    """The context with an ``emit`` that reaches the event loop from every thread."""
    home, token, emit = threading.get_ident(), anyio.lowlevel.current_token(), context.emit

    def hop(event: Event) -> None:
        if threading.get_ident() == home:
            emit(event)
        else:
            anyio.from_thread.run_sync(emit, event, token=token)

    return replace(context, emit=hop)


@dataclass(frozen=True, slots=True)
class _Awaitable:
    """What an async function under a decorator that is not async returns; trio lets no bare one out of a thread."""

    value: Awaitable[Any]


def _run_in_thread(run: Callable[[], Any]) -> ToolResult | _Awaitable:
    """Run the function and write its result here, where a lazy result may block; an awaitable is left to the loop."""
    try:
        value = run()
    except StopIteration as error:  # a future cannot carry it
        raise _as_failure(error) from error
    except Exception:
        raise
    except BaseException as error:  # no signal and no cancellation reaches a worker thread: it is the function's own
        raise _as_failure(error) from error
    return _Awaitable(value) if inspect.isawaitable(value) else to_result(value)


async def _contained(value: Awaitable[Any]) -> Any:
    """Await; what would end the program is a failure of the tool, unless it came from outside of it."""
    try:
        return await value
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        if _is_from_outside(error):
            raise
        raise _as_failure(error) from error


def _is_from_outside(error: BaseException) -> bool:
    """Whether it is Ctrl-C, raised by the event loop's handler, or the coroutine is closed when no task runs."""
    if isinstance(error, GeneratorExit):
        try:
            anyio.get_current_task()
        except RuntimeError:
            return True
        return False
    raised_in = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return raised_in.partition(".")[0] in ("asyncio", "trio")


def _as_failure(error: BaseException) -> RuntimeError:
    if isinstance(error, SystemExit):
        return RuntimeError(f"the tool called sys.exit({error.code!r})")
    return RuntimeError(f"the tool raised {type(error).__name__}")


# Writing results.


def _text(value: object) -> str:
    if isinstance(value, str):
        return _clean(str.__str__(value))
    described: list[object] = []

    def describe(unknown: object) -> object:
        if isinstance(unknown, range | KeysView | ValuesView | ItemsView):
            return list(cast("Collection[object]", unknown))
        if isinstance(unknown, Mapping):
            return dict(cast("Mapping[object, object]", unknown))
        described.append(unknown)
        return _described(unknown)

    try:
        text = _unquoted(to_json(value, fallback=describe, inf_nan_mode="strings"))
    except Exception:  # noqa: BLE001 - a value brings code of its own; the function has run and must not fail now
        described.append(value)
        text = _salvaged(value, describe)
    return text + _PARTLY_TEXT if described else text


def _salvaged(value: object, describe: Callable[[object], object]) -> str:
    """As much JSON as possible: bytes in base64, half surrogate pairs as U+FFFD. Otherwise words."""
    try:
        return _unquoted(encode_json(to_jsonable_python(value, fallback=describe, bytes_mode="base64")))
    except Exception:  # noqa: BLE001 - see above
        return _described(value)


def _unquoted(encoded: bytes) -> str:
    return str(from_json(encoded)) if encoded.startswith(b'"') else encoded.decode()


def _described(value: object) -> str:
    try:
        return _clean(_ADDRESS.sub("", repr(value)))
    except Exception:  # noqa: BLE001 - see above
        return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    """The text with surrogates joined to the character they make, or U+FFFD: UTF-8 has no surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
