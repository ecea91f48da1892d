"""A client and its connections: deadlines, event loops that end, hooks, certificates, proxies, and who closes what."""

import gc
import gzip
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest

from agentkit.chat import ChatClient, Deadlines, Reply, RetryPolicy
from agentkit.errors import BadRequest, ConfigError, ConnectionFailed, DeadlineExceeded, InvalidReply, ModelError
from agentkit.testing import Fault, Server
from agentkit.testing.server import Wire
from tests.replay import HANG, answer, completion, events, replay

pytestmark = pytest.mark.anyio

GOOD = completion({"content": "good"})
AT_ONCE = RetryPolicy(first_wait=0.0)
HEADERS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
ROLE = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}\n\n'
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def slowly(*parts: bytes, every: float) -> Fault:
    """Send the parts of an answer with a pause before each."""

    def play(wire: Wire) -> None:
        wire.send(HEADERS)
        for part in parts:
            wire.wait(every)
            wire.send(part)

    return Fault("slowly", 0, "These parts, slowly.", play)


async def ask(url: str, *, stream: bool = False, **options: Any) -> Reply:
    client = ChatClient(url, model="m", **{"retry": AT_ONCE, **options})
    try:
        if not stream:
            return await client.create("hi")
        async with client.stream("hi") as deltas:
            return await deltas.reply()
    finally:
        await client.aclose()


# Deadlines

BODY = events({"content": "good"}).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("first", [b": thinking\n\n", ROLE], ids=["comments", "a role, then comments"])
async def test_a_server_that_shows_that_it_works_is_waited_for(first: bytes) -> None:
    parts = [first, *[b": thinking\n\n"] * 8, BODY]
    with Server([slowly(*parts, every=0.1)]) as server:
        reply = await ask(server.url, stream=True, deadlines=Deadlines(first_byte=0.5, idle=0.5))
        assert reply.text == "good"
        assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("sent", "deadlines"),
    [
        ([HEADERS, HANG], Deadlines(first_byte=0.1, total=0.2)),
        ([HEADERS, b": thinking\n\n", HANG], Deadlines(first_byte=0.1, total=0.2)),
        ([HEADERS, ROLE, HANG], Deadlines(idle=0.1, total=0.2)),
    ],
    ids=["headers", "a comment", "a role"],
)
async def test_a_request_that_the_server_had_begun_to_answer_is_not_sent_again(
    sent: Sequence[bytes], deadlines: Deadlines, stream: bool
) -> None:
    with replay(sent, GOOD) as server:
        with pytest.raises(DeadlineExceeded) as caught:
            await ask(server.url, stream=stream, deadlines=deadlines)
        assert (caught.value.answered, len(server.requests)) == (True, 1)


async def test_a_request_that_nobody_answers_is_sent_again() -> None:
    with replay([HANG], events({"content": "good"})) as server:
        reply = await ask(server.url, stream=True, deadlines=Deadlines(first_byte=0.1))
        assert (reply.text, len(server.requests)) == ("good", 2)


async def test_comments_do_not_keep_a_request_alive_for_ever() -> None:
    with Server([slowly(*[b": thinking\n\n"] * 200, every=0.02)]) as server:
        with pytest.raises(DeadlineExceeded) as caught:
            await ask(server.url, stream=True, deadlines=Deadlines(total=0.5))
        assert caught.value.which == "total"


def test_the_usual_deadlines_suit_a_model_that_thinks_for_minutes() -> None:
    usual = Deadlines()
    assert min(usual.first_byte, usual.idle) >= 240
    assert usual.total >= usual.first_byte


# A body that is hostile


@asynccontextmanager
async def longest_block(*, seconds: list[float]) -> AsyncGenerator[None]:
    """Measure the longest time for which the event loop is held."""

    async def watch() -> None:
        before = time.thread_time()
        while True:
            await anyio.lowlevel.checkpoint()
            now = time.thread_time()  # of this thread alone: other processes do not count
            seconds.append(now - before)
            before = now

    gc.disable()  # a collection costs what the whole suite has allocated
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            yield
            tasks.cancel_scope.cancel()
    finally:
        gc.enable()


