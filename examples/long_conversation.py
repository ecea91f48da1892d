"""A conversation that never gets too long: pages that were read earlier are cleared, old exchanges are summarized.

python examples/long_conversation.py README.md --model openai:gpt-5-mini
"""

import argparse
import contextlib
from collections.abc import Iterable
from pathlib import Path

from agentkit import Agent, AgentKitError, Event, Message, Model, ToolContext, ToolError, tool
from agentkit.compaction import ClearToolResults, Compaction, HistoryShortened, Summarize, Window

PAGE = 3_000  # characters


@tool
def read_page(context: ToolContext[str], page: int) -> str:
    """Read a page of the document.

    Args:
        page: The page, counted from 1.
    """
    pages = range(1, len(context.deps) // PAGE + 2)
    if page not in pages:
        raise ToolError(f"the document has the pages 1 to {len(pages)}")
    return context.deps[(page - 1) * PAGE : page * PAGE]


def tell(event: Event) -> None:
    if isinstance(event, HistoryShortened):
        print(f".. {event.by}: {event.before:,} tokens became {event.after:,}{event.problem and f' ({event.problem})'}")


def main(questions: Iterable[str], model: str | Model, document: str, tokens: int = 6_000) -> tuple[Message, ...]:
    agent = Agent(
        model,
        tools=[read_page],
        deps_type=str,
        instructions="You answer questions about a document. Read the pages that you need.",
        middleware=[Compaction([ClearToolResults(keep=3), Summarize(tokens=tokens), Window()])],
    )
    history: tuple[Message, ...] = ()
    for question in questions:
        try:
            result = agent.run_sync(question, history=history, deps=document, on_event=tell)
        except AgentKitError as error:
            print(f"error: {error}")
            continue
        history = result.messages
        print(result.output)
    return history


def typed() -> Iterable[str]:
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while question := input("> ").strip():
            yield question


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", default="README.md")
    parser.add_argument("--model", default="local")
    arguments = parser.parse_args()
    main(typed(), arguments.model, Path(arguments.file).read_text(encoding="utf-8"))
