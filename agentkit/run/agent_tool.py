"""An agent as a tool of another agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, cast

from pydantic_core import from_json

from agentkit.chat.json_schema import strict_form
from agentkit.errors import DefinitionError, RunPaused, ToolError
from agentkit.run.inputs import Prompt
from agentkit.run.spec import AgentSpec
from agentkit.run.state import RunState
from agentkit.run.stream import RunStream
from agentkit.tools.arguments import parse_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.options import ToolOptions
from agentkit.tools.result import ToolResult, to_result
from agentkit.tools.tool import Arguments, Needs_co, Tool, tool
from agentkit.tools.value import ValueType


class _Agent(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def agents(self) -> Mapping[str, AgentSpec]: ...
    def stream(
        self,
        prompt: Prompt | None = None,
        *,
        deps: Any = None,
        resume: RunState | bool | None = None,
        run_id: str = "",
    ) -> RunStream[Any]: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class AgentTool(Tool[Needs_co]):
    """A tool that runs an agent; `Agent.as_tool` makes one.

    Attributes:
        inside: The names of the agents that a call may run, each with its nesting depth, counted from 1.
    """

    inside: Mapping[str, int] = field(default_factory=dict[str, int], repr=False)

    def checked(self, context: ToolContext[Any], arguments: Arguments) -> dict[str, Any]:
        """The validated arguments of a call by name, as JSON values, defaults filled in; see `Tool.checked`."""
        args, kwargs = self._bind(context, arguments)
        given = kwargs["prompt"] if "prompt" in kwargs else args[1]
        return {"prompt": given} if isinstance(given, str) else dict(from_json(to_result(given).content))

    def _strict_parameters(self) -> Mapping[str, Any] | None:
        return strict_form(self.name, self.parameters, strict=self.strict, of_function=True)


def agent_tool(
    agent: _Agent, name: str, description: str, input_type: type[Any] | None, options: ToolOptions
) -> AgentTool[Any]:
    """Make a tool that runs an agent.

    Raises:
        DefinitionError: The name or the description is missing, or the type has no fields.
    """
    if not name or not description:
        raise DefinitionError(f"{agent!r} needs a name and a description to be a tool: give them to as_tool(...)")
    specs = agent.agents.values()
    if not any(each.requires_approval for each in specs):
        free = [each for spec in specs for each in spec.tools.values() if each.requires_approval is False]
        options.setdefault("access", frozenset(kind for each in free for kind in each.access))
    options.setdefault("timeout", None)
    inside = dict.fromkeys(agent.agents, 1)
    for nested in (each for spec in specs for each in spec.tools.values() if isinstance(each, AgentTool)):
        for each, depth in nested.inside.items():
            inside[each] = max(1 + depth, inside.get(each, 0))
    made = tool(_runner(agent, name), name=name, description=description, **options)
    members = {each.name: getattr(made, each.name) for each in fields(made)}
    if input_type is not None:
        shape = ValueType(input_type)
        if shape.wrapped:
            raise DefinitionError(
                f"as_tool(input_type={input_type!r:.80}) of {name}: its fields become the arguments of the tool, and "
                "it has none: use a dataclass, a pydantic model or a TypedDict"
            )

        def bind(context: ToolContext[Any], arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
            given = parse_arguments(arguments) if isinstance(arguments, str) else arguments
            return [context, shape.read(given)[0]], {}

        members |= {"parameters": shape.schema, "_bind": bind}
    return AgentTool(**members, inside=inside)


def _runner(agent: _Agent, name: str) -> Callable[[ToolContext[Any], str], Awaitable[ToolResult]]:
    async def run(context: ToolContext[Any], prompt: str) -> ToolResult:
        resume = cast("RunState | None", context.nested)
        asked = None if resume else prompt if isinstance(prompt, str) else to_result(prompt).content  # pyright: ignore[reportUnnecessaryIsInstance] - of the input type
        async with agent.stream(asked, resume=resume, deps=context.deps, run_id=context.idempotency_key) as stream:
            async for event in stream:
                context.emit(event)
            result = await stream.result()
        if result.status == "paused":
            raise RunPaused(f"the agent {name} waits for decisions", state=result.state)
        if result.output_or_none is None:
            raise ToolError(f"the agent {name} stopped without an output: it reached {result.limit}")
        return to_result(result.output)

    return run
