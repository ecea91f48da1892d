"""A conversation about notes in a database, which tools receive as `context.deps`.

python examples/notes.py --model openai:gpt-5-mini
"""

import argparse
import contextlib
import sqlite3
from collections.abc import Iterable

from agentkit import Agent, AgentKitError, Message, Model, ToolContext, tool


@tool(sequential=True)
def add_note(context: ToolContext[sqlite3.Connection], text: str) -> str:
    """Write down a note.

    Args:
        text: The note.
    """
    with context.deps as database:
        database.execute("insert into notes values (?)", [text])
    return "noted"


@tool(sequential=True)
def find_notes(context: ToolContext[sqlite3.Connection], word: str) -> list[str]:
    """Search the notes for a word.

    Args:
        word: A word of the notes to find.
    """
    rows = context.deps.execute("select text from notes where instr(lower(text), lower(?))", [word])
    return [text for (text,) in rows]


def open_database(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)  # tools run in threads, but sequential ones one at a time
    database.execute("create table if not exists notes (text)")
    return database


def main(questions: Iterable[str], model: str | Model, path: str = ":memory:") -> list[str]:
    agent = Agent(
        model, deps_type=sqlite3.Connection, tools=[add_note, find_notes], instructions="You keep the user's notes."
    )
    database, history, answers = open_database(path), tuple[Message, ...](), list[str]()
    for question in questions:
        try:
            result = agent.run_sync(question, history=history, deps=database)
        except AgentKitError as error:
            print(f"error: {error}")
            continue
        history = result.messages
        answers.append(result.output)
        print(result.output)
    database.close()
    return answers


def typed() -> Iterable[str]:
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while question := input("> ").strip():
            yield question


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="local")
    parser.add_argument("--file", default="notes.db")
    arguments = parser.parse_args()
    main(typed(), arguments.model, arguments.file)
