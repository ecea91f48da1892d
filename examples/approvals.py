"""A person approves a call before it runs, perhaps in another process: the run is a file while it waits.

python examples/approvals.py ask "Refund order 7, please." --model openai:gpt-5-mini
python examples/approvals.py decide call_1 yes --model openai:gpt-5-mini
"""

import argparse
from pathlib import Path
from typing import Any

from agentkit import Agent, Model, RunResult, RunState, ToolContext, tool

KEY = b"a secret of your servers"  # signs the file, so that nobody can approve a call by editing it


def is_large(_: ToolContext[Any], arguments: dict[str, Any]) -> bool:
    return bool(arguments["cents"] > 1000)


@tool(requires_approval=is_large)
def refund(order: int, cents: int) -> str:
    """Pay money back for an order.

    Args:
        order: The order's number.
        cents: How much to pay back.
    """
    return f"refunded {cents / 100:.2f} for order {order}"


@tool
def price_of(order: int) -> int:
    """Look up the price that was paid for an order, in cents.

    Args:
        order: The order's number.
    """
    return {7: 4900, 8: 250}.get(order, 0)


def open_agent(model: str | Model) -> Agent:
    return Agent(model, tools=[refund, price_of], name="shop", instructions="You help in a shop.")


def ask(question: str, model: str | Model, path: Path) -> None:
    keep(open_agent(model).run_sync(question), path)


def decide(call_id: str, decision: str, model: str | Model, path: Path) -> None:
    state = RunState.load(path.read_text(encoding="utf-8"), key=KEY)
    if decision == "yes":
        state.approve(call_id, by="the manager")
    else:
        state.deny(call_id, decision, by="the manager")
    keep(open_agent(model).run_sync(resume=state), path)


def keep(result: RunResult[str], path: Path) -> None:
    path.write_text(result.state.to_json(key=KEY), encoding="utf-8")
    for call in result.pending:
        print(f"waits: {call.id}  {call.name}({dict(call.arguments)})  {call.reason}")
    if result.status != "paused":
        print(result.output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["ask", "decide"])
    parser.add_argument("words", nargs="+", metavar="QUESTION | CALL DECISION")
    parser.add_argument("--model", default="local")
    parser.add_argument("--file", type=Path, default=Path("run.json"))
    given = parser.parse_args()
    if given.command == "ask":
        ask(" ".join(given.words), given.model, given.file)
    else:
        decide(given.words[0], " ".join(given.words[1:]), given.model, given.file)
