"""`Tool`: anything that a model can call. `tool` makes one of a function.

The steps of a call, in order: its arguments are parsed and validated (`arguments`) and bound to the function's
parameters (`signature`), the function is run (`execute`), and its result is written for the model (`result`).
"""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, Unpack, cast, overload

from agentkit.chat.json_schema import strict_form
from agentkit.chat.json_values import encode_json
from agentkit.chat.request import CustomTool, FunctionTool, Grammar, ToolDefinition
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.arguments import Shape, bind_arguments, parse_arguments
from agentkit.tools.context import LoopEmit, RunContext, ToolContext
from agentkit.tools.execute import Kind, check_place, kind_of, run_function
from agentkit.tools.options import Execution, ToolOptions
from agentkit.tools.result import ToolResult
from agentkit.tools.schemas import check_schema
from agentkit.tools.signature import arguments_of, is_method, name_of, read_signature

if TYPE_CHECKING:  # a type variable with a default, which `typing` has from Python 3.13 on
    from typing_extensions import TypeVar
else:
    from typing import TypeVar as _TypeVar

    def TypeVar(name, *, default=None, **options):  # noqa: ARG001, D103, N802 - stands for a class that knows defaults
        return _TypeVar(name, **options)


P = ParamSpec("P")
T = TypeVar("T")
D = TypeVar("D")
Deps = TypeVar("Deps", default=Any)
F_co = TypeVar("F_co", covariant=True, default=Callable[..., Any])
Needs_co = TypeVar("Needs_co", covariant=True, default=Any)
AnyTool = TypeVar("AnyTool", bound="Tool[Any]")

Needs: TypeAlias = Callable[[D], object]
"""The dependencies that a tool wants, for type checkers: ``Tool[Needs[X]]`` is for agents with an ``X`` as ``deps``.

As a function of the dependencies it is covariant, so that tools with different needs fit into one list.
"""

Arguments: TypeAlias = str | Mapping[str, Any]
"""The arguments of a call: the string that the model wrote, or the object that was parsed from it."""

