"""`Todo`: a plan that the model maintains and a user interface can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ValidationError

from agentkit import Message, tool
from agentkit.errors import ModelRetry
from agentkit.messages import AssistantMessage
from agentkit.tools import ToolContext, ToolResult, Toolset

__all__ = ["Step", "Todo"]

_MOST_STEPS = 50
_LONGEST = 200  # characters of a step
_MARKS = {"done": "[x]", "in_progress": "[>]", "open": "[ ]"}


class Step(BaseModel, frozen=True):
    """One step of a plan."""

    task: Annotated[str, "What is to be done, in a few words."]
    status: Annotated[Literal["open", "in_progress", "done"], "How far it is."]


class Todo(Toolset):
    """One tool, ``update_plan``: the model rewrites its whole plan whenever something changes.

    The plan is stored only in the messages: it is saved and resumed with them, and runs do not share it. Each update
    also emits a `Progress` event with the fraction done and the task in progress.
    """

    def __init__(self) -> None:
        super().__init__(tool(self.update_plan, thread=False))

    def update_plan(
        self,
        context: ToolContext[Any],
        steps: Annotated[list[Step], "All steps in their order, also those that are done."],
    ) -> ToolResult:
        """Write down or update the plan for a task of several steps. Keep exactly one step in progress."""
        if len(steps) > _MOST_STEPS or any(not 1 <= len(step.task) <= _LONGEST for step in steps):
            raise ModelRetry(f"a plan has at most {_MOST_STEPS} steps, and a task 1 to {_LONGEST} characters")
        current = [step.task for step in steps if step.status == "in_progress"]
        if len(current) > 1:
            raise ModelRetry(f"only one step can be in progress, not {len(current)}")
        done = sum(step.status == "done" for step in steps)
        context.progress(done / len(steps) if steps else None, current[0] if current else "")
        lines = [f"{_MARKS[step.status]} {step.task}" for step in steps]
        return ToolResult("\n".join(lines) or "the plan is empty", steps, metadata={"source": "todo"})

    @staticmethod
    def plan_of(messages: Iterable[Message], *, tool_name: str = "update_plan") -> Sequence[Step]:
        """Return the last plan in the messages of a run; empty if there is none.

        Args:
            messages: `RunResult.messages`, for example.
            tool_name: The tool's name, if it was renamed.
        """
        for message in reversed(list(messages)):
            calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
            for call in reversed(calls):
                plan = _read_plan(call.arguments) if call.name == tool_name else None
                if plan is not None:
                    return plan
        return []


def _read_plan(arguments: str) -> Sequence[Step] | None:
    """Return the steps of a call; None if the tool refused what the model wrote."""
    try:
        return _Plan.model_validate_json(arguments).steps
    except ValidationError:
        return None


class _Plan(BaseModel):
    """The arguments of a call."""

    steps: list[Step]
