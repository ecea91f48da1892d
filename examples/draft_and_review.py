"""An evaluator loop: one agent drafts, another one reviews, and the draft is revised until it is accepted.

python examples/draft_and_review.py "A sentence that explains hash maps to children"
"""

import sys
from dataclasses import dataclass

import anyio

from agentkit import Agent, Model


@dataclass
class Review:
    """Whether the draft can go out, and what is missing."""

    accepted: bool
    critique: str = ""


async def main(task: str, model: str | Model, most: int = 4) -> str:
    author = Agent(model, instructions="Write what is asked for, and nothing else.", name="author")
    reviewer = Agent(model, output_type=Review, instructions="Review the draft strictly.", name="reviewer")
    draft = await author.run(task)
    for turn in range(most):
        review = (await reviewer.run(f"Task: {task}\n\nDraft: {draft.output}")).output
        print(f"{turn + 1}. {draft.output}\n   {'accepted' if review.accepted else review.critique}")
        if review.accepted:
            break
        draft = await author.run(f"Revise it: {review.critique}", history=draft)
    return draft.output


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], "openai:gpt-5-mini")
