"""The output of an agent: how it is requested, and how it is read from the last reply.

There are four ways to request an output that is not plain text:

- ``native``: ``response_format`` with the JSON Schema;
- ``tool``: a tool whose arguments are the output;
- ``json``: ``response_format`` for any JSON object, and the schema in the instructions;
- ``prompted``: the schema in the instructions, and nothing that a server would have to support.

``auto`` takes the first of them that is known to work with the tools of the agent, and goes down the list when a server
refuses a way or ignores it. Whatever the way, the answer is read from an output call or else from the text.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import UnionType
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

from pydantic_core import to_jsonable_python

from agentkit.chat.client import ChatClient
from agentkit.chat.compat.profile import Profile
from agentkit.chat.events import DeltasDiscarded, Event, ReplyRepaired, RequestAdapted, TextDelta
from agentkit.chat.json_schema import leaf_schemas, member_schemas
from agentkit.chat.json_values import encode_json
from agentkit.chat.messages import AssistantMessage, Message, SystemMessage, ToolCall
from agentkit.chat.reply import Choice, Model, Reply, TokenLogprob
from agentkit.chat.request import ChatRequest, FunctionTool
from agentkit.chat.settings import ResponseFormat
from agentkit.errors import (
    BadRequest,
    ConfigError,
    ContextTooLong,
    MalformedToolCall,
    ModelRetry,
    NotFound,
    OutputInvalid,
)
from agentkit.run.events import TurnStarted
from agentkit.run.run import ModelTurn, NextModel, Run
from agentkit.run.transcript import CONFIDENCE, CUT, labeled
from agentkit.tools.arguments import parse_arguments
from agentkit.tools.context import RunContext, ToolContext
from agentkit.tools.repair import repair_json
from agentkit.tools.tool import Tool
from agentkit.tools.value import VALUE, FunctionCall, NoValue, SchemaType, ValueType

Out = TypeVar("Out")
Way: TypeAlias = Literal["auto", "native", "tool", "json", "prompted"]
"""The way in which an output is requested; see `TypedOutput`."""

WithCalls: TypeAlias = Literal["ask_again", "run", "skip"]
"""The rule for an output in a reply that also calls tools; see `TypedOutput`."""

OUTPUT_TOOL = "final_answer"
"""The name of the tool whose arguments are the output."""

OutputFunction: TypeAlias = Callable[..., Coroutine[Any, Any, Out] | Out]
"""A function whose parameters are the shape of an output and whose return value is the output; it may be async."""

OutputShape: TypeAlias = type[Out] | OutputFunction[Out] | Sequence[type[Out] | OutputFunction[Out]] | UnionType
"""Anything that can be given as the type of an output.

Type checkers that do not accept a union such as ``Invoice | Refusal`` as a type need it in the annotation of the agent:
``agent: Agent[None, Invoice | Refusal] = Agent(...)``.
"""

_WAYS = ("auto", "native", "tool", "json", "prompted")
_TOOL_WAYS = ("forced tool", "tool")
_MOST_WORK = 64  # characters that a draft may have for each new one since the last draft
_STEPS = 256  # characters that it may always have
_INVALID = 2  # invalid replies of a run after which the output is requested in another way


@dataclass(slots=True)
class _Memory:
    """The state of an output within a run.

    Attributes:
        way: How it was requested last.
        invalid: How many replies to that way held no valid output.
        given_up: The ways that did not work.
    """

    way: str = ""
    invalid: int = 0
    given_up: set[str] = field(default_factory=set[str])


_refused: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


def _refused_by(model: Model) -> set[str]:
    """The ways that a model is known to refuse or ignore, remembered while the object lives or in its profile."""
    try:
        refused = _refused.setdefault(model, set())
    except TypeError:  # it has no hash or takes no weak references
        refused = _refused.setdefault(type(model), set())
    if isinstance(model, ChatClient):
        refused |= model.profile.no_output_by
    return refused


class Drafts(Protocol):
    """Makes drafts of an output from the events of a run."""

    def feed(self, event: Event) -> tuple[Any, bool]:
        """Take an event; return the next draft, and whether there is one."""
        ...


class TextDrafts:
    """Drafts of plain text: the text so far, each time it has grown enough for the sum of the drafts to stay linear."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = self._new = 0

    def feed(self, event: Event) -> tuple[str, bool]:
        """Take an event; return the text so far, and whether it is worth a draft."""
        if isinstance(event, TurnStarted | DeltasDiscarded):
            self._parts, self._size, self._new = [], 0, 0
        if not isinstance(event, TextDelta) or not event.text:
            return "", False
        self._parts.append(event.text)
        self._size += len(event.text)
        self._new += len(event.text)
        if self._size > _MOST_WORK * self._new + _STEPS:
            return "", False
        self._parts, self._new = ["".join(self._parts)], 0
        return self._parts[0], True


