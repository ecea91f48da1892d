"""An assistant over a folder: it searches and reads your notes, and asks before it changes one.

python examples/folder_assistant.py notes "When is the dentist? Move it to ten."
"""

import sys
from pathlib import Path

from agentkit_tools import Calculator, Clock, Files, Search

from agentkit import Agent, Model, RunResult


def assistant(folder: Path, model: str | Model) -> Agent:
    return Agent(
        model,
        tools=[Files(folder, write=True), Search(folder), Clock("Europe/Paris"), Calculator()],
        instructions="You look after a folder of notes. Name the note that you have something from.",
    )


def answer(agent: Agent, question: str) -> RunResult[str]:
    """Run, and ask on the terminal about each change until nothing is waiting."""
    result = agent.run_sync(question)
    while result.status == "paused":
        for call in result.pending:
            print(f"{call.name}: {dict(call.arguments)}")
            if input("allow? [y/n] ").strip().lower() == "y":
                result.state.approve(call.id)
            else:
                result.state.deny(call.id, "the user does not want this")
        result = agent.run_sync(resume=result.state)
    return result


if __name__ == "__main__":
    print(answer(assistant(Path(sys.argv[1]), "openai:gpt-5-mini"), sys.argv[2]).output)
