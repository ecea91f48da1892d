"""A service desk: triage hands off to billing or support. A refund waits until somebody approves it.

python examples/triage.py "I want my money back for order 7."
"""

import sys
from pathlib import Path

from agentkit import Agent, Model, RunResult, handoff, tool
from agentkit.run import Session
from agentkit.sessions import SQLiteSessions

ORDERS = {7: "a lamp, 49.00, delivered", 8: "a bulb, 2.50, on its way"}


@tool(read_only=True)
def find_order(number: int) -> str:
    """Look up an order.

    Args:
        number: The number of the order.
    """
    return ORDERS.get(number, "there is no such order")


@tool(requires_approval=True)
def refund(number: int, reason: str) -> str:
    """Pay the price of an order back.

    Args:
        number: The number of the order.
        reason: Why, in a few words.
    """
    return f"order {number} is refunded: {reason}"


def open_desk(model: str | Model) -> Agent:
    back = handoff("triage", when="The customer wants something else.")
    billing = Agent(
        model,
        tools=[find_order, refund, back],
        name="billing",
        description="Payments, refunds and invoices.",
        instructions="You handle payments. Look the order up before you refund it.",
    )
    support = Agent(
        model,
        tools=[find_order, back],
        name="support",
        description="Help with lamps that do not work.",
        instructions="You help with lamps. Ask for the order if you need it.",
    )
    return Agent(
        model,
        tools=[handoff(billing), handoff(support)],
        name="triage",
        instructions="Find out what the customer needs, and hand off. Do not answer yourself.",
    )


def answer(question: str, model: str | Model, session: Session) -> RunResult[str]:
    """Continue the conversation with the agent that has it, and ask on the terminal about waiting calls."""
    desk = open_desk(model)
    result = desk.run_sync(question, session=session)
    while result.status == "paused":
        for call in result.pending:
            print(f"{result.state.agent}: {call.name}({dict(call.arguments)})")
            if input("allow? [y/n] ").strip().lower() == "y":
                result.state.approve(call.id)
            else:
                result.state.deny(call.id, "not without a return of the goods")
        result = desk.run_sync(resume=result.state, session=session)
    return result


if __name__ == "__main__":
    done = answer(sys.argv[1], "openai:gpt-5-mini", SQLiteSessions(Path("desk.db"))["customer"])
    print(f"{done.state.agent}: {done.output}")
