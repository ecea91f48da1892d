"""The tools, prompts and resources of an MCP server, and the runs behind them. Imports no SDK."""

from __future__ import annotations

import inspect
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeAlias, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError

from agentkit import Agent, AssistantMessage, Limits, Message, Reply, Tool, ToolCall, ToolResult
from agentkit.chat import ChatRequest, Choice
from agentkit.errors import DefinitionError, ToolError
from agentkit.events import Emit
from agentkit.mcp.toolset import MCPToolset
from agentkit.messages import ContentPart
from agentkit.tools import ToolLike, ToolSource, flat_tools, split_tools

__all__ = ["Changes", "Offer", "OneCall", "ResourceContent", "Served", "ServedResource", "make_offers"]

ResourceContent: TypeAlias = str | bytes
_ONE_CALL = Limits(turns=1, on_limit="stop", calls=None, tokens=None)
_PLAIN = (str, type(None), Any)
_PARTS = {ToolResult, Message, ContentPart, *get_args(ContentPart)}
_STATES = 10_000  # continued runs that are remembered, so that none is continued twice


@dataclass(frozen=True, slots=True)
class Output:
    """The type of a structured result; anything but an object is wrapped in one with the member ``result``."""

    adapter: TypeAdapter[Any]
    schema: Mapping[str, Any]
    wrapped: bool

    def write(self, value: object) -> dict[str, Any]:
        """Return a value as JSON values.

        Raises:
            ToolError: It is not of the type.
        """
        try:
            written = self.adapter.dump_python(self.adapter.validate_python(value), mode="json", by_alias=True)
            json.dumps(written, allow_nan=False)
        except ValidationError as error:
            raise ToolError(f"it ran, but its result is not of its type: {error.errors()[0]['msg']}") from None
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise ToolError(f"it ran, but its result cannot be written as JSON: {error}") from None
        return {"result": written} if self.wrapped else written


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool of the server: how it is listed, and the agent that runs its calls.

    A call of a plain tool is a run of one call, without a model: arguments are checked, approvals requested, limits and
    timeouts applied and events emitted, as in every run.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    agent: Agent[Any, Any]
    made: Tool | None = None
    output: Output | None = None


@dataclass(frozen=True, slots=True)
class Proxy:
    """The tools of another MCP server, which are known only while it is open."""

    source: MCPToolset
    agent: Agent[Any, Any]

    async def offers(self) -> list[Offer]:
        """The tools as they are now."""
        async with self.source:
            tools = await self.source.tools()
        return [Offer(each.name, each.description, each.parameters, self.agent, each) for each in tools]


@dataclass(frozen=True, slots=True)
class ServedResource:
    """Something to read, at an address that may have variables in braces."""

    uri: str
    content: ResourceContent = ""
    made: Tool | None = None

    @classmethod
    def of(cls, uri: str, given: ResourceContent | Callable[..., Any]) -> ServedResource:
        """Something to read: its content, or a function of the variables in its address."""
        if callable(given):
            return cls(uri, made=flat_tools([given])[0])
        return cls(uri, given)

    @property
    def has_variables(self) -> bool:
        """True if the address has variables."""
        return "{" in self.uri

    def match(self, uri: str) -> dict[str, str] | None:
        """Return the values of the variables in an address; None if it does not match."""
        parts = re.split(r"\{(\w+)\}", self.uri)
        pattern = "".join(f"(?P<{part}>[^/]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        found = re.fullmatch(pattern, uri)
        return None if found is None else found.groupdict()


class Changes:
    """The listeners for changes of resources."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[str], Awaitable[None]]] = {}

    def subscribe(self, listener: Callable[[str], Awaitable[None]]) -> Callable[[], None]:
        """Call a listener with the address of each resource that changes; returns a function that stops that."""
        place = object()
        self._listeners[place] = listener
        return lambda: self._listeners.pop(place, None) and None

    async def publish(self, uri: str) -> None:
        """Call the listeners."""
        for each in [*self._listeners.values()]:
            await each(uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Everything that a server offers, and how its calls are run."""

    name: str
    version: str
    instructions: str
    offers: Mapping[str, Offer]
    proxies: Sequence[Proxy]
    prompts: Mapping[str, Tool]
    resources: Sequence[ServedResource]
    deps: Any
    limits: Limits | None
    key: bytes = field(repr=False)
    changes: Changes = field(default_factory=Changes, repr=False)
    continued: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None], repr=False)

    @property
    def agents(self) -> list[Agent[Any, Any]]:
        """The agents that run the calls, each once."""
        agents = [*(each.agent for each in self.offers.values()), *(each.agent for each in self.proxies)]
        return list({id(each): each for each in agents}.values())

    async def offered(self) -> Mapping[str, Offer]:
        """Every tool as it is now. Of two with one name, that of another server is left out."""
        found = dict(self.offers)
        for proxy in self.proxies:
            for each in await proxy.offers():
                found.setdefault(each.name, each)
        return found

    async def offer(self, name: str) -> Offer | None:
        """The tool of a name; None if there is none."""
        return self.offers.get(name) or (await self.offered()).get(name)

    def may_continue(self, state: str) -> bool:
        """Return True the first time it is called with a stored state, so that no run is continued twice."""
        digest = sha256(state.encode()).hexdigest()
        if digest in self.continued:
            return False
        self.continued[digest] = None
        while len(self.continued) > _STATES:
            self.continued.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True)
