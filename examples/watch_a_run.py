"""Watch a run: calls of one turn run at the same time, text arrives in chunks, and at a limit the model still answers.

python examples/watch_a_run.py "How long are README.md and CHANGELOG.md?" --model openai:gpt-5-mini
"""

import argparse
from pathlib import Path

import anyio

from agentkit import (
    Agent,
    CallFinished,
    CallStarted,
    Limits,
    Model,
    Progress,
    TextDelta,
    ToolContext,
    ToolError,
    tool,
)


@tool
async def count_words(context: ToolContext[Path], name: str) -> int:
    """Count the words of a file.

    Args:
        name: The file's name.
    """
    path = anyio.Path(context.deps / Path(name).name)  # only the name: the model chooses no directory
    if not await path.is_file():
        raise ToolError(f"there is no file {path.name}")
    context.progress(0.5, f"reading {path.name}")
    return len((await path.read_text(encoding="utf-8")).split())


async def main(question: str, model: str | Model, folder: Path) -> str:
    agent = Agent(model, tools=[count_words], deps_type=Path, limits=Limits(turns=5))
    async with agent.stream(question, deps=folder) as stream:
        async for event in stream:
            match event:
                case CallStarted(call):
                    print(f"-> {call.name}({call.arguments})")
                case Progress(_, tool_name, fraction, message):
                    print(f".. {tool_name} {fraction or 0:.0%} {message}")
                case CallFinished(call, result, seconds):
                    print(f"<- {call.name}: {result.content} ({seconds * 1000:.0f} ms)")
                case TextDelta(text):
                    print(text, end="", flush=True)
                case _:
                    pass
        print()
        return (await stream.result()).status


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("question", nargs="?", default="How many words are in the file README.md?")
    parser.add_argument("--model", default="local")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    arguments = parser.parse_args()
    anyio.run(main, arguments.question, arguments.model, arguments.folder)
