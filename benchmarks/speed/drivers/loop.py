"""A tool loop without a framework: what a run costs at least, for those who check nothing."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

from tools import TOOLS

FUNCTIONS: dict[str, Any] = {each.__name__: each for each in TOOLS}


def schema(name: str, **properties: str) -> dict[str, Any]:
    types = {each: {"type": kind} for each, kind in properties.items()}
    parameters = {"type": "object", "properties": types, "required": list(types)}
    description = FUNCTIONS[name].__doc__.partition("\n")[0]
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


SCHEMAS = [schema("add", a="integer", b="integer"), schema("wait"), schema("note", text="string")]


class Client(Protocol):
    """What the two HTTP libraries have to do."""

    async def ask(self, body: bytes) -> Any: ...

    def lines(self, body: bytes) -> AsyncIterator[bytes]: ...


class Loop:
    """The loop."""

    def __init__(self, client: Client, model: str) -> None:
        self.client, self.model = client, model

    async def run(self) -> str:
        messages: list[dict[str, Any]] = [{"role": "user", "content": "What is 2 + 3?"}]
        while True:
            request = {"model": self.model, "messages": messages, "tools": SCHEMAS}
            answer = await self.client.ask(json.dumps(request).encode())
            message = answer["choices"][0]["message"]
            messages.append(message)
            if not message.get("tool_calls"):
                return str(message["content"])
            messages += await asyncio.gather(*map(self.call, message["tool_calls"]))

    async def stream(self) -> int:
        messages: list[dict[str, Any]] = [{"role": "user", "content": "What is 2 + 3?"}]
        deltas = 0
        while True:
            request = {"model": self.model, "messages": messages, "tools": SCHEMAS, "stream": True}
            text: list[str] = []
            calls: list[dict[str, Any]] = []
            async for line in self.client.lines(json.dumps(request).encode()):
                if not line.startswith(b"data: ") or line == b"data: [DONE]":
                    continue
                for choice in json.loads(line[6:])["choices"]:
                    delta = choice["delta"]
                    deltas += 1
                    text.append(delta.get("content") or "")
                    for call in delta.get("tool_calls", ()):
                        if call["index"] == len(calls):
                            calls.append({"id": call["id"], "type": "function", "function": call["function"]})
                        else:
                            calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
            messages.append({"role": "assistant", "content": "".join(text), **({"tool_calls": calls} if calls else {})})
            if not calls:
                return deltas
            messages += await asyncio.gather(*map(self.call, calls))

    async def call(self, call: dict[str, Any]) -> dict[str, Any]:
        function, arguments = FUNCTIONS[call["function"]["name"]], json.loads(call["function"]["arguments"])
        if inspect.iscoroutinefunction(function):
            result = await function(**arguments)
        else:
            result = await asyncio.to_thread(function, **arguments)
        return {"role": "tool", "tool_call_id": call["id"], "content": str(result)}
