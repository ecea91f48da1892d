"""Hand-offs: the call that asks for one, and the messages that the next agent reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Literal, TypeAlias, cast

from agentkit.chat.messages import AssistantMessage, Message, ToolMessage
from agentkit.errors import ConfigError, DefinitionError
from agentkit.run.events import AgentChanged
from agentkit.run.limits import limit_in_words
from agentkit.run.middleware import Middleware, wrap_tool
from agentkit.run.run import Run
from agentkit.run.spec import AgentSpec, RunSpec
from agentkit.run.transcript import (
    HANDED_TO,
    LEFT_OUT,
    begins_exchange,
    check,
    final_result,
    is_sent,
    labeled,
    last_reply_at,
    open_calls,
    unlabeled,
)
from agentkit.tools.tool import Needs_co, Tool

Keep: TypeAlias = Literal["all", "last exchange"] | Callable[[Sequence[Message]], Sequence[Message]]
"""The messages that the next agent reads: all, those of the exchange that it enters, or what a function returns.

The function gets the messages so far, the call of the hand-off and its result included. It returns some of them, in
their order, and may add messages of its own between them, such as a summary.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class Handoff(Tool[Needs_co]):
    """A tool that gives the conversation to another agent; `handoff` makes one.

    Attributes:
        to: The name of that agent.
        keep: The messages that it reads.
        agents: The specifications that come with it: of that agent and those that it hands off to.
    """

    to: str
    keep: Keep = field(default="all", repr=False)
    agents: Mapping[str, AgentSpec] = field(default_factory=dict[str, AgentSpec], repr=False)


def agents_of(agent: AgentSpec) -> dict[str, AgentSpec]:
    """Return an agent and those that its hand-offs lead to, by name.

    Raises:
        DefinitionError: It has hand-offs and no name, hands off to itself, or two agents have one name.
    """
    agents = {agent.name: agent}
    for tool in _handoffs(agent):
        if not agent.name:
            raise DefinitionError(f"an agent that hands off to {tool.to!r} needs a name: Agent(..., name=...)")
        if tool.to == agent.name:
            raise DefinitionError(f"the agent {agent.name!r} hands off to itself: remove {tool.name} from its tools")
        for name, spec in tool.agents.items():
            if agents.setdefault(name, spec) is not spec:
                raise DefinitionError(
                    f"two agents are named {name!r}, and {tool.name} hands off to one of them: rename one; "
                    f"to hand the conversation back to {name!r}, use its name: handoff({name!r}, ...)"
                )
    return agents


def agents_of_run(agent: AgentSpec, middleware: Sequence[Middleware]) -> dict[str, AgentSpec]:
    """Return the agents of a run by name; the middleware of the run wraps the turns of all of them.

    Raises:
        DefinitionError: As `agents_of`.
        ConfigError: One hands off to an agent that does not take part in the run.
    """
    agents = agents_of(agent)
    for each in agents.values():
        for tool in _handoffs(each):
            if tool.to not in agents:
                raise ConfigError(
                    f"the agent {each.name!r} hands off to {tool.to!r}, which is not part of this run "
                    f"({', '.join(agents)}): run the agent that has {tool.to!r} among its hand-offs, or pass "
                    "handoff(...) the agent itself"
                )
        if each is not agent:
            own = [layer for layer in each.middleware if layer not in middleware]
            agents[each.name] = replace(each, middleware=(*middleware, *own))
    return agents


def _handoffs(agent: AgentSpec) -> list[Handoff]:
    return [each for each in agent.tools.values() if isinstance(each, Handoff)]


