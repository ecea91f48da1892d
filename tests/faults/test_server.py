"""The fault server itself, as users meet it in tests of their own."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest

from agentkit import Agent, tool
from agentkit.chat import ChatClient, ChatRequest, Choice, Reply, RetryPolicy, Usage
from agentkit.errors import BadRequest, Overloaded, RateLimited
from agentkit.messages import AssistantMessage, UserMessage
from agentkit.testing import FAULTS, Chunks, ScriptedModel, Server, call, fault, raw
from agentkit.testing.server.__main__ import main
from tests.faults.play import certificate, our_threads

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@contextmanager
def leaving_no_threads() -> Iterator[None]:
    before = our_threads()
    yield
    assert our_threads() == before


def connected(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)))


def ask(server: Server, body: object = None) -> httpx2.Response:
    return httpx2.post(f"{server.url}/chat/completions", json=body or {"messages": []}, trust_env=False)


def test_an_agent_meets_a_script_as_it_would_meet_a_server() -> None:
    with leaving_no_threads(), Server([call("add", a=1, b=2), fault("reset_mid_headers"), "3."]) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(first_wait=0.0))
        assert Agent(client, tools=[add]).run_sync("1 + 2?").output == "3."
    assert [request.path for request in server.requests] == ["/v1/chat/completions"] * 3
    assert [message["role"] for message in server.requests[-1].body["messages"]] == ["user", "assistant", "tool"]


def test_a_scripted_model_and_a_server_play_the_same_script() -> None:
    script: list[Any] = [
        [call("add", a=1, b=2), call("add", a=3, b=4)],
        AssistantMessage("So far so good.", (call("add", id="x1", a=5, b=6),)),
        Chunks("3, ", "7 and ", "11"),
    ]
    with Server(script) as server:
        played = Agent(ChatClient(server.url, model="m"), tools=[add]).run_sync("Go!")
    scripted = Agent(ScriptedModel(script), tools=[add]).run_sync("Go!")
    assert played.messages == scripted.messages


@pytest.mark.anyio
async def test_an_answer_is_streamed_if_that_was_asked_for() -> None:
    usage = Usage(requests=1, prompt_tokens=3, completion_tokens=4, total_tokens=7)
    reply = Reply(choices=(Choice(message=AssistantMessage("a b"), finish_reason="length"),), usage=usage, id="r7")
    with Server([Chunks("Hel", "lo"), "All right then", reply]) as server:
        agent = Agent(ChatClient(server.url, model="m"))
        async with agent.stream("Hi") as events:
            assert [text async for text in events.text()] == ["Hel", "lo"]
        async with agent.stream("Hi") as events:
            assert [text async for text in events.text()] == ["All", " right", " then"]
        result = await ChatClient(server.url, model="m").reply(ChatRequest(messages=[UserMessage("Hi")]))
        assert (result.id, result.text, result.finish_reason) == ("r7", "a b", "length")
        assert result.usage.total_tokens == 7
        await agent.aclose()
    assert [request.stream for request in server.requests] == [True, True, False]


def test_a_status_error_in_a_script_is_answered_as_such() -> None:
    limited = RateLimited("slow down", status=429, code="rate_limit", headers={"retry-after": "7"})
    with Server([limited, Overloaded("odd", status=529)]) as server:
        first, second = ask(server), ask(server)
    assert (first.status_code, first.headers["retry-after"]) == (429, "7")
    assert first.json()["error"] == {"message": "slow down", "type": "scripted", "param": None, "code": "rate_limit"}
    assert second.status_code == 529


def test_a_script_that_is_over_says_so() -> None:
    with Server(["one"]) as server:
        client = ChatClient(server.url, model="m")
        assert Agent(client).run_sync("Hi").output == "one"
        with pytest.raises(BadRequest, match=r"the script is over: .* this is request 2"):
            Agent(client).run_sync("Hi")


@pytest.mark.parametrize(
    ("scripted", "problem"), [(ValueError("no"), "cannot answer"), (fault("tls_cut"), "certificate")]
)
def test_what_cannot_be_played_is_raised_where_the_block_ends(scripted: Any, problem: str) -> None:
    def asking() -> None:
        with Server([scripted]) as server, suppress(httpx2.HTTPError):
            ask(server)

    with pytest.raises((TypeError, ValueError), match=problem):
        asking()


def test_bytes_of_ones_own_can_be_played() -> None:
    with Server([raw(b"HTTP/1.1 418 Teapot\r\ncontent-length: 2\r\n\r\n", b"hi")]) as server:
        answer = ask(server)
    assert (answer.status_code, answer.text) == (418, "hi")


def test_requests_keep_headers_and_body_also_when_they_are_no_json() -> None:
    with Server(["a", "b"]) as server:
        ask(server, {"model": "m", "stream": False})
        httpx2.post(f"{server.url}/x", content=b"{no", headers={"X-Mine": "1"}, trust_env=False)
    first, second = server.requests
    assert (first.method, first.body) == ("POST", {"model": "m", "stream": False})
    assert (second.path, second.headers["x-mine"], second.raw, second.body) == ("/v1/x", "1", b"{no", None)


def test_a_connection_is_used_again_and_another_may_be_open_meanwhile() -> None:
    with Server(repeat("hello")) as server, connected(server), httpx2.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.post(f"{server.url}/chat/completions", json={}).json()["choices"]
    assert len(server.requests) == 3


@pytest.mark.parametrize("name", ["headers_never", "stall", "headers_slowly", "slow_loris", "endless"])
def test_the_block_ends_at_once_whatever_is_being_played(name: str) -> None:
    started = time.monotonic()
    with leaving_no_threads(), Server([fault(name)]) as server, connected(server) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        if name != "headers_never":
            assert connection.recv(1) == b"H"
    assert time.monotonic() - started < 2


def test_a_server_that_was_not_asked_leaves_nothing() -> None:
    with leaving_no_threads(), Server(["a"]):
        pass


def test_an_unknown_fault_is_told_with_those_that_are_near() -> None:
    with pytest.raises(KeyError, match="reset_mid_headers"):
        fault("reset_in_headers")


def test_faults_are_numbered_named_and_told() -> None:
    assert {each.number for each in FAULTS.values()} == set(range(1, 57))
    assert [each.number for each in FAULTS.values()] == sorted(each.number for each in FAULTS.values())
    for name, each in FAULTS.items():
        assert each.name == name
        assert name.isidentifier()
        assert each.sentence[0].isupper() or each.sentence[0].isdecimal()
        assert each.sentence.endswith(".")


def test_the_page_lists_the_faults() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [f"| {each.number} | `{name}` | {each.sentence} |" for name, each in FAULTS.items()]
    assert re.findall(r"^\| \d+ \| .*$", page, re.MULTILINE) == rows


def test_the_server_runs_as_a_program_for_any_client() -> None:
    command = [sys.executable, "-W", "error", "-m", "agentkit.testing.server", "status_529", "--seconds", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().strip()
            answers = [httpx2.post(url, json={}, trust_env=False).status_code for _ in range(2)]
        finally:
            program.terminate()
    assert answers == [529, 529]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("stal", "there is no fault 'stal'; there is stall"),
        ("qqq", "there is no fault 'qqq'; --help lists all"),
        ("stall --port 99999", "from 0 to 65535"),
        ("stall --port {busy}", "cannot listen at port {busy}: Address already in use"),
        ("stall --seconds nan", "above 0, not 'nan'"),
        ("tls_cut", "add --certificate FILE"),
        ("stall --certificate nowhere.pem", "'nowhere.pem': No such file"),
        ("stall --certificate {page}", "no certificate with its key"),
    ],
)
def test_wrong_arguments_of_the_program_are_told_in_a_sentence(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server(["a"]) as server:
        words = {"busy": urlsplit(server.url).port, "page": PAGE}
        with pytest.raises(SystemExit, match="2"):
            main(arguments.format(**words).split())
    told = capsys.readouterr()
    assert told.out == ""
    assert said.format(**words) in told.err.splitlines()[-1]


def test_the_program_lists_its_faults() -> None:
    command = [sys.executable, "-m", "agentkit.testing.server", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f" {name} " in told for name in FAULTS)


@pytest.mark.anyio
async def test_a_server_with_a_certificate_ends_at_once_too() -> None:
    tls, trusted = certificate()
    started = time.monotonic()
    async with httpx2.AsyncClient(verify=trusted, trust_env=False) as http:
        with leaving_no_threads(), Server(["safe", fault("stall")], tls=tls) as server:
            client = ChatClient(server.url, model="m", http=http)
            assert (await client.reply(ChatRequest(messages=[UserMessage("Hi")]))).text == "safe"
            with anyio.move_on_after(0.05):
                await client.reply(ChatRequest(messages=[UserMessage("Hi")], stream=True))
    assert time.monotonic() - started < 5
