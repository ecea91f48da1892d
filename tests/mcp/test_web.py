"""Servers over HTTP: refusals keep their status, and what is large or broken stays bounded."""

from __future__ import annotations

import re
import resource

import pytest

from agentkit.mcp import MCPError, MCPToolset
from tests.mcp.servers import results, use
from tests.mcp.web import web_server

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),  # those of an event stream, by the SDK
]

REFUSED = {
    "401": (401, r"answered with HTTP 401 \(it wants a token, or another one: give it with headers= or auth=\)"),
    "403": (403, r"answered with HTTP 403 \(the token is not allowed to do this\)"),
    "404": (404, r"answered with HTTP 404 \(there is nothing at this URL\)"),
    "405": (405, r"answered with HTTP 405 \(this URL takes no MCP requests\)"),
    "429": (429, r"answered with HTTP 429 \(it takes no more requests for now\)"),
    "500": (500, r"answered with HTTP 500 \(the server failed\): <html>Sign in \\x1b\[1m first</html>"),
    "html": (200, r"is none: it answered with text/html, which is not MCP; is the URL right\?"),
    "empty": (200, r"is none: its answer is not one of MCP; is the URL right\?"),
    "redirect": (None, r"refused: Redirect to http://elsewhere.example/mcp not followed"),
    "silent": (None, r"did not answer within 0.5 seconds of starting"),
}


@pytest.mark.parametrize("fault", REFUSED)
async def test_why_a_server_cannot_be_used_is_one_sentence_with_its_status(fault: str) -> None:
    status, said = REFUSED[fault]
    with web_server(fault) as server, pytest.raises(MCPError) as caught:
        await use(MCPToolset(server.url, start_timeout=0.5 if fault == "silent" else 60))
    assert re.search(said, str(caught.value)), caught.value
    assert str(caught.value).startswith(f"the MCP server {server.url} ")
    assert caught.value.status == status


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with web_server("none") as server:
        url = server.url
    with pytest.raises(MCPError, match=r"cannot be reached: .*; is it running, and is the URL right"):
        await use(MCPToolset(url))


READ = {
    "none": "hello",
    "moved": "hello",
    "not utf-8": "\ufffdhello",
    "null": "(no content)",
    "other id": "hello",
    "events": "hello",
    "gzip": "hello",
}


@pytest.mark.parametrize("fault", READ)
async def test_what_can_be_read_of_a_result_is_read(fault: str) -> None:
    with web_server(fault) as server:
        assert results(await use(MCPToolset(server.url))) == [READ[fault]]


FAILED = {
    "fails": r"answered with HTTP 503 \(the server failed\): overloaded",
    "breaks": r"it is not known whether the call had any effect",
    "events that end": r"has closed the connection; it is not known whether the call had any effect",
    "bomb": r"its answer is larger than 2 MiB",
    "hangs": r"did not answer within 0.5 seconds",
}


@pytest.mark.parametrize("fault", FAILED)
async def test_a_call_that_fails_is_a_result_and_the_session_stays(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.mcp.http.LARGEST", 2 * 2**20)
    with web_server(fault) as server:
        run = await use(MCPToolset(server.url, timeout=0.5 if fault == "hangs" else 60), "one", "two")
        assert [bool(re.search(FAILED[fault], each)) for each in results(run)] == [True, True], results(run)
        assert (server.calls, server.sessions) == (2, 1)


async def test_a_server_that_has_forgotten_the_session_is_given_a_new_one_and_no_call_twice() -> None:
    with web_server("forgets") as server:
        run = await use(MCPToolset(server.url), "one", "two")
        assert "has ended the session; the call was not run: try again" in results(run)[0]
        assert results(run)[1] == "two"
        assert (server.calls, server.sessions) == (2, 2)


async def test_a_stream_that_breaks_is_continued_from_its_last_event() -> None:
    with web_server("events that continue") as server:
        assert results(await use(MCPToolset(server.url))) == ["hello"]
        assert ("GET", "e1") in server.requests
        assert server.calls == 1


async def test_a_session_is_ended_at_the_server() -> None:
    with web_server("none") as server:
        await use(MCPToolset(server.url))
        assert server.requests[-1] == ("DELETE", "s1")


async def test_headers_go_with_each_request_and_no_compression_is_asked_for() -> None:
    with web_server("none") as server:
        await use(MCPToolset(server.url, headers={"Authorization": "Bearer secret"}))
        assert server.headers["authorization"] == "Bearer secret"
        assert server.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # as much work on the other one
async def test_a_large_answer_is_read_and_a_bomb_fills_no_memory() -> None:
    with web_server("large") as server:
        run = await use(MCPToolset(server.url))
        assert len(next(iter(run.state.artifacts.values()))) == 20_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with web_server("bomb") as server:
        await use(MCPToolset(server.url))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 150_000_000  # of 200 MB that it unpacks to
