"""Costs that have no request in them: prints seconds of CPU as JSON, each the median of several rounds."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from agentkit import tool
from agentkit.sessions import SQLiteSessions

ROUNDS, TIMES = 7, 50


def cpu_of(work: Callable[[], Any]) -> float:
    began = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - began) / TIMES


def tool_of_function() -> object:
    @tool
    def book(
        city: str, nights: int, guests: list[str], room: Literal["single", "double"] = "single", note: str | None = None
    ) -> str:
        """Book a hotel room.

        Args:
            city: Where the hotel is.
            nights: How many nights.
            guests: The names of all guests.
            room: The kind of room.
            note: What the hotel should know.
        """
        return city

    return book.parameters


def model_of_pydantic() -> object:
    class Book(BaseModel):
        """Book a hotel room."""

        city: str = Field(description="Where the hotel is.")
        nights: int = Field(description="How many nights.")
        guests: list[str] = Field(description="The names of all guests.")
        room: Literal["single", "double"] = Field(default="single", description="The kind of room.")
        note: str | None = Field(default=None, description="What the hotel should know.")

    return Book.model_json_schema()


async def session_cpu(folder: Path) -> float:
    """CPU of opening a session that has a hundred messages, and reading them."""
    sessions = SQLiteSessions(folder / "bench.db")
    roles = ("user", "assistant") * 50
    await sessions["one"].seed([{"role": role, "content": f"message {each}"} for each, role in enumerate(roles)])
    began = time.process_time()
    for _ in range(TIMES):
        await sessions["one"].messages()
    return (time.process_time() - began) / TIMES


def main() -> None:
    tools = [cpu_of(tool_of_function) for _ in range(ROUNDS)]
    models = [cpu_of(model_of_pydantic) for _ in range(ROUNDS)]
    with tempfile.TemporaryDirectory() as folder:
        session = asyncio.run(session_cpu(Path(folder)))
    print(json.dumps({"tool": statistics.median(tools), "model": statistics.median(models), "session": session}))


if __name__ == "__main__":
    main()
