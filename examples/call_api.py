"""Use an API through its OpenAPI document: reads run freely, and anything that would change something is only shown.

API_TOKEN=... python examples/call_api.py https://api.example.com/openapi.json "Which orders are late?"
"""

import os
import sys
from typing import Any

import anyio
from agentkit_tools import Clock, OpenApi

from agentkit import Agent, Model


async def main(url: str, question: str, model: str | Model = "openai:gpt-5-mini", **options: Any) -> str:
    api = await OpenApi.from_url(url, auth=os.environ.get("API_TOKEN", ""), **options)
    result = await Agent(model, tools=[api, Clock()]).run(question)
    for call in result.pending:
        print(f"would call {call.name} with {dict(call.arguments)}")
    return result.output if result.status == "done" else "(not done: it would change something)"


if __name__ == "__main__":
    print(anyio.run(main, sys.argv[1], sys.argv[2]))