def packed(body: bytes) -> bytes:
    return answer(gzip.compress(body), kind="text/event-stream", headers="content-encoding: gzip\r\n")


CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'


@pytest.mark.parametrize(
    "sent",
    [
        packed(b"\n" * 15_000_000),
        packed(b"\r\n" * 7_000_000),
        packed(b":\n" * 1_000_000),
        packed(b"data: 1\n" * 300_000),
        packed(CHUNK * 40_000),
        HEADERS + CHUNK * 40_000,
    ],
    ids=["line feeds", "line ends", "comments", "one event", "deltas, packed", "deltas"],
)
async def test_a_body_of_any_kind_lets_other_tasks_have_their_turn(sent: bytes) -> None:
    seconds: list[float] = []
    with replay(sent) as server:
        async with longest_block(seconds=seconds):
            with suppress(ModelError):  # whatever comes of it
                await ask(server.url, stream=True, retry=RetryPolicy(retries=0))
    assert max(seconds) < 0.05


async def test_a_deadline_holds_while_a_body_is_unpacked() -> None:
    with replay([packed(b":\n" * 8_000_000)]) as server:
        started = time.perf_counter()
        with pytest.raises((DeadlineExceeded, InvalidReply)):
            await ask(server.url, stream=True, deadlines=Deadlines(total=0.2), retry=RetryPolicy(retries=0))
        assert time.perf_counter() - started < 5


# Closing


async def test_closing_a_client_lets_a_stream_that_runs_come_to_its_end() -> None:
    release = anyio.Event()
    texts: list[str] = []
    with Server([slowly(CHUNK, BODY, every=0.2), "again"]) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(retries=0))

        async def read() -> None:
            async with client.stream("hi") as deltas:
                async for text in deltas.text():
                    texts.append(text)
                    release.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await release.wait()
            await client.aclose()
        assert "".join(texts) == "agood"
        assert (await client.create("hi")).text == "again"
        await client.aclose()


# Event loops that end


@pytest.fixture
def kept_alive() -> Iterator[Server]:
    with Server(["one", "two", "three", "four"]) as server:
        yield server


