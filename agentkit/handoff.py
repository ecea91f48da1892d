"""`handoff`: the tool by which an agent gives the conversation to another one."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from agentkit.errors import DefinitionError
from agentkit.run.handoffs import Handoff, Keep
from agentkit.run.spec import AgentSpec
from agentkit.tools.tool import Needs, Tool

if TYPE_CHECKING:
    from agentkit.agent import Agent

Deps = TypeVar("Deps")
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_LONGEST_NAME = 64


@overload
def handoff(agent: Agent[Deps, Any], *, when: str = "", keep: Keep = "all", name: str = "") -> Handoff[Needs[Deps]]: ...
@overload
def handoff(agent: str, *, when: str, keep: Keep = "all", name: str = "") -> Handoff[Needs[object]]: ...
def handoff(agent: Agent[Any, Any] | str, *, when: str = "", keep: Keep = "all", name: str = "") -> Handoff[Any]:
    """Make a tool that gives the conversation to another agent.

    From the next turn on, the run has the model, instructions, tools, settings and output of that agent. The limits and
    ``deps`` stay those of the run.

    Args:
        agent: The agent, or the name of one that takes part in the run: of the agent that hands off to this one, for
            example, so that it can get the conversation back.
        when: When to hand off, which the model reads; by default the description of the agent.
        keep: The messages that the agent reads: ``"all"``, ``"last exchange"`` for the last message of the user and all
            that follows, or a function that is given the messages and returns those to read. The others stay in the
            state and are not sent any more.
        name: The name of the tool; ``transfer_to_`` and the name of the agent by default.

    Raises:
        DefinitionError: The agent has no name, it has no description and ``when`` is missing, or ``keep`` is none of
            these.
    """
    if isinstance(agent, str):
        to, agents = agent, dict[str, AgentSpec]()
    elif hasattr(cast("object", agent), "agents"):
        to, agents, when = agent.name, dict(agent.agents), when or agent.description
    else:
        raise DefinitionError(f"handoff(...) takes an agent or the name of one, not {agent!r:.80}")
    if not to:
        raise DefinitionError(f"{agent!r} needs a name to be handed off to: Agent(..., name=...)")
    if not when:
        raise DefinitionError(f"when to hand off to {to!r} is missing: handoff(..., when=...)")
    if keep not in ("all", "last exchange") and not callable(keep):
        raise DefinitionError(
            f'handoff(keep={keep!r:.80}): must be "all", "last exchange" or a function of the messages'
        )

    def transfer(_context: object, _arguments: object) -> str:
        return f"The conversation was handed off to {to}."

    made = Tool.from_schema(
        name or _NOT_IN_NAMES.sub("_", f"transfer_to_{to}")[:_LONGEST_NAME],
        f"Hand the conversation off to {to}. {when}",
        {"type": "object", "properties": {}},
        transfer,
        thread=False,
    )
    return Handoff(**{each.name: getattr(made, each.name) for each in fields(made)}, to=to, keep=keep, agents=agents)
