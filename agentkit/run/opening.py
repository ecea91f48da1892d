"""What a run is opened with: a question and the messages before it, or a state to go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from agentkit.chat.events import Event, ReplyRepaired
from agentkit.chat.messages import AssistantMessage, Message, UserMessage
from agentkit.chat.request import given_message
from agentkit.errors import ConfigError, StateError
from agentkit.run.events import ToolChanged
from agentkit.run.spec import RunSpec
from agentkit.run.state import RunResult, RunState
from agentkit.run.transcript import open_calls, repaired

__all__ = ["GOES_ON", "History", "parse_history", "prepare_resume"]

History: TypeAlias = Sequence[Message | Mapping[str, Any]] | RunResult | RunState | None

GOES_ON = "goes_on"  # in the meta of a message of ours that is no question: the one before it is still being answered
_ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}


def parse_history(history: object) -> tuple[list[Message], list[Event]]:
    """The messages before the question: a transcript, an earlier result, or messages as they are on the wire.

    What no server would accept is put right; the second value says what was.

    Raises:
        ConfigError: They are not messages.
    """
    given: object = history
    if isinstance(history, RunResult | RunState):
        state = history.state if isinstance(history, RunResult) else history
        given = [*state.messages, *state.inbox]
    if isinstance(given, str) or not isinstance(given, Sequence | None):
        raise ConfigError(f"history is a list of messages, for example result.transcript, not {given!r:.80}")
    messages = cast("Sequence[object]", given or ())
    made, notes = repaired([_message(each, place) for place, each in enumerate(messages, start=1)])
    return made, [ReplyRepaired(what) for what in notes]


def prepare_resume(given: RunState, spec: RunSpec) -> tuple[RunState, list[Event]]:
    """A copy of a state, ready to go on, and what there is to tell of it.

    Raises:
        StateError: It is the state of another agent.
    """
    state = given.copy()
    if state.agent and spec.name and state.agent != spec.name:
        raise StateError(f"this is the state of the agent {state.agent!r}, and this agent is {spec.name!r}")
    now = spec.fingerprints
    if state.fingerprints and not state.fingerprints.keys() & now.keys():
        tools = ", ".join(sorted(state.fingerprints))
        raise StateError(f"this is the state of another agent: it has the tools {tools}, and this agent none of them")
    state.messages, notes = repaired(state.messages, may_wait=True)
    news: list[Event] = [ReplyRepaired(what) for what in notes]
    news += [ToolChanged(name, "removed") for name in state.fingerprints.keys() - now.keys()]
    news += [ToolChanged(name, "added") for name in now.keys() - state.fingerprints.keys()]
    news += [ToolChanged(name, "changed") for name, old in state.fingerprints.items() if now.get(name, old) != old]
    calls = {call.id for each in state.messages if isinstance(each, AssistantMessage) for call in each.tool_calls}
    for about in (state.approvals, state.decisions):  # of calls that are no more, whose ids may come again
        for id_ in about.keys() - calls:
            del about[id_]
    answered = bool(state.messages) and isinstance(state.messages[-1], AssistantMessage)
    if state.limit and answered and not open_calls(state.messages) and not state.inbox:
        state.add_message(UserMessage("Go on.", meta={GOES_ON: True}))  # what it said last was only what it had by then
    if not open_calls(state.messages) or state.limits != spec.limits:
        state.limit = ""  # with the calls of a batch that has come to a limit open, the run ends there
    if state.status in ("failed", "limited"):  # whoever goes on wants it tried again
        state.failed_turns, state.mistakes = 0, {}
    state.agent, state.fingerprints, state.limits = spec.name, now, spec.limits
    state.status, state.final_turn, state.warned = "running", False, []
    return state, news


def _message(raw: object, place: int) -> Message:
    if isinstance(raw, Message):
        return raw
    if not isinstance(raw, Mapping):
        raise ConfigError(f"message {place} of the history is neither a message nor an object: {raw!r:.80}")
    known = cast("Mapping[str, Any]", raw)
    try:
        return given_message({**known, "role": _ROLES.get(str(known.get("role")), known.get("role"))})
    except ConfigError as error:
        raise ConfigError(f"message {place} of the history: {error}") from None
