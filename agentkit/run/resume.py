"""Preparation of a stopped run to be resumed."""

from __future__ import annotations

from collections.abc import Mapping

from agentkit.chat.events import Event, ReplyRepaired
from agentkit.chat.messages import AssistantMessage, UserMessage
from agentkit.errors import StateError
from agentkit.run.limits import Limits
from agentkit.run.spec import AgentSpec
from agentkit.run.state import RunState
from agentkit.run.transcript import (
    CONTINUES,
    REFUSED,
    TRUNCATED,
    UNANSWERED,
    labeled,
    open_calls,
    repair_transcript,
    unlabeled,
)


def prepare_resume(given: RunState, agents: Mapping[str, AgentSpec], limits: Limits) -> tuple[RunState, list[Event]]:
    """Copy a state and prepare the copy to be resumed, however the run ended.

    Returns:
        The copy, and an event for each thing that was repaired.

    Raises:
        StateError: None of the agents has the turn in it, or its prompt was refused and there is no other.
    """
    state = given.copy()
    if state.agent not in agents and len(agents) == 1 and not (state.agent and next(iter(agents))):
        state.agent = next(iter(agents))  # one of the two has no name
    if state.agent not in agents:
        names = ", ".join(map(repr, agents))
        raise StateError(f"this state belongs to the agent {state.agent!r}, and this agent is {names}")
    agent, known = agents[state.agent], state.fingerprints.get(state.agent) or state.fingerprints.get(given.agent)
    if known and not agent.sources and not known.keys() & agent.tools.keys():
        raise StateError(
            f"this state belongs to another agent: it has the tools {', '.join(sorted(known))}, "
            "and this agent has none of them"
        )
    state.fingerprints[state.agent] = known or {}
    state.messages, notes = repair_transcript(
        [unlabeled(each, UNANSWERED) if UNANSWERED in each.meta else each for each in state.messages], may_wait=True
    )
    if state.messages and state.messages[-1].meta.get(REFUSED) and not state.inbox:
        raise StateError("the prompt of this run was refused and is not sent again: resume it with another prompt")
    calls = {call.id for each in state.messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
    for about in (
        state.approvals,
        state.decisions,
        state.nested,
    ):  # the ids of calls that no longer exist may be used again
        for id_ in about.keys() - calls:
            del about[id_]
    last = state.messages[-1] if state.messages else None
    unfinished = isinstance(last, AssistantMessage) and (state.limit or last.meta.get(TRUNCATED))
    if unfinished and not open_calls(state.messages) and not state.inbox:
        state.add_message(labeled(UserMessage("Go on."), **{CONTINUES: True}))
    if not open_calls(state.messages) or state.limits != limits:
        state.limit = ""  # with open calls of a batch that has reached a limit, the run ends there
    if state.status in ("failed", "limited"):  # resuming means trying again
        state.failed_turns, state.invalid_outputs, state.mistakes = 0, 0, {}
    state.limits = limits
    state.status, state.final_turn, state.warned = "running", False, []
    return state, [ReplyRepaired(note) for note in notes]
