"""The two HTTP engines: how one is chosen, and that they behave alike.

aiohttp sends wherever other tests run on asyncio; here, what is tested there is also tested on httpx2. `make explore`
plays the whole suites of conformance and faults on it.
"""

import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.abc
import pytest

from agentkit.chat import ChatClient, Deadlines, RetryPolicy, http_engine
from agentkit.chat.transport.http import Http, close_connections
from agentkit.chat.transport.http_aiohttp import AiohttpEngine
from agentkit.chat.transport.http_httpx import HttpxEngine
from agentkit.errors import ConfigError, ConnectionFailed, DeadlineExceeded
from agentkit.testing import Server
from tests import test_client_connections, test_http
from tests.conformance.cases import CASES
from tests.conformance.play import check, play_over_a_socket
from tests.conformance.test_conformance import is_of_transport
from tests.faults.play import certificate
from tests.faults.test_matrix import check_fault
from tests.replay import HANG, answer, completion, replay

Test = Callable[[], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTKIT_HTTP", raising=False)


@pytest.fixture
def httpx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_HTTP", "httpx2")


def engines() -> list[Any]:
    """The engines that have connections."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) in (AiohttpEngine, HttpxEngine)]


def opened_since(before: list[Any]) -> list[type]:
    return [type(each) for each in engines() if all(each is not other for other in before)]


async def ask(http: Http, url: str, *, seconds: float = 10) -> bytes:
    sink = test_http.Counting()
    await http.send(url, headers={}, body=b"{}", sink=sink, deadlines=Deadlines(connect=seconds), stream=False)
    return sink.body


@pytest.mark.anyio
async def test_aiohttp_sends_in_asyncio_unless_httpx2_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = engines()
    with replay(*[answer(b"ok")] * 5) as server:
        for http, engine in ((Http(), AiohttpEngine), (Http("aiohttp"), AiohttpEngine), (Http("httpx2"), HttpxEngine)):
            assert await ask(http, server.url) == b"ok"
            assert opened_since(before) == [engine]
            await http.aclose()
        monkeypatch.setenv("AGENTKIT_HTTP", "httpx2")
        http = Http()
        await ask(http, server.url)
        assert opened_since(before) == [HttpxEngine]
        await http.aclose()


def test_httpx2_sends_in_trio() -> None:
    async def ask_and_look(url: str) -> list[type]:
        http = Http("aiohttp")
        assert await ask(http, url) == b"ok"
        return opened_since(before)

    before = engines()
    with replay(answer(b"ok")) as server:
        assert anyio.run(ask_and_look, server.url, backend="trio") == [HttpxEngine]


@pytest.mark.anyio
async def test_httpx2_sends_where_there_is_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    before = engines()
    with replay(answer(b"from the proxy")) as proxy:
        monkeypatch.setenv("NO_PROXY", "elsewhere.example.com")
        assert http_engine() == "aiohttp"
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert http_engine() == "httpx2"
        http = Http("aiohttp")
        assert await ask(http, "http://llm.example.com/v1") == b"from the proxy"
        assert opened_since(before) == []
        await http.aclose()


@pytest.mark.anyio
async def test_a_certificate_that_nobody_signed_is_refused() -> None:
    with Server(["good"], tls=certificate()[0]) as server:
        http = Http()
        with pytest.raises(ConnectionFailed, match="certificate"):
            await ask(http, server.url)
        await http.aclose()


@pytest.mark.anyio
async def test_a_connection_has_its_deadline() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    http = Http()
    async with listener:
        waiting = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(2)]  # the backlog is full now
        with pytest.raises(DeadlineExceeded, match="deadline 'connect'"):
            await ask(http, f"http://127.0.0.1:{port}/", seconds=0.2)
        for each in waiting:
            await each.aclose()
    await http.aclose()


SEAM: list[Test] = [
    test_http.test_a_redirect_is_not_followed,
    test_http.test_a_compression_nobody_asked_for_is_refused_or_unpacked,
    test_http.test_a_body_that_is_complete_does_not_wait_for_its_connection_to_end,
    test_http.test_what_a_sink_raises_comes_out_as_it_is_and_closes_the_connection,
    test_http.test_clients_share_the_connections_of_their_event_loop_and_the_last_one_closes_them,
    test_http.test_a_password_and_a_header_are_in_no_error,
    test_client_connections.test_a_request_that_nobody_answers_is_sent_again,
    test_client_connections.test_comments_do_not_keep_a_request_alive_for_ever,
    test_client_connections.test_a_deadline_holds_while_a_body_is_unpacked,
    test_client_connections.test_closing_a_client_lets_a_stream_that_runs_come_to_its_end,
]


@pytest.mark.anyio
@pytest.mark.parametrize("test", SEAM, ids=lambda test: test.__name__)
@pytest.mark.usefixtures("httpx2")
async def test_the_seam_behaves_the_same_on_httpx2(test: Test) -> None:
    await test()


@pytest.mark.usefixtures("httpx2")
def test_event_loops_that_come_and_go_leave_no_connections_behind() -> None:
    test_http.test_event_loops_that_come_and_go_leave_no_connections_behind()


@pytest.mark.anyio
async def test_cancelling_leaves_no_connection_behind_that_is_in_use() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as serving:
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
        serving.start_soon(listener.serve, test_http.serve)
        http = Http()
        for turns in range(300):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, http, url)
                for _ in range(turns % 40):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        assert [await ask(http, url) for _ in range(5)] == [b"ok"] * 5
        await http.aclose()
        serving.cancel_scope.cancel()


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    "name",
    [
        *("refused", "reset_before_status", "closed_mid_headers", "headers_huge", "chunk_size_bad", "chunk_cut"),
        *("length_too_long", "reset_after_text", "keep_alive_reset", "informational_noise"),
        "redirect_other_host",
    ],
)
@pytest.mark.usefixtures("httpx2")
async def test_connections_fail_the_same_on_httpx2(name: str, stream: bool) -> None:
    await check_fault(name, library="own", stream=stream, tls=None, size=None)


@pytest.mark.anyio
@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.usefixtures("httpx2")
async def test_cases_of_conformance_go_over_it(streamed: bool) -> None:
    cases = [case for case in CASES if is_of_transport(case) and case.script(streamed=streamed) is not None]
    for case in cases[::4]:
        check(case, await play_over_a_socket(case, streamed=streamed), streamed=streamed)


@pytest.mark.anyio
async def test_a_chunk_that_is_malformed_ends_the_reply_at_once() -> None:
    """aiohttp would wait on until the deadline."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with replay([head, b"2\r\n{}\r\n", b"zz\r\n", HANG]) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(retries=0))
        with anyio.fail_after(10), pytest.raises(ConnectionFailed):
            await client.create("hi")
        await client.aclose()


def test_an_engine_that_is_not_there_is_reported_where_it_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert http_engine() == "aiohttp"
    assert http_engine("httpx2") == "httpx2"
    with pytest.raises(ConfigError, match=r"^http='curl': the HTTP engines are 'httpx2' and 'aiohttp'$"):
        ChatClient("http://127.0.0.1:9/v1", model="m", http="curl")
    monkeypatch.setenv("AGENTKIT_HTTP", "curl")
    with pytest.raises(ConfigError, match=r"^AGENTKIT_HTTP='curl': the HTTP engines are"):
        ChatClient("http://127.0.0.1:9/v1", model="m")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.setenv("AGENTKIT_HTTP", "aiohttp")
    with pytest.raises(ConfigError, match=r"pip install 'agentkit\[fast\]'"):
        http_engine()
    monkeypatch.delenv("AGENTKIT_HTTP")
    assert http_engine() == "httpx2"


def test_nothing_that_sends_is_imported_before_the_first_request() -> None:
    code = "import sys, agentkit; agentkit.ChatClient('http://127.0.0.1:9/v1', model='m')"
    code += "; print(*({'httpx2', 'httpcore2', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.anyio
async def test_aiohttp_that_is_installed_and_cannot_be_imported_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    await close_connections()
    monkeypatch.setitem(sys.modules, "agentkit.chat.transport.http_aiohttp", None)
    with pytest.raises(ConfigError, match=r"^aiohttp cannot be imported: .*; AGENTKIT_HTTP=httpx2 sends without it$"):
        await ask(Http(), "http://127.0.0.1:9/v1")


def test_a_program_that_closes_nothing_ends_without_a_word() -> None:
    """Its connections outlive their event loop, and must not outlive the modules of aiohttp."""
    program = (
        "import asyncio, sys\nimport agentkit.chat.transport.http\nfrom agentkit.chat import ChatClient\n"
        "kept = sys.modules['kept'] = agentkit.chat.transport.http\n"
        "asyncio.run(ChatClient(sys.argv[1], model='m').create('hi'))\n"
    )
    with replay(completion({"content": "ok"}).replace(b"connection: close\r\n", b"")) as server:
        command = [sys.executable, "-c", program, server.url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
