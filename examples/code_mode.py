"""Code mode: the model writes one program over the tools, instead of a call for each of a hundred files.

python examples/code_mode.py src "How many lines do the ten longest Python files have together?"
"""

import sys
from pathlib import Path
from typing import Any

from agentkit_tools import Files, Python

from agentkit import Agent, CallStarted, Event, Model, tool


def tools(folder: Path) -> Python:
    files = Files(folder)

    @tool
    def list_paths(pattern: str) -> list[str]:
        """List the paths of files.

        Args:
            pattern: A glob, such as "*.py".
        """
        found: Any = files.find_files(pattern).data
        return list(found)

    @tool
    def count_lines(path: str) -> int:
        """Count the lines of a file.

        Args:
            path: The file.
        """
        return str(files.read_file(path, lines=1_000_000).data).count("\n")

    return Python(tools=[list_paths, count_lines], most_calls=1000)


def show_call(event: Event) -> None:
    if isinstance(event, CallStarted):
        print(f"{event.call.name}({event.call.arguments})")


def main(folder: Path, question: str, model: str | Model = "openai:gpt-5-mini") -> str:
    return Agent(model, tools=[tools(folder)]).run_sync(question, on_event=show_call).output


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2]))
