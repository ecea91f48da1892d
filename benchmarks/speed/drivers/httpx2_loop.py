"""The loop as one writes it by hand, on httpx2."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from drivers.loop import Loop


class Client:
    """Sends requests."""

    def __init__(self, base_url: str) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self.url, self.client = f"{base_url}/chat/completions", httpx2.AsyncClient(limits=limits, timeout=600)

    async def ask(self, body: bytes) -> Any:
        response = await self.client.post(self.url, content=body, headers={"content-type": "application/json"})
        response.raise_for_status()
        return json.loads(response.content)

    async def lines(self, body: bytes) -> AsyncIterator[bytes]:
        headers = {"content-type": "application/json"}
        async with self.client.stream("POST", self.url, content=body, headers=headers) as response:
            response.raise_for_status()
            rest = b""
            async for part in response.aiter_raw():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line


clients: dict[str, Client] = {}


def open(base_url: str, model: str) -> Loop:  # noqa: A001 - what a driver is asked for
    if base_url not in clients:
        clients[base_url] = Client(base_url)
    return Loop(clients[base_url], model)