def follow_handoff(run: Run[Any], spec: RunSpec) -> None:
    """Give the next turn to the agent that the last reply hands off to, once all calls of the reply have their results.

    Of several hand-offs in one reply the first counts. One that does not count gets an error as its result.

    Raises:
        ConfigError: The ``keep`` of the hand-off returned messages that cannot be sent.
    """
    state = run.state
    messages, at = state.messages, last_reply_at(state.messages)
    if at is None or open_calls(messages) or final_result(messages) or any(map(begins_exchange, messages[at:])):
        return
    asked = [place for place in range(at + 1, len(messages)) if HANDED_TO in messages[place].meta]
    if not asked or messages[asked[0]].meta[HANDED_TO] == state.agent:  # followed already
        return
    exchange = takewhile(lambda message: not begins_exchange(message), reversed(messages[:at]))
    most, made = run.limits.handoffs, sum(HANDED_TO in message.meta for message in exchange)
    refusal = f"Error: not handed off: {limit_in_words(most, 'hand-off')} was reached"
    followed = asked[0] if made < most else None
    for place in asked:
        if place != followed:
            said = refusal if followed is None else "Error: not handed off: only the first hand-off of a reply counts"
            messages[place] = unlabeled(replace(cast("ToolMessage", messages[place]), content=said), HANDED_TO)
    if followed is None:
        return
    result = cast("ToolMessage", messages[followed])
    calls = {call.id: call.name for call in cast("AssistantMessage", messages[at]).tool_calls}
    tool = spec.agents[state.agent].tools.get(calls[result.tool_call_id])
    if isinstance(tool, Handoff) and tool.keep != "all":
        _leave_out(run, tool.keep, tool.name)  # first: if it fails, nobody reads messages that should be left out
    previous, state.agent = state.agent, result.meta[HANDED_TO]
    state.mistakes, state.invalid_outputs = {}, 0
    run.call_tool = wrap_tool(spec.agents[state.agent].middleware)
    run.emit(AgentChanged(previous, state.agent))


def _leave_out(run: Run[Any], keep: Keep, name: str) -> None:
    """Label the messages that the next agent does not read, and insert those that are new."""
    state, messages = run.state, run.state.messages
    sent = [message for message in messages if is_sent(message)]
    if callable(keep):
        chosen = list(keep(tuple(sent)))
    else:
        begin = next((at for at in reversed(range(len(sent))) if begins_exchange(sent[at])), 0)
        chosen = sent[begin:]
    complaints = check(chosen) if chosen else ["there are none"]
    places = {id(message): at for at, message in enumerate(messages)}
    made: list[Message] = []
    at, prior = 0, state.prior_messages
    for message in chosen:
        place = places.get(id(message))
        if place is None:
            prior += len(made) < prior
            made.append(run.stamp(message))
            continue
        if place < at:
            complaints.append("their order has changed")
            break
        made += [_left_out(each) for each in messages[at:place]]
        made.append(message)
        at = place + 1
    if complaints:
        raise ConfigError(f"the messages that keep= of {name} returned cannot be sent: {complaints[0]}")
    state.messages = [*made, *(_left_out(each) for each in messages[at:])]
    state.prior_messages = prior


def _left_out(message: Message) -> Message:
    return labeled(message, **{LEFT_OUT: True}) if is_sent(message) else message


def readable_by(agent: AgentSpec, agents: Mapping[str, AgentSpec], message: Message) -> Message:
    """Return a message without what only the model of the agent that wrote it understands.

    That is reasoning, which may be signed or encrypted, members that have no name here, and the id of spoken audio.
    """
    author = agents.get(message.meta.get("agent", "")) if isinstance(message, AssistantMessage) else None
    if not isinstance(message, AssistantMessage) or author is None:
        return message
    info = getattr(author.model, "info", None)
    if author.model is agent.model or (info is not None and info == getattr(agent.model, "info", None)):
        return message
    calls = tuple(replace(call, extra={}) if call.extra else call for call in message.tool_calls)
    audio = message.audio and replace(message.audio, id="")
    own = (message.reasoning, message.reasoning_details, message.extra, message.audio, message.tool_calls)
    if own == (None, (), {}, audio, calls):
        return message
    return replace(message, reasoning=None, reasoning_details=(), extra={}, audio=audio, tool_calls=calls)