class Output(Generic[Out]):
    """Requests and reads an output.

    Attributes:
        retries: How many replies in a row may be invalid before the run fails with `OutputInvalid`.
        with_calls: What happens to an output in a reply that also calls tools.
        tool: The tool whose arguments are the output, if there is one. Its calls are never run.
    """

    retries: int = 3
    with_calls: WithCalls = "ask_again"
    tool: Tool | None = None

    async def ask(self, turn: ModelTurn, inner: NextModel) -> Reply:
        """Change a request so that the model answers with the output, and send it."""
        return await inner(turn)

    async def read(self, message: AssistantMessage, context: RunContext[Any]) -> Out:
        """Read the output from the reply that would end the run.

        Raises:
            ModelRetry: The output is not valid; the model reads the message and tries again.
        """
        raise NotImplementedError

    def drafts(self) -> Drafts:
        """Create the reader of drafts of the output while the model writes it."""
        return TextDrafts()

    def note_invalid(self, run: Run[Any], model: Model, complaint: ModelRetry) -> str:  # noqa: ARG002 - for subclasses
        """Note that a reply held no valid output; return a sentence if it is requested in another way from now on."""
        return ""


class TextOutput(Output[str]):
    """Reads the text of the reply as it is."""

    async def read(self, message: AssistantMessage, context: RunContext[Any]) -> str:  # noqa: ARG002
        """Return the text."""
        return message.text


