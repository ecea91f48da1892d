"""The state of a run: its messages and a few numbers. Everything else is derived."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, cast

from agentkit.chat.content import ContentPart
from agentkit.chat.events import Event
from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.chat.reply import Usage
from agentkit.errors import ConfigError, RunError, StateError
from agentkit.run.approvals import ApprovalRequest, Decision, PendingCall, StandingDecision, arguments_of, as_arguments
from agentkit.run.artifacts import is_attachment
from agentkit.run.inputs import Prompt, parse_prompt
from agentkit.run.limits import Limits
from agentkit.run.serialization import dump_state, load_state
from agentkit.run.transcript import CONFIDENCE, REFUSED, UNANSWERED, labeled, last_reply, open_calls
from agentkit.tools.result import to_result

Out_co = TypeVar("Out_co", covariant=True)
_REFUSED_RESULT = "Error: this result was refused by a check of the program and is not shown"
_SHOWN = 60  # characters of an answer in a repr
Status: TypeAlias = Literal["running", "done", "paused", "limited", "cancelled", "failed"]
"""``running``, or one of the five endings. A run can be resumed after each of them."""


@dataclass(slots=True, kw_only=True, repr=False)
class RunState:
    """The state of a run so far. The loop writes it; observers read it.

    `to_json` and `load` take it to another process; ``agent.run(resume=state)`` resumes it.

    Attributes:
        messages: The messages, those of the history included.
        prior_messages: How many of them were there before the run.
        run_id: Unique to the run.
        agent: The name of the agent whose turn it is.
        status: Whether the run is running, or how it ended.
        turns: Replies of the model so far.
        calls: Tool calls so far, those of agents inside tools included.
        calls_by_tool: Tool calls so far, by name.
        usage: Tokens so far, those of agents inside tools included.
        usage_by_model: The same by the name of the model that replied, which is empty if unknown.
        seconds: How long it has run, without pauses.
        limits: The limits that apply.
        limit: The limit that was reached, in words; empty if none was.
        final_turn: Whether that limit was reached and the last answer has been requested.
        warned: The limits that a `LimitWarning` was emitted for.
        invalid_outputs: How many replies in a row were not a valid output.
        mistakes: In how many turns in a row each tool was called wrongly; tools without mistakes are left out.
        failed_turns: How many turns in a row had only failed calls.
        artifacts: The results that were too long for the model, whole, by the id of their call.
        files: Files of results, held until all calls of the reply have their results.
        inbox: Messages that were added while the run was busy; the model reads them in the next turn.
        approvals: The calls that need approval, by id.
        blocked: The calls that wait only because they may not overtake one that waits, see ``sequential`` of `tool`.
        nested: The states of paused runs that calls have started, by the id of the call.
        decisions: The decisions about these calls, by id.
        rules: Decisions that apply to later calls too.
        fingerprints: A hash of each tool as the model knew it, by agent and name, to notice when one has changed.
        revision: How often the session of the run was saved; 0 without a session.
    """

    messages: list[Message]
    prior_messages: int = 0
    run_id: str = ""
    agent: str = ""
    status: Status = "running"
    turns: int = 0
    calls: int = 0
    calls_by_tool: dict[str, int] = field(default_factory=dict[str, int])
    usage: Usage = Usage()
    usage_by_model: dict[str, Usage] = field(default_factory=dict[str, Usage])
    seconds: float = 0.0
    limits: Limits | None = None
    limit: str = ""
    final_turn: bool = False
    warned: list[str] = field(default_factory=list[str])
    invalid_outputs: int = 0
    mistakes: dict[str, int] = field(default_factory=dict[str, int])
    failed_turns: int = 0
    artifacts: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[ContentPart]] = field(default_factory=dict[str, list[ContentPart]])
    inbox: list[UserMessage] = field(default_factory=list[UserMessage])
    approvals: dict[str, ApprovalRequest] = field(default_factory=dict[str, ApprovalRequest])
    blocked: list[str] = field(default_factory=list[str])
    nested: dict[str, RunState] = field(default_factory=dict[str, "RunState"])
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])
    rules: list[StandingDecision] = field(default_factory=list[StandingDecision])
    fingerprints: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    revision: int = 0

    def __repr__(self) -> str:
        return f"RunState({self.status}, turns={self.turns}, messages={len(self.messages)}, run_id={self.run_id!r})"

    # Storing.

    def to_json(self, *, key: bytes | None = None) -> str:
        """Return the state as JSON, for `load`.

        Args:
            key: A secret that signs it, for places where others can write; without one, a checksum detects damage.
        """
        return dump_state(self, key=key)

    @classmethod
    def load(cls, stored: str | bytes, *, key: bytes | None = None) -> Self:
        """Load a state that `to_json` wrote, perhaps in another process.

        Raises:
            StateError: It is damaged, not signed with ``key``, or of a newer version.
        """
        return cls.from_members(load_state(stored, key=key))

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Make a state from its members as `state_from_dict` returns them."""
        nested = {id_: cls.from_members(each) for id_, each in members["nested"].items()}
        return cls(**{**members, "nested": cast("Any", nested)})

    def copy(self) -> Self:
        """Return a copy that can change while this state stays as it is."""
        made = copy(self)
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, list | dict):
                setattr(made, each.name, cast("Any", value).copy())
        made.nested = {id_: each.copy() for id_, each in self.nested.items()}
        return made

    # Asking and deciding.

    @property
    def text(self) -> str:
        """The text of the last assistant message; empty if there is none."""
        last = last_reply(self.messages)
        return last.text if last else ""

    @property
    def pending(self) -> tuple[PendingCall, ...]:
        """The calls that wait for a decision."""
        found: list[PendingCall] = []
        for call in open_calls(self.messages):
            if (request := self.approvals.get(call.id)) and call.id not in self.decisions:
                arguments = arguments_of(call, request)
                found.append(PendingCall(call.id, call.name, arguments, request.reason, request.external))
            elif inner := self.nested.get(call.id):
                found += [
                    replace(each, id=f"{call.id}/{each.id}", path=(call.name, *each.path)) for each in inner.pending
                ]
        return tuple(found)

    def approve(
        self,
        id: str,  # noqa: A002 - the word of the API
        *,
        arguments: Mapping[str, Any] | None = None,
        always: bool | Literal["tool", "arguments"] = False,
        by: str = "",
    ) -> None:
        """Let a pending call run.

        Args:
            id: The id of the call.
            arguments: Arguments that replace the model's; it reads that they changed.
            always: Whether the decision applies to later calls of the run and its session: ``"arguments"`` for this
                tool with exactly these arguments, ``"tool"`` or True for this tool with any.
            by: Who decided, for the records.

        Raises:
            StateError: No such call is pending, it runs elsewhere and needs an answer, or it cannot take these
                arguments.
            ConfigError: ``always`` has another value, or is combined with ``arguments``, which are for this call only.
        """
        if inner := self._nested_in(id):
            inner[0].approve(inner[1], arguments=arguments, always=always, by=by)
            return
        call, asked = self._pending_call(id)
        if asked.external:
            raise StateError(f"call {id!r} of {call.name} does not run here: pass its result to answer({id!r}, ...)")
        if always and arguments is not None:
            raise ConfigError("approve(arguments=...) applies to this call only: leave out always=")
        changed = None if arguments is None else as_arguments(arguments, asked)
        self._decide(call, Decision(kind="approve", hash=asked.hash, arguments=changed, by=by, at=time.time()), always)

    def deny(
        self,
        id: str,  # noqa: A002 - the word of the API
        reason: str = "",
        *,
        always: bool | Literal["tool", "arguments"] = False,
        by: str = "",
    ) -> None:
        """Refuse a pending call; the model reads the reason. ``always`` and ``by`` are as in `approve`.

        Raises:
            StateError: No such call is pending.
            ConfigError: ``always`` has another value.
        """
        if inner := self._nested_in(id):
            inner[0].deny(inner[1], reason, always=always, by=by)
            return
        call, asked = self._pending_call(id)
        self._decide(call, Decision(kind="deny", hash=asked.hash, reason=reason, by=by, at=time.time()), always)

    def answer(self, id: str, value: object, *, by: str = "") -> None:  # noqa: A002 - the word of the API
        """Provide the result of a pending call, which does not run; the model reads the value like a tool's.

        Raises:
            StateError: No such call is pending.
        """
        if inner := self._nested_in(id):
            inner[0].answer(inner[1], value, by=by)
            return
        call, asked = self._pending_call(id)
        result = to_result(value)
        mark = "Error: " if result.is_error and not result.content.startswith("Error") else ""
        said = f"{mark}{result.content}"
        self._decide(call, Decision(kind="answer", hash=asked.hash, answer=said, by=by, at=time.time()), False)  # noqa: FBT003
        if result.files:
            self.files[id] = list(result.files)

    def add_message(self, prompt: Prompt) -> None:
        """Add a message of the user: the model reads it in its next turn, never between a call and its result.

        Raises:
            ConfigError: It is empty or malformed.
        """
        self.inbox.append(parse_prompt(prompt))

    def refuse_input(self) -> None:
        """Permanently withdraw what no model has answered yet, for a middleware that refuses the input of a turn.

        Messages of the user stay in `messages` and are never sent again. A note replaces each result, as every call
        must have one; what the tools returned is not stored.
        """
        for at in reversed(range(len(self.messages))):
            message = self.messages[at]
            if isinstance(message, AssistantMessage):
                break
            if isinstance(message, ToolMessage):
                self.artifacts.pop(message.tool_call_id, None)
                self.messages[at] = replace(message, content=_REFUSED_RESULT)
            else:
                self.messages[at] = labeled(message, **{REFUSED: True})

    def label_unanswered(self) -> None:
        """Label the prompt of a run that has ended without any reply: it is sent again only if the run is resumed."""
        for at in range(len(self.messages) - 1, self.prior_messages - 1, -1):
            message = self.messages[at]
            if not isinstance(message, UserMessage) or is_attachment(message):
                break
            self.messages[at] = labeled(message, **{UNANSWERED: True})

    def _nested_in(self, id_: str) -> tuple[RunState, str] | None:
        """Split the id of a nested call into its nested run and the id of the call in that run."""
        outer, _, rest = id_.partition("/")
        return (self.nested[outer], rest) if rest and outer in self.nested else None

    def _undecided(self) -> tuple[ToolCall, ...]:
        return tuple(call for call in open_calls(self.messages) if call.id not in self.decisions)

    def _pending_call(self, id_: str) -> tuple[ToolCall, ApprovalRequest]:
        for call in self._undecided():
            if call.id == id_ and id_ in self.approvals:
                return call, self.approvals[id_]
        waiting = ", ".join(repr(each.id) for each in self.pending) or "none"
        raise StateError(f"no call {id_!r} waits for a decision; waiting: {waiting}")

    def _decide(self, call: ToolCall, decision: Decision, always: bool | str) -> None:  # noqa: FBT001 - of this class
        if always not in (False, True, "tool", "arguments"):
            raise ConfigError(f'always={always!r} must be False, "tool", "arguments", or True for "tool"')
        for name, text in (("reason", decision.reason), ("by", decision.by)):
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(f"{name} is a string, not {text!r:.80}")
        self.decisions[call.id] = decision
        if not always or decision.kind == "answer":
            return
        asked = self.approvals[call.id]
        bound = asked.hash if always == "arguments" else asked.rule
        self.rules.append(
            StandingDecision(kind=decision.kind, tool=call.name, hash=bound, reason=decision.reason, by=decision.by)
        )
        for other in self._undecided():
            about = self.approvals.get(other.id)
            if about is not None and bound in (about.hash, about.rule):
                self.decisions[other.id] = replace(decision, hash=about.hash, arguments=None)


