"""The HTTP seam under contention and cancellation, against a server in the same event loop."""

import gc
import math
import random
import warnings
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest

from agentkit.chat.transport import http as transport
from agentkit.chat.transport.http import Http
from agentkit.chat.transport.http_aiohttp import AiohttpEngine
from agentkit.chat.transport.http_httpx import ClientEngine, HttpxEngine
from agentkit.chat.transport.redaction import Redactor
from agentkit.chat.transport.response import Deadlines, Engine, Request, Response
from agentkit.errors import ConfigError, ConnectionFailed, InvalidReply
from tests.explore import EXPLORE
from tests.replay import HANG, answer, replay

pytestmark = pytest.mark.anyio

CANCELS = 10_000 if EXPLORE else 1_000
SLOTS = 20
AT_ONCE = 120  # requests


class Counting:
    def __init__(self, *, whole: bytes = b"") -> None:
        self.status = 0
        self.body = b""
        self.whole = whole

    @property
    def done(self) -> bool:
        return bool(self.whole) and self.body == self.whole

    @property
    def complete(self) -> bool:
        return self.done

    def start(self, status: int, headers: object) -> None:
        self.status = status

    def feed(self, chunk: bytes) -> bool:
        self.body += chunk
        return True


async def serve(stream: anyio.abc.SocketStream) -> None:
    """Answer every request of a connection, after a while that differs."""
    async with stream:
        try:
            while True:
                request = await stream.receive()
                while b"\r\n\r\n" not in request:
                    request += await stream.receive()
                for _ in range(random.randrange(5)):
                    await anyio.lowlevel.checkpoint()
                await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
                await anyio.lowlevel.checkpoint()
                await stream.send(b"k")
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return


async def ask(http: Http, url: str) -> bytes:
    sink = Counting()
    await http.send(url, headers={}, body=b"{}", sink=sink, deadlines=Deadlines(), stream=False)
    return sink.body


async def ask_engine(engine: Engine, url: str) -> bytes:
    sink = Counting()
    response = Response(sink, Deadlines(), stream=False)
    with response.scope:
        await engine.send(Request(url, {}, b"{}", 10, Redactor()), response)
    return sink.body


def of_caller() -> ClientEngine:
    limits = httpx2.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS)
    return ClientEngine(httpx2.AsyncClient(limits=limits, trust_env=False))


ENGINES: list[tuple[str, Callable[[], Engine], str]] = [
    *(("httpx2", partial(HttpxEngine, most=SLOTS), backend) for backend in ("asyncio", "trio")),
    *(("a caller's", of_caller, backend) for backend in ("asyncio", "trio")),
    ("aiohttp", partial(AiohttpEngine, most=SLOTS), "asyncio"),
]


@pytest.mark.parametrize(
    ("make", "anyio_backend"), [pytest.param(*row[1:], id=f"{row[0]}-{row[2]}") for row in ENGINES]
)
async def test_cancelling_leaves_no_slot_of_the_pool_behind(make: Callable[[], Engine], anyio_backend: str) -> None:
    """Many requests, more at a time than there are slots, each cancelled wherever it happens to be."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as serving:
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
        serving.start_soon(listener.serve, serve)
        engine = make()

        async def ask_and_be_cancelled() -> None:
            for _ in range(CANCELS // 100):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(ask_engine, engine, url)
                        for _ in range(random.randrange(30)):
                            await anyio.lowlevel.checkpoint()
                        scope.cancel()

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask_and_be_cancelled)

        bodies: list[bytes] = []

        async def ask_once() -> None:
            bodies.append(await ask_engine(engine, url))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(SLOTS):
                    tasks.start_soon(ask_once)
        assert bodies == [b"ok"] * SLOTS
        await engine.aclose()
        serving.cancel_scope.cancel()


@asynccontextmanager
async def counted() -> AsyncGenerator[tuple[str, list[int]]]:
    """A server's address; and a number for each connection that it has, and one for each that it ever had."""
    numbers = [0, 0]

    async def count(stream: anyio.abc.SocketStream) -> None:
        numbers[:] = numbers[0] + 1, numbers[1] + 1
        await serve(stream)
        numbers[0] -= 1

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=AT_ONCE)
    async with listener, anyio.create_task_group() as serving:
        serving.start_soon(listener.serve, count)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/", numbers
        serving.cancel_scope.cancel()


async def test_requests_at_once_use_the_connections_of_those_before_them() -> None:
    async with counted() as (url, numbers):
        http = Http()
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(ask, http, url)
        assert numbers[1] <= AT_ONCE
        await http.aclose()


async def test_connections_that_nobody_needs_any_more_are_closed() -> None:
    async with counted() as (url, numbers):
        engine = HttpxEngine(kept=0.0)
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(ask_engine, engine, url)
        await ask_engine(engine, url)
        with anyio.fail_after(10):
            while numbers[0] > 1:
                await anyio.lowlevel.checkpoint()
        await engine.aclose()


async def test_requests_at_once_find_that_all_connections_have_expired() -> None:
    async with counted() as (url, numbers):
        engine = HttpxEngine(kept=0.1)
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(ask_engine, engine, url)
            await anyio.sleep(0.2)
        assert numbers[1] > AT_ONCE
        await engine.aclose()