class TypedOutput(Output[Out]):
    """An output of a type.

    Args:
        output_type: Whatever pydantic can validate: a model, a dataclass, a `TypedDict`, a scalar, an enum, a list, a
            union. Or a function: its parameters are the shape, and what it returns is the output. Or a list of these.
        way: How the output is requested. ``"auto"`` starts with ``"native"``, or with ``"tool"`` if the agent has tools
            (some servers never call tools once ``response_format`` is set), and falls back where a server refuses that
            or ignores it. Any other way is used without a fallback.
        retries: How many replies in a row may be invalid before the run fails.
        name: The name that the model reads; by default that of the type.
        description: The purpose; by default the docstring of the type.
        with_calls: What happens to an output in a reply that also calls tools, whose results the model has not read:
            ``"ask_again"`` runs the tools and does not take the output; ``"run"`` takes it and runs the tools;
            ``"skip"`` takes it and runs none of them. Output in text that comes with calls is never taken.
        confidence: Whether to ask for log probabilities, so that ``result.confidence`` says how sure the model was; for
            a bool, a Literal or an Enum.

    Raises:
        DefinitionError: No JSON Schema expresses the type, a function has no annotations, or two alternatives are
            indistinguishable.
        ConfigError: There is no such way, or the type has no confidence.
    """

    def __init__(
        self,
        output_type: OutputShape[Out],
        *,
        way: Way = "auto",
        retries: int = 3,
        name: str = "",
        description: str = "",
        with_calls: WithCalls = "ask_again",
        confidence: bool = False,
    ) -> None:
        if way not in _WAYS:
            raise ConfigError(f"way={way!r} must be one of {', '.join(_WAYS)}")
        if with_calls not in ("ask_again", "run", "skip"):
            raise ConfigError(f'with_calls={with_calls!r} must be "ask_again", "run" or "skip"')
        if retries < 0:
            raise ConfigError(f"retries={retries} must not be negative")
        self.value_type = self._value_type(output_type, name, description)
        if confidence and not self.value_type.is_choice:
            raise ConfigError(f"confidence=True is for a bool, a Literal or an Enum, not for {self.value_type.name}")
        self.confidence = confidence
        self.way = way
        self.retries = retries
        self.with_calls: WithCalls = with_calls
        said = self.value_type.description
        self._definition = FunctionTool(
            OUTPUT_TOOL,
            f"Give the final answer. {said}".strip(),
            self.value_type.schema,
            self.value_type.strict is not None or None,
            self.value_type.strict,
        )
        self.tool = Tool.from_schema(OUTPUT_TOOL, self._definition.description, self.value_type.schema, _not_run)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value_type.name}, way={self.way!r})"

    def _value_type(self, output_type: Any, name: str, description: str) -> ValueType:
        return ValueType(output_type, name=name, description=description)

    @property
    def response_format(self) -> ResponseFormat:
        """The response format for servers that take schemas; a `ChatClient` takes the output as it is."""
        return self.value_type.response_format

    async def parse(self, text: str) -> tuple[Out, Sequence[str]]:
        """Read the output in the text of an answer; see `ReplyType`."""
        return await self.value_type.parse(text)

    async def ask(self, turn: ModelTurn, inner: NextModel) -> Reply:
        """Send the request in the first way that the server takes; ways that it refuses are remembered for the model.

        Raises:
            ModelError: There is no usable reply; if the server refused every way, its error for the first.
        """
        memory: _Memory = turn.run.local.setdefault(self, _Memory())
        ways = self._ways(turn, memory)
        for at, way in enumerate(ways):
            try:
                reply = await inner(replace(turn, request=self._request(turn.request, way)))
            except MalformedToolCall as error:
                if not error.generation or error.code != "json_validate_failed":
                    raise
                message = AssistantMessage(error.generation)  # Groq's, for JSON that does not match the schema
                reply = Reply(choices=(Choice(message=message, finish_reason="stop"),))
            except (BadRequest, NotFound) as error:
                if at == len(ways) - 1 or isinstance(error, ContextTooLong):
                    raise
                turn.emit(RequestAdapted(f"the output is requested by {ways[at + 1]}, as {way} was refused: {error}"))
                continue
            refused = _refused_by(turn.model)
            refused.update(ways[:at])
            if isinstance(turn.model, ChatClient):
                await turn.model.remember(Profile(no_output_by=frozenset(refused)))
            memory.invalid = memory.invalid if memory.way == way else 0
            memory.way = way
            return self._with_confidence(reply) if self.confidence else reply
        raise AssertionError("there is always a way")

    def _ways(self, turn: ModelTurn, memory: _Memory) -> Sequence[str]:
        """The ways to try, in order."""
        if turn.request.settings.tool_choice == "none" and turn.request.tools:
            return ["prompted"]  # the last turn: no more tools can be called
        if self.way != "auto":
            return _TOOL_WAYS if self.way == "tool" else [self.way]
        ladder = [*(_TOOL_WAYS if turn.request.tools else ["native"]), "json", "prompted"]
        unusable = _refused_by(turn.model) | memory.given_up
        return [each for each in ladder[:-1] if each not in unusable] + ladder[-1:]

    def _request(self, request: ChatRequest, way: str) -> ChatRequest:
        if request.settings.response_format is not None:
            raise ConfigError("the settings have a response_format and the agent has an output_type: give only one")
        settings = replace(request.settings, logprobs=True) if self.confidence else request.settings
        if way == "native":
            return replace(request, settings=replace(settings, response_format=self.response_format))
        if way in ("forced tool", "tool"):
            if any(each.name == OUTPUT_TOOL for each in request.tools):
                raise ConfigError(f"a tool is named {OUTPUT_TOOL!r}, which is the name of the output: rename it")
            if way == "forced tool" and settings.tool_choice in (None, "auto"):
                settings = replace(settings, tool_choice="required")
            return replace(request, tools=[*request.tools, self._definition], settings=settings)
        if way == "json":
            settings = replace(settings, response_format={"type": "json_object"})
        return replace(request, messages=self._instructed(request), settings=settings)

    def _with_confidence(self, reply: Reply) -> Reply:
        """Label an answer with the probability of its value, if the server reported log probabilities."""
        choice = reply.choices[0]
        tokens = choice.logprobs.content if choice.logprobs is not None else ()
        try:
            value = to_jsonable_python(self.value_type.read_text("".join(each.token for each in tokens))[0])
        except ModelRetry:
            return reply
        is_prefix = any(each != value and each.startswith(str(value)) for each in self.value_type.strings)
        probability = _probability(encode_json(value).decode(), tokens, to_the_end=is_prefix)
        message = choice.message if probability is None else labeled(choice.message, **{CONFIDENCE: probability})
        return replace(reply, choices=(replace(choice, message=message), *reply.choices[1:]))

    def _instructed(self, request: ChatRequest) -> list[Message]:
        """The messages, with the form of the answer added to the instructions."""
        first = "When you need no more tools, answer" if request.tools else "Answer"
        about = f" ({self.value_type.description})" if self.value_type.description else ""
        schema = json.dumps(self.value_type.schema, ensure_ascii=False, separators=(",", ":"))
        text = (
            f"{first} with one JSON object and nothing else: no explanation, no code fence, not the schema itself. "
            f"It is the {self.value_type.name}{about} and must fit this JSON Schema:\n{schema}"
        )
        system = request.messages[0] if request.messages else None
        if isinstance(system, SystemMessage):
            return [replace(system, content=f"{system.text}\n\n{text}"), *request.messages[1:]]
        return [SystemMessage(text), *request.messages]

    async def read(self, message: AssistantMessage, context: RunContext[Any]) -> Out:
        """Read the output from a call of the output tool, or else from the text.

        Raises:
            ModelRetry: It is not valid.
        """
        if message.meta.get(CUT):
            raise ModelRetry(f"{message.meta[CUT]}, so it is incomplete; answer again, and more briefly")
        calls = [each for each in message.tool_calls if each.name == OUTPUT_TOOL]
        value, notes = self._read_call(calls[0]) if calls else self._read_text(message.text)
        for note in notes:
            context.emit(ReplyRepaired(f"the output was {note}"))
        return cast("Out", await value.run(context) if isinstance(value, FunctionCall) else value)

    def _read_call(self, call: ToolCall) -> tuple[Any, list[str]]:
        try:
            given = repair_json(call.malformed)[0] if call.malformed else parse_arguments(call.written)
        except ValueError as error:
            raise ModelRetry(f"the arguments are not valid JSON ({error}); send one complete JSON object") from error
        return self.value_type.read(given)

    def _read_text(self, text: str) -> tuple[Any, list[str]]:
        try:
            return self.value_type.read_text(text)
        except NoValue as error:
            schema = json.dumps(self.value_type.schema, ensure_ascii=False, separators=(",", ":"))
            raise NoValue(
                f"your answer is not the output that is needed: {error}. Call {OUTPUT_TOOL} if you have that tool, "
                f"else answer with nothing but one JSON object that fits this JSON Schema: {schema}"
            ) from error

    def drafts(self) -> Drafts:
        """Create the reader of drafts: the JSON received so far, as dicts and lists."""
        schema, member = dict(self.value_type.schema), VALUE if self.value_type.wrapped else ""
        inner = functools.partial(member_schemas, root=schema)
        optional = import_module("agentkit.drafts")  # only programs that read an output while it grows need it
        return cast("Drafts", optional.JsonDrafts(leaf_schemas(schema, schema), inner, member=member, tool=OUTPUT_TOOL))

    def note_invalid(self, run: Run[Any], model: Model, complaint: ModelRetry) -> str:
        """Note that a reply held no valid output; return a sentence if it is requested in another way from now on.

        If a way gave no JSON at all, the server ignores it; this is remembered for the model.
        """
        memory: _Memory = run.local.setdefault(self, _Memory())
        memory.invalid += 1
        ways = {"native": {"native"}, "forced tool": {*_TOOL_WAYS}, "tool": {*_TOOL_WAYS}}.get(memory.way, set[str]())
        is_ignored = isinstance(complaint, NoValue)
        if (
            self.way != "auto"
            or not ways
            or (memory.invalid < _INVALID and not (is_ignored and memory.way == "native"))
        ):
            return ""
        memory.given_up |= ways
        if is_ignored:
            _refused_by(model).update(ways)
        return f"the output is requested by json, as {memory.way} gave no valid one"