_Bind: TypeAlias = Callable[[ToolContext[Any], Arguments], tuple[list[Any], dict[str, Any]]]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OF_FUNCTIONS = (
    *("__module__", "__qualname__", "__doc__", "__annotations__", "__type_params__"),
    *("__code__", "__defaults__", "__kwdefaults__"),  # by these, `inspect` recognizes an async function
)


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: `cached_property` keeps the definition in __dict__
class Tool(Execution, Generic[Needs_co]):
    """Anything that a model can call. Make one with `tool`, or with `Tool.from_schema` or `Tool.custom`.

    Further attributes say how its calls are run: those of `ToolOptions`.

    Attributes:
        name: The name that the model calls it by.
        description: The description that the model reads.
        parameters: The JSON Schema of its arguments.
        function: The function that runs.
        strict: None to send a strict schema if one says the same, True if there must be one, False for the plain one.
        condition: Asked before each turn whether the model is offered the tool; see `Toolset.when`.
        prefix: The prefix that `Toolset.prefixed` gave its name.
        deps_type: ``X`` if the function takes a ``ToolContext[X]``; None if it declares no type of dependencies.
        is_method: Whether it is a method that has no object yet: take the tool from an object to call it.
        is_custom: Whether its calls are a string of any form and not arguments; see `Tool.custom`.
        grammar: The form of that string; None allows any.
        is_external: Whether its results come from outside; see `Tool.external`.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(repr=False)
    function: Callable[..., Any] = field(repr=False)
    _bind: _Bind = field(repr=False)
    _takes_context: bool = field(default=True, repr=False)
    strict: bool | None = field(default=None, repr=False)
    condition: Callable[[RunContext[Any]], bool] | None = field(default=None, repr=False)
    prefix: str = field(default="", repr=False)
    deps_type: Any = field(default=None, repr=False)
    is_method: bool = field(default=False, repr=False)
    is_custom: bool = field(default=False, repr=False)
    grammar: Grammar | None = field(default=None, repr=False)
    is_external: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"tool {self.name!r}: a name has 1 to 64 letters, digits, '_' and '-'; give one with tool(name=...)"
            )
        self.check_options(self.name)
        if self.strict:
            self._strict_parameters()
        if self.process and self._takes_context:
            raise DefinitionError(f"tool {self.name!r} takes a ToolContext, which cannot go to another process")
        check_place(self, self.function, self.name)

    def __deepcopy__(self, memo: object) -> Tool[Needs_co]:
        return self  # it never changes, and a copy would count its calls separately

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[[ToolContext[Any], dict[str, Any]], Any],
        *,
        strict: bool = False,
        **options: Unpack[ToolOptions],
    ) -> Tool:
        """Make a tool whose schema does not come from a function: a server's, a hand-off, another agent.

        Args:
            name: The name that the model calls it by.
            description: The description that the model reads.
            parameters: The JSON Schema of its arguments, an object. Arguments are parsed, but not checked against it.
            function: Takes the call's context and the arguments as a dict; async or not.
            strict: Whether servers that can must produce only arguments that fit. A strict schema must then be able to
                say the same: every property is required, for example.
            **options: See `ToolOptions`.

        Raises:
            DefinitionError: The name is not allowed, the schema is not one of an object, or it cannot be strict.
        """
        _check_raw(name, function)
        return Tool(
            name=name,
            description=description,
            parameters=check_schema(name, parameters),
            function=function,
            strict=strict,
            _bind=_bind_as_given,
            **options,
        )

    @classmethod
    def custom(
        cls,
        name: str,
        description: str,
        function: Callable[[ToolContext[Any], str], Any],
        *,
        grammar: Grammar | None = None,
        **options: Unpack[ToolOptions],
    ) -> Tool:
        """Make a tool that takes one string of any form instead of arguments: a query, a program, a patch.

        Few servers know custom tools; the others refuse the request.

        Args:
            name: The name that the model calls it by.
            description: The description that the model reads.
            function: Takes the call's context and the string as the model wrote it; async or not.
            grammar: The form of the string, which the server enforces. None allows any string.
            **options: See `ToolOptions`.

        Raises:
            DefinitionError: The name is not allowed, or an option cannot work.
        """
        _check_raw(name, function)
        return Tool(
            name=name,
            description=description,
            parameters={"type": "object", "properties": {}},
            function=function,
            strict=False,
            is_custom=True,
            grammar=grammar,
            _bind=lambda context, given: ([context, given if isinstance(given, str) else str(given["input"])], {}),
            **options,
        )

    @classmethod
    def external(cls, name: str, description: str, parameters: Mapping[str, Any], *, strict: bool = False) -> Tool:
        """Make a tool that does not run here: a run that calls it pauses until `RunState.answer` brings the result.

        Args:
            name: The name that the model calls it by.
            description: The description that the model reads.
            parameters: The JSON Schema of its arguments, an object.
            strict: See `from_schema`.

        Raises:
            DefinitionError: The name is not allowed, the schema is not one of an object, or it cannot be strict.
        """

        def outside(_context: ToolContext[Any], _arguments: dict[str, Any]) -> str:
            raise ToolError("this tool runs elsewhere, and there is no answer yet")

        return replace(cls.from_schema(name, description, parameters, outside, strict=strict), is_external=True)

    @property
    def may_wait(self) -> bool:
        """True if a call of it may wait for a decision, whatever the policy of the agent."""
        return self.is_external or self.requires_approval is not False

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the model reads: two tools with the same hash are the same to a model."""
        grammar = self.grammar and [self.grammar.syntax, self.grammar.definition]
        read = [self.name, self.description, self.parameters, self.is_custom, grammar]
        return hashlib.sha256(encode_json(read)).hexdigest()

    @cached_property
    def shape(self) -> Shape:
        """The shape of its arguments, as the model knows it."""
        return Shape.of(self.parameters)

    @cached_property
    def definition(self) -> ToolDefinition:
        """The tool as a request sends it."""
        if self.is_custom:
            return CustomTool(self.name, self.description, self.grammar)
        form = self._strict_parameters()
        return FunctionTool(self.name, self.description, self.parameters, form is not None or None, form)

    def _strict_parameters(self) -> Mapping[str, Any] | None:
        return strict_form(self.name, self.parameters, strict=self.strict, of_function=isinstance(self, ToolFunction))

    async def call(self, context: ToolContext[Any], arguments: Arguments) -> ToolResult:
        """Run a model's call: validate the arguments, run the function, write its result for the model.

        Args:
            context: The context of the call.
            arguments: The string that the model wrote (``ToolCall.written``), or the dict that was parsed from it.

        Raises:
            ModelRetry: The arguments do not fit, or the function raised it.
            ToolError: The function raised it, or took longer than its ``timeout``.
            Exception: Whatever else the function raised.
        """
        emit = LoopEmit(context.emit)
        context = replace(context, emit=emit)
        try:
            args, kwargs = self._bind(context, arguments)
            return await run_function(self, self._kind, context, functools.partial(self.function, *args, **kwargs))
        finally:
            emit.close()

    def checked(self, context: ToolContext[Any], arguments: Arguments) -> dict[str, Any]:
        """The validated arguments of a call by name, defaults filled in; nothing runs.

        Args:
            context: The context of the call.
            arguments: As for `call`.

        Raises:
            ModelRetry: The arguments do not fit.
        """
        args, kwargs = self._bind(context, arguments)
        if not isinstance(self, ToolFunction):
            return {"input": args[1]} if self.is_custom else cast("dict[str, Any]", args[1])
        return arguments_of(self.function, args, kwargs, context)

    @cached_property
    def _kind(self) -> Kind:
        return kind_of(self.function)


