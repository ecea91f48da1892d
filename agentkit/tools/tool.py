"""`Tool`: whatever a model can call. `tool` makes one of a function.

What a call goes through, in order: its text is parsed and validated (`arguments`), bound to the function's parameters
(`schema`), run (`running`), and its result written as text for the model (`results`).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, Unpack, cast, overload

from agentkit.chat.messages import encode_json
from agentkit.chat.request import CustomTool, FunctionTool, Grammar, ToolDefinition
from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.calls.arguments import parse_arguments, read_arguments
from agentkit.tools.calls.execute import Kind, check_place, kind_of, run_function
from agentkit.tools.context import ToolContext, reachable
from agentkit.tools.options import Execution, ToolOptions
from agentkit.tools.result import ToolResult
from agentkit.tools.schema.signature import Signature, arguments_of, is_method, read_signature
from agentkit.tools.schema.simplify import check_function, check_schema
from agentkit.tools.schema.strict import strict_form

__all__ = ["Tool", "ToolFunction", "as_tool", "tool"]

P = ParamSpec("P")
F_co = TypeVar("F_co", covariant=True)
T = TypeVar("T")
AnyTool = TypeVar("AnyTool", bound="Tool")
_Bind: TypeAlias = Callable[[ToolContext[Any], str], tuple[list[Any], dict[str, Any]]]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: `cached_property` keeps the definition in __dict__
class Tool(Execution):
    """Whatever a model can call. Make one with `tool`, or with `Tool.from_schema` or `Tool.custom`.

    How its calls are run is told by further attributes, which are those of `ToolOptions`.

    Attributes:
        name: What the model calls it.
        description: What the model reads about it.
        parameters: The JSON Schema of its arguments.
        function: What runs.
        strict: None to send a strict schema if one says the same, True if there must be one, False for the plain one.
        condition: Asked before each turn whether the model is offered the tool; see `Toolset.when`.
        is_method: Whether it is a method that has no object yet: take the tool from an object to call it.
        is_custom: Whether its calls are a text of any form and not arguments; see `Tool.custom`.
        grammar: What that text looks like; None allows any.
        is_external: Whether somebody outside gives its results; see `Tool.external`.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(repr=False)
    function: Callable[..., Any] = field(repr=False)
    _bind: _Bind = field(repr=False)
    strict: bool | None = field(default=None, repr=False)
    condition: Callable[[ToolContext[Any]], bool] | None = field(default=None, repr=False)
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
        check_place(self, self.function, self.name)

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
        """A tool whose schema is known but is not that of a Python function: a server's, a handoff, another agent.

        Args:
            name: What the model calls it.
            description: What the model reads about it.
            parameters: The JSON Schema of its arguments, an object. Arguments are parsed, but not checked against it.
            function: Takes the call's context and the arguments as a dict; async or not.
            strict: Whether servers that can are to produce only arguments that fit. The schema must then be one that a
                strict schema can say: every property required, for example.
            **options: See `ToolOptions`.

        Raises:
            DefinitionError: The name is not allowed, the schema is not one of an object, or it cannot be strict.
        """
        _check_raw(name, function, options)
        return Tool(
            name=name,
            description=description,
            parameters=check_schema(name, parameters),
            function=function,
            strict=strict,
            _bind=lambda context, text: ([context, parse_arguments(text)], {}),
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
        """A tool that takes one text of any form instead of arguments: a query, a program, a patch.

        Few servers know custom tools; the others refuse the request.

        Args:
            name: What the model calls it.
            description: What the model reads about it.
            function: Takes the call's context and the text as the model wrote it; async or not.
            grammar: What the text looks like; the server keeps the model to it. None allows any text.
            **options: See `ToolOptions`.

        Raises:
            DefinitionError: The name is not allowed, or an option cannot work.
        """
        _check_raw(name, function, options)
        return Tool(
            name=name,
            description=description,
            parameters={"type": "object", "properties": {}},
            function=function,
            strict=False,
            is_custom=True,
            grammar=grammar,
            _bind=lambda context, text: ([context, text], {}),
            **options,
        )

    @classmethod
    def external(cls, name: str, description: str, parameters: Mapping[str, Any], *, strict: bool = False) -> Tool:
        """A tool that does not run here: a run that calls it pauses until `RunState.answer` brings the result.

        Args:
            name: What the model calls it.
            description: What the model reads about it.
            parameters: The JSON Schema of its arguments, an object.
            strict: See `from_schema`.

        Raises:
            DefinitionError: The name is not allowed, the schema is not one of an object, or it cannot be strict.
        """
        return replace(cls.from_schema(name, description, parameters, _outside, strict=strict), is_external=True)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what the model is told: two tools with the same one mean the same to it."""
        grammar = self.grammar and [self.grammar.syntax, self.grammar.definition]
        told = [self.name, self.description, self.parameters, self.is_custom, grammar]
        return hashlib.sha256(encode_json(told)).hexdigest()

    @cached_property
    def definition(self) -> ToolDefinition:
        """The tool as a request sends it."""
        if self.is_custom:
            return CustomTool(self.name, self.description, self.grammar)
        form = self._strict_parameters()
        return FunctionTool(self.name, self.description, self.parameters, form is not None or None, form)

    def _strict_parameters(self) -> Mapping[str, Any] | None:
        return strict_form(self.name, self.parameters, strict=self.strict, of_function=isinstance(self, ToolFunction))

    async def call(self, context: ToolContext[Any], arguments: str) -> ToolResult:
        """Run a model's call: parse and validate the arguments, run the function, write its result as text.

        Args:
            context: What the function may know about the run.
            arguments: The text that the model wrote; `ToolCall.written`.

        Raises:
            ModelRetry: The arguments do not fit, or the function raised it.
            ToolError: The function raised it, or took longer than its ``timeout``.
            Exception: Whatever else the function raised.
        """
        context = reachable(context)
        args, kwargs = self._bind(context, arguments)
        return await run_function(self, self._kind, context, functools.partial(self.function, *args, **kwargs))

    def checked(self, context: ToolContext[Any], arguments: str) -> dict[str, Any]:
        """The validated arguments of a call by name, defaults filled in; nothing runs.

        Raises:
            ToolError: The arguments do not fit.
        """
        args, kwargs = self._bind(context, arguments)
        if not isinstance(self, ToolFunction):
            return {"input": args[1]} if self.is_custom else cast("dict[str, Any]", args[1])
        return arguments_of(self.function, args, kwargs, context)

    @cached_property
    def _kind(self) -> Kind:
        return kind_of(self.function)


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
    function: AnyTool,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    require_docs: bool = False,
    **options: Unpack[ToolOptions],
) -> AnyTool: ...
@overload
def tool(
    function: Callable[P, T],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    require_docs: bool = False,
    **options: Unpack[ToolOptions],
) -> ToolFunction[Callable[P, T]]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
    require_docs: bool = False,
    **options: Unpack[ToolOptions],
) -> _Decorator: ...
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
        name: What the model calls it, if not by the function's name.
        description: What the model reads about it, if not the docstring.
        strict: Whether servers that can are to produce only arguments that fit: None where a strict schema says the
            same as the plain one, True to be told when it does not, False for the plain one.
        require_docs: Whether to refuse a function when it or one of its parameters has no description.
        **options: How its calls are run, see `ToolOptions`.

    Raises:
        DefinitionError: The name is not allowed, a parameter cannot be described to a model, or an option cannot work.
    """
    if function is None:
        makes = functools.partial(tool, name=name, description=description, strict=strict, require_docs=require_docs)
        return cast("_Decorator", functools.partial(makes, **options))
    function = _of_class(function)
    if isinstance(function, Tool):
        if options.get("process") and not function.process:
            _check_process(function)
        given = {"name": name, "description": description, "strict": strict}
        changed = {key: value for key, value in given.items() if value is not None}
        return _documented(_changed(function, {**changed, **options}), require_docs)
    signature = _signature(function)
    if options.get("process") and signature.context is not None:
        _refuse_process(signature.name, options)
    made = ToolFunction[Any](
        name=signature.name if name is None else name,
        description=signature.description if description is None else description,
        parameters=signature.parameters,
        function=function,
        _bind=lambda context, text: signature.bind(read_arguments(signature, text), context),
        is_method=is_method(function),
        strict=strict,
        **options,
    )
    return _documented(made, require_docs)


def _of_class(function: Tool | Callable[..., Any]) -> Tool | Callable[..., Any]:
    """What `@classmethod` over `@tool` gives is a method of a tool: the tool of that class."""
    inner: Any = getattr(function, "__func__", None)
    if not isinstance(function, MethodType) or not isinstance(inner, ToolFunction):
        return function
    return inner.__get__(function.__self__)


def _documented(made: Tool, required: bool) -> Tool:  # noqa: FBT001 - of this module only
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


def _changed(made: Tool, changes: dict[str, Any]) -> Tool:
    return replace(made, **changes) if changes else made


def as_tool(function: Tool | Callable[..., Any]) -> Tool:
    """The tool itself, or one made of the function with its own name and docstring.

    Raises:
        DefinitionError: It cannot become a tool, or is a method that was taken from the class, not from an object.
    """
    made = function if isinstance(function, Tool) else tool(function)
    if made.is_method:
        raise DefinitionError(f"tool {made.name!r} is a method: take it from an object, not from the class")
    return made


def _outside(context: ToolContext[Any], arguments: dict[str, Any]) -> str:  # noqa: ARG001 - what a tool is given
    raise ToolError("this tool is run by somebody outside, who has not answered")


# Defining.


def _check_raw(name: str, function: Callable[..., Any], options: ToolOptions) -> None:
    _refuse_process(name, options)
    check_function(name, function)


def _refuse_process(name: str, options: ToolOptions) -> None:
    if options.get("process"):
        raise DefinitionError(f"tool {name!r} takes a ToolContext, which cannot go to another process")


def _check_process(made: Tool) -> None:
    """Refuse to move a tool to another process if its function takes the context."""
    if not isinstance(made, ToolFunction) or _signature(made.function).context is not None:
        _refuse_process(made.name, {"process": True})


def _signature(function: Any) -> Signature:
    if isinstance(function, classmethod):
        raise DefinitionError(f"{function.__name__!r} is a class method: write @classmethod above @tool, not below")
    if not callable(function):
        raise DefinitionError(f"{function!r} is not a function; of the methods of an object, make a `Toolset.of(...)`")
    return read_signature(function, method=is_method(function))