def _probability(written: str, tokens: Sequence[TokenLogprob], *, to_the_end: bool) -> float | None:
    """The probability of the tokens of the last occurrence of a value; None if there is none.

    Args:
        written: The value as JSON; a string may come without its quotes.
        tokens: The tokens of the answer.
        to_the_end: Whether the closing quote of a string counts, because a longer value begins like it.
    """
    text = "".join(each.token for each in tokens)
    bare = written.strip('"')
    quote = len(written) > len(bare) and written in text
    begin = text.rfind(written if quote else bare) + quote
    end = begin + len(bare) + (quote and to_the_end)
    ends = itertools.accumulate(len(each.token) for each in tokens)
    inside = [each for each, at in zip(tokens, ends, strict=True) if at > begin and at - len(each.token) < end]
    return math.prod(each.probability for each in inside) if bare in text else None


def _not_run(_context: ToolContext[Any], _arguments: dict[str, Any]) -> None:
    """Take the place of the output tool's function; its calls are read and never run."""
    raise AssertionError("calls of the output tool are not run")


class OutputSchema(TypedOutput[dict[str, Any]]):
    """An output described by your own JSON Schema; it is a dict, or whatever the schema describes.

    Args:
        schema: The schema. The output is checked against it.
        name: The name that the model reads; by default the title of the schema.
        description: The purpose; by default that of the schema.
        way: See `TypedOutput`.
        retries: See `TypedOutput`.
        with_calls: See `TypedOutput`.

    Raises:
        DefinitionError: It is not a JSON Schema.
        ConfigError: There is no such way.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        *,
        name: str = "",
        description: str = "",
        way: Way = "auto",
        retries: int = 3,
        with_calls: WithCalls = "ask_again",
    ) -> None:
        given: Any = schema
        super().__init__(given, way=way, retries=retries, name=name, description=description, with_calls=with_calls)

    def _value_type(self, output_type: Any, name: str, description: str) -> ValueType:
        return SchemaType(output_type, name=name, description=description)


OutputType: TypeAlias = Output[Out] | OutputShape[Out]
"""An output, or its type."""


def count_invalid_output(run: Run[Any], output: Output[Any], complaint: object) -> None:
    """Count a reply without a valid output.

    Raises:
        OutputInvalid: It was not valid too many times in a row.
    """
    state = run.state
    state.invalid_outputs += 1
    if state.invalid_outputs > output.retries:
        times = "once" if state.invalid_outputs == 1 else f"{state.invalid_outputs} times in a row"
        raise OutputInvalid(f"the output was invalid {times}: {complaint}", state=state)


def output_of(output_type: Any) -> Output[Any]:
    """Return the output for an ``output_type=``.

    Raises:
        DefinitionError: It is not a type of output.
    """
    if output_type is str:
        return TextOutput()
    if isinstance(output_type, Output):
        return output_type  # pyright: ignore[reportUnknownVariableType] - of whatever type it is
    return TypedOutput(output_type)
