import pytest

from agentkit.chat.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from agentkit.run.limits import Limits
from agentkit.run.state import RunState
from agentkit.run.step import AskModel, Finish, RefusedCall, RunCalls, Step, next_step

Q = UserMessage("hi")
A, B = ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}")
BOTH = AssistantMessage(None, (A, B))
RESULT_A, RESULT_B = ToolMessage("1", "a"), ToolMessage("2", "b")
TURNS, CALLS = "the limit of 1 turn", "the limit of 1 tool call"


@pytest.mark.parametrize(
    ("messages", "state", "limits", "step"),
    [
        ([Q], {}, Limits(), AskModel()),
        ([Q, AssistantMessage("yes")], {}, Limits(), Finish("done")),
        ([Q, BOTH], {}, Limits(), RunCalls((A, B))),
        ([Q, BOTH, RESULT_A], {}, Limits(), RunCalls((B,))),
        ([Q, BOTH, RESULT_A, RESULT_B], {}, Limits(), AskModel()),
        ([Q, BOTH, RESULT_A, RESULT_B, Q], {}, Limits(), AskModel()),
        ([Q, BOTH], {}, Limits(calls=1), RunCalls((A,), (RefusedCall(B, CALLS),), CALLS)),
        ([Q, BOTH], {"calls": 1}, Limits(calls=1), RunCalls((), (RefusedCall(A, CALLS), RefusedCall(B, CALLS)), CALLS)),
        ([Q, BOTH, RESULT_A, RESULT_B], {"limit": CALLS}, Limits(calls=1), AskModel(limit=CALLS)),
        ([Q, BOTH, RESULT_A, RESULT_B], {"turns": 1}, Limits(turns=1), AskModel(limit=TURNS)),
        ([Q, BOTH, RESULT_A, RESULT_B], {"turns": 1}, Limits(turns=1, on_limit="stop"), Finish("limited", TURNS)),
        ([Q, BOTH, RESULT_A, RESULT_B], {"turns": 1}, Limits(turns=1, on_limit="raise"), Finish("limited", TURNS)),
        (
            [Q, BOTH],
            {"limit": TURNS, "final_turn": True},
            Limits(turns=1),
            RunCalls((), (RefusedCall(A, TURNS), RefusedCall(B, TURNS)), TURNS),
        ),
        (
            [Q, BOTH, RESULT_A, RESULT_B],
            {"limit": TURNS, "final_turn": True},
            Limits(turns=1),
            Finish("limited", TURNS),
        ),
        (
            [Q, AssistantMessage("so far")],
            {"limit": TURNS, "final_turn": True},
            Limits(turns=1),
            Finish("limited", TURNS),
        ),
        ([Q, AssistantMessage("yes")], {"turns": 1}, Limits(turns=1), Finish("done")),
    ],
)
def test_what_comes_next(messages: list[Message], state: dict[str, object], limits: Limits, step: Step) -> None:
    assert next_step(RunState(messages=messages, **state), limits) == step  # type: ignore[arg-type]  # a table of fields
