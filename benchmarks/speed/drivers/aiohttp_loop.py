"""The loop as one writes it by hand, on aiohttp."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from drivers.loop import Loop


class Client:
    """Sends requests."""

    def __init__(self, base_url: str) -> None:
        self.url = f"{base_url}/chat/completions"
        self.session: aiohttp.ClientSession | None = None

    def opened(self) -> aiohttp.ClientSession:
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self.session

    async def ask(self, body: bytes) -> Any:
        headers = {"content-type": "application/json"}
        async with self.opened().post(self.url, data=body, headers=headers) as response:
            response.raise_for_status()
            return json.loads(await response.read())

    async def lines(self, body: bytes) -> AsyncIterator[bytes]:
        headers = {"content-type": "application/json"}
        async with self.opened().post(self.url, data=body, headers=headers) as response:
            response.raise_for_status()
            rest = b""
            async for part in response.content.iter_any():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line


clients: dict[str, Client] = {}


def open(base_url: str, model: str) -> Loop:  # noqa: A001 - what a driver is asked for
    if base_url not in clients:
        clients[base_url] = Client(base_url)
    return Loop(clients[base_url], model)