class OneCall:
    """A model that makes one call."""

    call: ToolCall

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:  # noqa: ARG002 - as every model
        """Reply with the call."""
        return Reply(choices=(Choice(message=AssistantMessage(None, (self.call,)), finish_reason="tool_calls"),))


def make_offers(offers: Sequence[ToolLike[Any] | Agent[Any, Any]]) -> tuple[dict[str, Offer], list[Proxy]]:
    """Make the tools of a server.

    Returns:
        Those that are known, and the sources of others.

    Raises:
        DefinitionError: Two have the same name, or something cannot become a tool.
    """
    tools, sources = split_tools([each for each in offers if not isinstance(each, Agent)])
    runner = _runner(tools)
    made = [
        Offer(each.name, each.description, each.parameters, runner, each, _output_of(each))
        for each in tools
        if not each.is_external and not each.is_custom
    ]
    for agent in (each for each in offers if isinstance(each, Agent)):
        described = agent.as_tool()
        kind = _output(agent.output_type)
        made.append(Offer(described.name, described.description, described.parameters, agent, None, kind))
    found = {each.name: each for each in made}
    if len(found) < len(made):
        names = [each.name for each in made]
        twice = next(name for name in names if names.count(name) > 1)
        raise DefinitionError(f"two offers of the MCP server have the same name, {twice!r}")
    return found, [_proxy(each) for each in sources]


def _proxy(source: ToolSource) -> Proxy:
    if not isinstance(source, MCPToolset):
        kind = type(source).__name__
        raise DefinitionError(f"an MCP server cannot offer the tools of {kind}, which only a run of an agent has")
    return Proxy(source, _runner([source]))


def _runner(tools: Sequence[ToolLike[Any]]) -> Agent[Any, Any]:
    return Agent(OneCall(ToolCall("", "", "{}")), tools=tools, name="mcp", limits=_ONE_CALL)


def _output_of(made: Tool) -> Output | None:
    if inspect.isgeneratorfunction(made.function) or inspect.isasyncgenfunction(made.function):
        return None  # it is annotated with what it yields
    try:
        return _output(get_type_hints(made.function, include_extras=True).get("return", str))
    except (TypeError, NameError, AttributeError):  # not a function, or unknown names
        return None


def _output(kind: Any) -> Output | None:
    """Return the structured form of a type; None for text and for types without a schema."""
    if kind in _PLAIN or {kind, *get_args(kind)} & _PARTS:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        schema = adapter.json_schema(mode="serialization", by_alias=True)
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return None
    if schema.get("type") == "object":
        return Output(adapter, schema, wrapped=False)
    definitions = {"$defs": schema.pop("$defs")} if "$defs" in schema else {}
    outer = {"type": "object", "properties": {"result": schema}, "required": ["result"], **definitions}
    return Output(adapter, outer, wrapped=True)