class ToolFunction(Tool[Needs_co], Generic[F_co, Needs_co]):
    """A tool made from a function. It can be called like the function, by code that does not know that it is a tool.

    `inspect` sees the function as well: its name, docstring, signature, and whether it is async.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        mirrored = {name: getattr(self.function, name) for name in _OF_FUNCTIONS if hasattr(self.function, name)}
        self.__dict__.update(mirrored, __wrapped__=self.function, __name__=name_of(self.function))

    # A property with the function's own type, not a method over a ParamSpec: only then do mypy and pyright know what
    # `[one_tool, another]` is a list of.
    @property
    def __call__(self) -> F_co:
        """Call the function itself."""
        return cast("F_co", self.function)

    @overload
    def __get__(self, instance: None, owner: type) -> ToolFunction[F_co, Needs_co]: ...
    @overload
    def __get__(
        self: ToolFunction[Callable[Concatenate[Any, P], T], Needs_co], instance: object, owner: type | None = None
    ) -> ToolFunction[Callable[P, T], Needs_co]: ...
    def __get__(self, instance: object, owner: type | None = None) -> ToolFunction[Any, Needs_co]:
        """The tool of this object, if the tool is a method."""
        if instance is None or not self.is_method:
            return self
        return replace(self, function=MethodType(self.function, instance), is_method=False)


class _Decorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[Concatenate[ToolContext[D], P], T], /
    ) -> ToolFunction[Callable[Concatenate[ToolContext[D], P], T], Needs[D]]: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload] - a context may also be the second parameter
        self, function: Callable[Concatenate[Any, ToolContext[D], P], T], /
    ) -> ToolFunction[Callable[Concatenate[Any, ToolContext[D], P], T], Needs[D]]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> ToolFunction[Callable[P, T], Needs[object]]: ...


class _Options(ToolOptions, total=False):
    name: str | None
    description: str | None
    strict: bool | None
    require_docs: bool


@overload
def tool(function: AnyTool, /, **options: Unpack[_Options]) -> AnyTool: ...
@overload
def tool(
    function: Callable[Concatenate[ToolContext[D], P], T], /, **options: Unpack[_Options]
) -> ToolFunction[Callable[Concatenate[ToolContext[D], P], T], Needs[D]]: ...
@overload
def tool(  # pyright: ignore[reportOverlappingOverload] - as above
    function: Callable[Concatenate[Any, ToolContext[D], P], T], /, **options: Unpack[_Options]
) -> ToolFunction[Callable[Concatenate[Any, ToolContext[D], P], T], Needs[D]]: ...
@overload
def tool(function: Callable[P, T], /, **options: Unpack[_Options]) -> ToolFunction[Callable[P, T], Needs[object]]: ...
@overload
def tool(**options: Unpack[_Options]) -> _Decorator: ...
def tool(
    function: Tool | Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    require_docs: bool = False,
    **options: Unpack[ToolOptions],
) -> Tool | _Decorator:
    """Make a tool of a function; as a decorator with or without options.

    The schema comes from the signature, the descriptions from the docstring or from `Annotated`; a parameter annotated
    with `ToolContext` gets the context of the call. In the body of a class it makes a method a tool of each object.

    Args:
        function: A function, async function, generator, bound method, callable object or `functools.partial`. A tool is
            returned as it is, apart from the options given.
        name: The name that the model calls it by, if not the function's.
        description: The description that the model reads, if not the docstring.
        strict: Whether servers that can must produce only arguments that fit: None does so where a strict schema can
            say the same as the plain one, True raises where none can, False sends the plain one.
        require_docs: Whether to refuse a function when it or one of its parameters has no description.
        **options: How its calls are run, see `ToolOptions`.

    Raises:
        DefinitionError: The name is not allowed, a parameter cannot be described to a model, or an option cannot work.
    """
    if function is None:
        makes = functools.partial(tool, name=name, description=description, strict=strict, require_docs=require_docs)
        return cast("_Decorator", functools.partial(makes, **options))
    inner: Any = getattr(function, "__func__", None)
    if isinstance(function, MethodType) and isinstance(inner, ToolFunction):  # `@classmethod` over `@tool`
        function = cast("Tool", inner.__get__(function.__self__))
    if isinstance(function, Tool):
        given = {"name": name, "description": description, "strict": strict}
        changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None} | dict(options)
        given_tool = cast("Any", function)
        return _documented(replace(given_tool, **changes) if changes else given_tool, required=require_docs)
    if isinstance(function, classmethod):
        raise DefinitionError(f"{function.__name__!r} is a class method: write @classmethod above @tool, not below")
    if not callable(function):
        raise _not_a_tool(function)
    signature = read_signature(function, method=is_method(function))
    made = ToolFunction(
        name=signature.name if name is None else name,
        description=signature.description if description is None else description,
        parameters=signature.parameters,
        function=function,
        _bind=functools.partial(bind_arguments, signature),
        _takes_context=signature.context is not None,
        deps_type=signature.deps_type,
        is_method=is_method(function),
        strict=strict,
        **options,
    )
    return _documented(made, required=require_docs)


def as_tool(function: Tool | Callable[..., Any]) -> Tool:
    """The tool itself, or one made of the function with its own name and docstring.

    Raises:
        DefinitionError: It cannot become a tool, or is a method that was taken from the class, not from an object.
    """
    given: Any = function
    if given is None or not (callable(given) or isinstance(given, Tool)):
        raise _not_a_tool(given)
    made = cast("Tool", given if isinstance(given, Tool) else tool(given))
    if made.is_method:
        raise DefinitionError(f"tool {made.name!r} is a method: take it from an object, not from the class")
    return made


def _not_a_tool(value: object) -> DefinitionError:
    name = (
        repr(value) if value is None or isinstance(value, str | int | float) else f"an object of {type(value).__name__}"
    )
    if hasattr(value, "as_tool"):
        return DefinitionError(f"{name} is not a tool: write .as_tool() after it")
    return DefinitionError(
        f"{name} is not a tool: give a function, a Tool, a Toolset or a ToolSource; "
        "of the methods of an object, make a Toolset.of(...)"
    )


def _documented(made: Tool, *, required: bool) -> Tool:
    """The tool, or `DefinitionError` if it must be documented and is not."""
    if required and not made.description:
        raise DefinitionError(f"tool {made.name!r} has no description: write a docstring, or tool(description=...)")
    silent = [name for name, each in made.parameters["properties"].items() if not each.get("description")]
    if required and silent:
        raise DefinitionError(
            f"tool {made.name!r}: parameter {silent[0]!r} is not documented; describe it below Args: in the docstring, "
            'or with Annotated[..., "what it is"]'
        )
    return made


def _bind_as_given(context: ToolContext[Any], arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
    given = parse_arguments(arguments) if isinstance(arguments, str) else copy.deepcopy(arguments)  # it may change them
    return [context, given], {}


def _check_raw(name: str, function: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with the context and what the model wrote."""
    try:
        inspect.signature(function).bind(None, None)
    except ValueError:  # of a function that is not written in Python
        return
    except TypeError as error:
        raise DefinitionError(
            f"tool {name!r}: its function must take two arguments, the ToolContext and what the model wrote ({error})"
        ) from error
