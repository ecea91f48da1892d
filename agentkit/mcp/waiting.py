"""Questions of a server that the run waits for: it pauses, and may be saved and resumed in another process.

From 2026 on, a server that needs an answer ends the call and is called again with it. Until then the call waits as that
of an agent does whose run has paused: in a state of its own, where each question is an external call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from agentkit.errors import RunPaused, ToolError
from agentkit.events import ApprovalRequested, Emit
from agentkit.mcp.answers import fitting
from agentkit.messages import AssistantMessage, ToolCall
from agentkit.run import ApprovalRequest, Decision, RunState

__all__ = ["ELICITATION", "Waiting"]

ELICITATION = "elicitation"  # what a question is called among the calls that wait
_SHOWN = {"message": "message", "url": "url", "schema": "requestedSchema"}
_MEMORY = "mcp.input_required"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits for what its server asked for.

    Attributes:
        questions: The params of what a person is asked, by the names that the server gave.
        responses: What was answered already, by these names too.
        request_state: What the server wants back with the answers.
    """

    questions: Mapping[str, Mapping[str, Any]]
    responses: Mapping[str, Any]
    request_state: str | None

    @classmethod
    def of(cls, state: RunState | None) -> Waiting | None:
        """Return what the state of a paused call holds; None if it has not paused."""
        memory = state.messages[-1].meta.get(_MEMORY) if state is not None and state.messages else None
        return cls(**cast("Mapping[str, Any]", memory)) if isinstance(memory, Mapping) else None

    def pause(self, server: str, emit: Emit, problems: Mapping[str, str] | None = None) -> RunPaused:
        """Make the pause, which the call raises.

        Args:
            server: The name of the server.
            emit: Emits that a question waits.
            problems: Why an earlier answer could not be used, by the names of the questions.
        """
        calls: list[ToolCall] = []
        approvals: dict[str, ApprovalRequest] = {}
        for name, params in self.questions.items():
            shown = {each: params.get(member) for each, member in _SHOWN.items() if params.get(member) is not None}
            call = ToolCall(self._id(name), ELICITATION, json.dumps(shown))
            problem = (problems or {}).get(name)
            reason = f"the MCP server {server} asks" + (
                f"; the last answer cannot be used: {problem}" if problem else ""
            )
            calls.append(call)
            approvals[call.id] = ApprovalRequest(reason, call.id, "", external=True)
            emit(ApprovalRequested(call, reason))
        memory = {"questions": self.questions, "responses": self.responses, "request_state": self.request_state}
        asked = AssistantMessage(None, tuple(calls), meta={_MEMORY: memory})
        state = RunState(messages=[asked], status="paused", approvals=approvals)
        return RunPaused(f"the MCP server {server} waits for answers", state=state)

    def answered(self, state: RunState) -> tuple[Waiting, dict[str, str]]:
        """Return the call with the answers of a person, and why some of them cannot be used.

        Args:
            state: The state of the paused call, with decisions about all of its questions.
        """
        responses, problems = dict(self.responses), dict[str, str]()
        for name, params in self.questions.items():
            try:
                responses[name] = _response(state.decisions[self._id(name)], params)
            except ToolError as error:
                problems[name] = str(error)
        rest = {name: params for name, params in self.questions.items() if name in problems}
        return Waiting(rest, responses, self.request_state), problems

    def _id(self, name: str) -> str:
        """Identify a question, so that an answer to one of another round does not count."""
        asked = json.dumps([name, self.questions[name], self.responses, self.request_state], sort_keys=True)
        return hashlib.sha256(asked.encode()).hexdigest()[:8]


def _response(decision: Decision, params: Mapping[str, Any]) -> dict[str, Any]:
    if decision.kind != "answer":
        return {"action": "decline"}
    if params.get("url"):
        return {"action": "accept"}
    schema = cast("Mapping[str, Any]", params.get("requestedSchema") or {})
    return {"action": "accept", "content": fitting(_read(decision.answer, schema), schema)}


def _read(text: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read what a person wrote: an object as JSON or, where the schema has one member, its value.

    Raises:
        ToolError: It is neither.
    """
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    members = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties") or {})
    if len(members) != 1:
        raise ToolError(f"it must be a JSON object with {', '.join(members) or 'no members'}")
    [(name, member)] = members.items()
    if member.get("type") == "string":
        return {name: text}
    if member.get("type") == "boolean" and text.strip().lower() in ("yes", "y", "no", "n"):
        return {name: text.strip().lower().startswith("y")}
    return {name: value}