LOOPS = pytest.mark.parametrize("loops", [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio")])


@LOOPS
@LIBRARIES
def test_a_clients_own_http_client_may_be_used_in_one_event_loop_after_the_other(
    library: Any, loops: tuple[str, str], kept_alive: Server
) -> None:
    async def ask_once(*, close: bool) -> str:
        reply = await client.create("hi")
        if close:
            await http.aclose()
        return reply.text

    http = library.AsyncClient(trust_env=False, verify=False)
    client = ChatClient(kept_alive.url, model="m", http=http, retry=RetryPolicy(retries=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # nobody closes the connections of a loop that is closed
        texts = [
            anyio.run(partial(ask_once, close=last), backend=loop)
            for loop, last in zip((*loops, *loops), (False, False, False, True), strict=True)
        ]
        gc.collect()
    assert texts == ["one", "two", "three", "four"]
    assert len(kept_alive.requests) == 4  # none was sent on a connection whose answer nobody could read


@LIBRARIES
async def test_an_http_client_that_is_closed_is_reported(library: Any) -> None:
    http = library.AsyncClient(verify=False)
    await http.aclose()
    with pytest.raises(ConfigError, match=r"cannot send to http://127\.0\.0\.1:9/v1/chat/completions: .*closed"):
        await ask("http://127.0.0.1:9/v1", http=http)


# A caller's client that has read the body already


@LIBRARIES
@pytest.mark.parametrize("stream", [True, False])
async def test_a_body_that_a_hook_has_read_is_taken_as_it_is(library: Any, stream: bool) -> None:
    async def read(response: Any) -> None:
        await response.aread()

    good = events({"content": "good"}) if stream else GOOD
    with replay(good, packed(BODY)) as server:
        async with library.AsyncClient(event_hooks={"response": [read]}, trust_env=False, verify=False) as http:
            assert (await ask(server.url, http=http, stream=stream)).text == "good"
            assert (await ask(server.url, http=http, stream=stream)).text == "good"


@LIBRARIES
@pytest.mark.parametrize("stream", [True, False])
async def test_a_transport_that_answers_from_memory_works(library: Any, stream: bool) -> None:
    body = json.loads(GOOD.partition(b"\r\n\r\n")[2])

    def respond(request: Any) -> Any:
        return library.Response(200, content=BODY) if stream else library.Response(200, json=body)

    async with library.AsyncClient(transport=library.MockTransport(respond)) as http:
        assert (await ask("http://h/v1", http=http, stream=stream)).text == "good"


@LIBRARIES
async def test_what_a_hook_raises_comes_out_as_it_is(library: Any) -> None:
    async def refuse(request: Any) -> None:
        raise KeyError("policy")

    async with library.AsyncClient(event_hooks={"request": [refuse]}, verify=False) as http:
        with pytest.raises(KeyError, match="policy"):
            await ask("http://127.0.0.1:9/v1", http=http)


# Certificates and proxies


CERTIFICATES = """
import sys
import anyio
from agentkit.chat import ChatClient, RetryPolicy
from agentkit.errors import AgentKitError

async def main():
    for url in sys.argv[1:]:
        client = ChatClient(url, model="m", retry=RetryPolicy(first_wait=0.0))
        try:
            print((await client.create("hi")).text)
        except AgentKitError as error:
            print(type(error).__name__, error)

anyio.run(main)
"""


@pytest.mark.parametrize("broken", ["missing", "no certificate"])
def test_certificates_are_needed_for_https_alone_and_named_where_they_cannot_be_read(
    broken: str, tmp_path: Path
) -> None:
    path = tmp_path / "gone.pem"
    if broken != "missing":
        path.write_text("this is not a certificate")
    with Server(["good"]) as server:
        command = [sys.executable, "-c", CERTIFICATES, server.url, "https://127.0.0.1:9/v1"]
        environment = {**os.environ, "SSL_CERT_FILE": str(path)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    http, https = done.stdout.splitlines()
    assert http == "good"
    assert https.startswith(f"ConfigError the certificates of SSL_CERT_FILE={str(path)!r} cannot be read")


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
async def test_a_server_on_this_machine_is_not_asked_through_a_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with replay(GOOD) as server:
        assert (await ask(server.url.replace("127.0.0.1", host))).text == "good"


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:99999", "http://[::1", "socks9://h:1", "nonsense://"])
async def test_a_proxy_that_cannot_be_one_is_reported_in_a_sentence(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises((ConfigError, ConnectionFailed), match=r"(cannot send to|no reply from) http://model\.example"):
        await ask("http://model.example/v1", retry=RetryPolicy(retries=0))


# Addresses


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("absolute", [True, False])
async def test_a_server_that_wants_a_slash_at_the_end_gets_it(status: str, absolute: bool) -> None:
    path = "/v1/chat/completions/?a=1"

    def play(wire: Wire) -> None:
        location = f"http://{server.url.split('/')[2]}{path}" if absolute else path
        wire.send(answer(b"", status=status, headers=f"location: {location}\r\n"))

    with Server([Fault("moved", 0, "Moved.", play), "good", "again"]) as server:
        client = ChatClient(f"{server.url}?a=1", model="m", retry=RetryPolicy(retries=0))
        assert [(await client.create("hi")).text for _ in range(2)] == ["good", "again"]
        await client.aclose()
        assert [request.path for request in server.requests] == ["/v1/chat/completions?a=1", path, path]


@pytest.mark.parametrize(
    "location",
    ["http://elsewhere.example/v1/chat/completions/", "/v2/chat/completions/", "", "//h/v1/chat/completions/"],
)
async def test_any_other_redirect_is_an_error(location: str) -> None:
    moved = answer(b"", status="308 Moved", headers=f"location: {location}\r\n")
    with replay(moved, GOOD) as server:
        with pytest.raises(BadRequest, match="it has moved to"):
            await ask(server.url)
        assert len(server.requests) == 1


async def test_a_server_that_redirects_in_a_circle_is_asked_twice_at_most() -> None:
    moved = answer(b"", status="308 Moved", headers="location: /v1/chat/completions/\r\n")
    with replay(moved, moved, GOOD) as server:
        with pytest.raises(BadRequest, match="it has moved to"):
            await ask(server.url)
        assert len(server.requests) == 2
