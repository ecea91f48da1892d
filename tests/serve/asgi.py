"""A client of an ASGI app in the same process: it reads a stream as it is written, and may leave at any time."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio

from agentkit import serve
from tests.serve import official

TOKEN = "a-token-for-tests"
USER = {"role": "user", "content": "hi"}


@dataclass
class Answer:
    """What came of a request, so far."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    began: anyio.Event = field(default_factory=anyio.Event)
    more: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["choices"][0]["message"]
        return found

    @property
    def data(self) -> list[str]:
        """The data of each event so far."""
        lines = self.body.decode().splitlines()
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.data if each != "[DONE]"]

    @property
    def text(self) -> str:
        """The text of the chunks."""
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", ())]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the run, as a stream has them."""
        found = [chunk["agentkit"].get("event") for chunk in self.chunks if "agentkit" in chunk]
        return [each for each in found if each]

    def check(self, path: str) -> None:
        """Check the answer with the official document, if it is one of those that are in it."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("text/event-stream"):
            official.check_stream(self.data)
        elif self.status >= 400:
            official.check("ErrorResponse", self.json)
        elif path.endswith(("/completions", "/decisions")) and self.body:
            official.check("CreateChatCompletionResponse", self.json)
        elif path.endswith("/models"):
            official.check("ListModelsResponse", self.json)

    async def until(self, text: str) -> None:
        """Wait until this was written."""
        while text.encode() not in self.body:
            await self.more.wait()
            self.more = anyio.Event()


@dataclass
class Client:
    """A client with a token."""

    app: serve.Server
    model: str = "agent"
    token: str | None = TOKEN

    async def chat(self, *messages: Mapping[str, Any], headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """Ask for a completion."""
        body = {"model": self.model, "messages": list(messages or (USER,)), **more}
        return await self.send("POST", "/v1/chat/completions", body, headers)

    async def send(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and read the whole answer."""
        async with self.open(method, path, body, headers) as answer:
            await answer.ended.wait()
        answer.check(path)
        return answer

    @asynccontextmanager
    async def open(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Answer]:
        """Send a request; leaving the block closes the connection."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"host": "localhost", "content-type": "application/json"}
        given |= {"authorization": f"Bearer {self.token}"} if self.token else {}
        given |= headers or {}
        answer, left = Answer(), anyio.Event()
        requests = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
                answer.began.set()
            else:
                answer.body += message["body"]
                answer.more.set()

        async def work() -> None:
            try:
                await self.app(scope_of(method, path, given), receive, send)
            finally:
                answer.ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            try:
                yield answer
            finally:
                left.set()


def scope_of(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