STALE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstale"
BODIES = {"length": b"content-length: 2\r\n\r\nok", "chunks": b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"}


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(
    ("make", "anyio_backend"),
    [pytest.param(*row[1:], id=f"{row[0]}-{row[2]}") for row in ENGINES if row[0] != "a caller's"],
)
async def test_what_a_server_sends_unasked_is_not_the_response_to_the_next_request(
    make: Callable[[], Engine],
    body: bytes,
    at_once: bool,
    anyio_backend: str,
) -> None:
    unasked = anyio.Event()

    async def serve_more(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            while True:
                try:
                    request = await stream.receive()
                    while not request.endswith(b"{}"):
                        request += await stream.receive()
                    await stream.send(b"HTTP/1.1 200 OK\r\n" + body + STALE * at_once)
                    if not at_once:
                        await anyio.sleep(0.05)
                        await stream.send(STALE)
                    unasked.set()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as serving:
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
        serving.start_soon(listener.serve, serve_more)
        engine = make()
        assert await ask_engine(engine, url) == b"ok"
        await unasked.wait()
        await anyio.sleep(0.05)
        assert await ask_engine(engine, url) == b"ok"
        await engine.aclose()
        serving.cancel_scope.cancel()


@pytest.mark.parametrize("engine", ["aiohttp", "httpx2"])
async def test_a_header_is_ascii(engine: str) -> None:
    http = Http(engine)
    with pytest.raises(ConfigError, match="character"):
        await http.send(
            "http://127.0.0.1:9/",
            headers={"x-name": "café"},
            body=b"",
            sink=Counting(),
            deadlines=Deadlines(),
            stream=False,
        )
    await http.aclose()


def test_threads_may_forget_the_same_event_loop_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop:
        def __call__(self) -> None:
            pools.clear()  # as another thread does just then

    pools: list[Any] = [(Loop(), SimpleNamespace(open={}))]
    monkeypatch.setattr(transport, "_pools", pools)
    anyio.run(transport.close_connections)


async def test_a_redirect_is_not_followed() -> None:
    with replay(answer(b"", status="302 Found", headers="location: http://127.0.0.1:1/\r\n")) as server:
        http, sink = Http(), Counting()
        await http.send(server.url, headers={}, body=b"{}", sink=sink, deadlines=Deadlines(), stream=False)
        await http.aclose()
    assert sink.status == 302


async def test_a_compression_nobody_asked_for_is_refused_or_unpacked() -> None:
    with replay(answer(b"xx", headers="content-encoding: br\r\n")) as server:
        http = Http()
        with pytest.raises(InvalidReply, match="br"):
            await http.send(server.url, headers={}, body=b"{}", sink=Counting(), deadlines=Deadlines(), stream=False)
        await http.aclose()


async def test_a_body_that_is_complete_does_not_wait_for_its_connection_to_end() -> None:
    with replay([b"HTTP/1.1 200 OK\r\n\r\nall of it", HANG]) as server:
        http, sink = Http(), Counting(whole=b"all of it")
        with anyio.fail_after(10):
            await http.send(server.url, headers={}, body=b"{}", sink=sink, deadlines=Deadlines(), stream=True)
        await http.aclose()
    assert sink.body == b"all of it"


async def test_what_a_sink_raises_comes_out_as_it_is_and_closes_the_connection() -> None:
    class Broken(Counting):
        def feed(self, chunk: bytes) -> bool:
            raise KeyError("sink")

    with replay([b"HTTP/1.1 200 OK\r\n\r\nx", HANG]) as server:
        http = Http()
        with pytest.raises(KeyError):
            await http.send(server.url, headers={}, body=b"{}", sink=Broken(), deadlines=Deadlines(), stream=True)
        await http.aclose()


async def test_a_server_on_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with replay(answer(b"ok")) as server:
        http = Http()
        assert await ask(http, server.url) == b"ok"
        await http.aclose()


async def test_clients_share_the_connections_of_their_event_loop_and_the_last_one_closes_them() -> None:
    with replay(answer(b"1"), answer(b"2"), answer(b"3")) as server:
        first, second = Http(), Http()
        assert [await ask(first, server.url), await ask(second, server.url)] == [b"1", b"2"]
        await first.aclose()
        assert await ask(second, server.url) == b"3"
        await second.aclose()


async def test_a_password_and_a_header_are_in_no_error() -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await ask(Http(), "http://user:hunter2@127.0.0.1:9/v1?key=hunter2")
    assert "hunter2" not in str(caught.value)
    with replay(answer(b"")) as server:
        http = Http()
        with pytest.raises(ConfigError) as refused:
            headers = {"authorization": "Bearer sk-secret\n"}
            await http.send(server.url, headers=headers, body=b"", sink=Counting(), deadlines=Deadlines(), stream=False)
        await http.aclose()
    assert "secret" not in f"{refused.value} {refused.value.__cause__}"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux lists them")
def test_event_loops_that_come_and_go_leave_no_connections_behind() -> None:
    async def ask_and_close(url: str) -> None:
        await ask(http, url)
        await http.aclose()

    with replay(*[answer(b"ok").replace(b"connection: close\r\n", b"")] * 31) as server:
        http = Http()
        before = len(list(Path("/proc/self/fd").iterdir()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # nobody closes these on purpose
            for _ in range(30):
                anyio.run(ask, http, server.url)
            anyio.run(ask_and_close, server.url)  # which forgets the connections of the loop before it as well
            gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) < before + 15


async def test_a_client_that_cannot_send_is_a_setting_that_cannot_work() -> None:
    client = httpx2.AsyncClient()
    await client.aclose()
    with pytest.raises(ConfigError, match="cannot send"):
        await ask(Http(client), "http://127.0.0.1:9/v1")


@pytest.mark.parametrize("wrong", [None, 0, -1, float("nan"), "5", True])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=f"the deadline idle is seconds, .*, not {wrong!r}"):
        Deadlines(idle=wrong)
    assert Deadlines(idle=math.inf).idle == math.inf