@dataclass(frozen=True, slots=True, repr=False)
class RunResult(Generic[Out_co]):
    """The result of a run.

    Attributes:
        state: Everything that is known about the run.
        events: The events since it started or was resumed, without deltas and progress; of many, the last 2,000.
    """

    state: RunState
    _output: Out_co | None = None
    _has_output: bool = False
    events: tuple[Event, ...] = ()

    def __repr__(self) -> str:
        shown = repr(self._output) if self._has_output else f"pending={[each.name for each in self.pending]}"
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        limit = f", limit={self.limit!r}" if self.limit else ""
        return f"RunResult({self.status}, {shown}{limit}, turns={self.state.turns})"

    def _repr_markdown_(self) -> str:
        """The output as a notebook shows it."""
        if not self._has_output:
            return f"*{self.status}* {self.limit}".strip()
        return self._output if isinstance(self._output, str) else f"```python\n{self._output!r}\n```"

    def _repr_html_(self) -> str:
        """The output and a timeline, as a notebook shows them."""
        return str(import_module("agentkit.trace").render_result(self))  # optional: only a notebook asks for it

    def explain(self) -> str:
        """Say why each retry, repair, adaptation, limit and pause in ``events`` happened: a line for each."""
        return str(import_module("agentkit.trace").explain(self.events))

    @property
    def output(self) -> Out_co:
        """The output of the agent.

        Raises:
            RunError: The run stopped before there was one: it is paused, was cancelled, or reached a limit.
        """
        if not self._has_output:
            why = f"reached {self.limit}" if self.limit else f"is {self.status}"
            raise RunError(
                f"the run has no output, as it {why}; resume it with agent.run(resume=result.state)", state=self.state
            )
        return cast("Out_co", self._output)

    @property
    def has_output(self) -> bool:
        """True if there is an output."""
        return self._has_output

    @property
    def output_or_none(self) -> Out_co | None:
        """The output of the agent; None if the run stopped before there was one."""
        return self._output if self._has_output else None

    @property
    def confidence(self) -> float | None:
        """The probability of the output, from 0 to 1, as the model gave it; with ``TypedOutput(..., confidence=True)``.

        None if the server reports no log probabilities, or if the output came as a call of a tool.
        """
        last = last_reply(self.state.messages)
        return last.meta.get(CONFIDENCE) if last is not None and self._has_output else None

    @property
    def status(self) -> Status:
        """``"done"``, or why the run ended earlier: ``"limited"``, ``"paused"`` or ``"cancelled"``."""
        return self.state.status

    @property
    def limit(self) -> str:
        """The limit that was reached, in words; empty when there was none."""
        return self.state.limit

    @property
    def pending(self) -> tuple[PendingCall, ...]:
        """The calls that wait for a decision; decide with ``state.approve``, ``deny`` or ``answer``."""
        return self.state.pending

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages: pass them, or the result itself, as ``history=`` to continue the conversation."""
        return tuple(self.state.messages)

    @property
    def new_messages(self) -> tuple[Message, ...]:
        """The messages of this run: its prompt and everything after it."""
        return tuple(self.state.messages[self.state.prior_messages :])

    @property
    def usage(self) -> Usage:
        """The tokens that the run used."""
        return self.state.usage

    @property
    def usage_by_model(self) -> Mapping[str, Usage]:
        """The same, by the name of the model that replied. A cost of None is unknown, and not in ``usage``."""
        return self.state.usage_by_model
