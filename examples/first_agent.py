"""The smallest useful agent: a function with types and a docstring is a tool.

python examples/first_agent.py "What is 17 times 23?" --model openai:gpt-5-mini
"""

import argparse
from typing import Literal

from agentkit import Agent, Model, tool


@tool
def calculate(a: float, operation: Literal["plus", "minus", "times"], b: float) -> float:
    """Calculate with two numbers.

    Args:
        a: The first number.
        operation: What to do.
        b: The second number.
    """
    return {"plus": a + b, "minus": a - b, "times": a * b}[operation]


def main(question: str, model: str | Model = "local") -> str:
    agent = Agent(model, tools=[calculate], instructions="Be brief.")
    return agent.run_sync(question).output


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("question", nargs="?", default="What is 17 times 23?")
    parser.add_argument("--model", default="local")
    arguments = parser.parse_args()
    print(main(arguments.question, arguments.model))
