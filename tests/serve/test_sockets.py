"""Over a socket: the official client, our own, many streams at once, clients that leave, and the end of a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import openai
import pytest
import uvicorn
from pydantic import BaseModel

from agentkit import Agent, ChatClient, serve, tool
from agentkit.chat import ChatRequest, Reply
from agentkit.chat.reply import Choice
from agentkit.events import Emit, TextDelta
from agentkit.messages import AssistantMessage
from agentkit.serve.process import http_config, listen
from agentkit.testing import Answer, Chunks, FunctionModel, ScriptedModel, call
from tests.explore import EXPLORE
from tests.serve.asgi import TOKEN

STREAMS = 200 if EXPLORE else 50
LEAVING = 1000 if EXPLORE else 100


CLIENTS: list[openai.OpenAI] = []  # closed before their server ends


@contextmanager
def running(app: serve.Server) -> Iterator[str]:
    """Run a server in a thread; its address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(http_config(app))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        while CLIENTS:
            CLIENTS.pop().close()
        server.should_exit = True
        thread.join(20)
        listener.close()
    assert not thread.is_alive()


def of_script(*script: Answer, **options: Any) -> serve.Server:
    return serve.app(Agent(ScriptedModel(script), **options), token=TOKEN)


def official(address: str, token: str = TOKEN) -> openai.OpenAI:
    CLIENTS.append(openai.OpenAI(base_url=f"{address}/v1", api_key=token, max_retries=0))
    return CLIENTS[-1]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_the_official_client_creates_and_streams() -> None:
    with running(of_script(call("add", a=1, b=2), "It is 3.", Chunks("It ", "is 4."), tools=[add])) as address:
        client = official(address)
        whole = client.chat.completions.create(model="agent", messages=[{"role": "user", "content": "1+2?"}])
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("It is 3.", "stop")
        stream = client.chat.completions.create(
            model="agent",
            messages=[{"role": "user", "content": "2+2?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "It is 4."
        assert chunks[-1].usage is not None
        assert [each.id for each in client.models.list()] == ["agent"]


def test_the_official_client_parses_an_answer() -> None:
    class Place(BaseModel):
        city: str

    with running(of_script('{"city": "Paris"}', Chunks('{"city": ', '"Rome"}'))) as address:
        client = official(address)
        parsed = client.chat.completions.parse(
            model="agent", messages=[{"role": "user", "content": "Where?"}], response_format=Place
        )
        assert parsed.choices[0].message.parsed == Place(city="Paris")
        with client.chat.completions.stream(
            model="agent", messages=[{"role": "user", "content": "Where?"}], response_format=Place
        ) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.parsed == Place(city="Rome")


def test_the_tools_of_the_official_client_run_there() -> None:
    class Weather(BaseModel):
        city: str

    with running(of_script([call("add", a=1, b=2), call("Weather", city="Paris")], "Sunny.", tools=[add])) as address:
        client = official(address)
        messages: list[Any] = [{"role": "user", "content": "Weather?"}]
        tools = [openai.pydantic_function_tool(Weather)]
        with client.chat.completions.stream(model="agent", messages=messages, tools=tools) as stream:
            message = stream.get_final_completion().choices[0].message
        assert message.tool_calls
        (made,) = message.tool_calls
        assert made.function.parsed_arguments == Weather(city="Paris")
        messages += [message, {"role": "tool", "tool_call_id": made.id, "content": "sunny"}]
        done = client.chat.completions.create(model="agent", messages=messages, tools=tools)
        assert done.choices[0].message.content == "Sunny."


def test_the_official_client_raises_its_own_errors() -> None:
    with running(of_script("x")) as address:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        with pytest.raises(openai.AuthenticationError):
            official(address, "wrong-token").models.list()
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            official(address).chat.completions.create(model="nobody", messages=messages)
        with pytest.raises(openai.BadRequestError) as caught:
            official(address).chat.completions.create(model="agent", messages=messages, temperature=9)
        assert caught.value.param == "temperature"


def test_our_own_client_talks_to_it_like_to_any_server() -> None:
    async def main(address: str) -> None:
        client = ChatClient(f"{address}/openai", model="agent", api_key=TOKEN)
        reply = await client.create("hi")
        assert (reply.text, reply.repairs, reply.adaptations) == ("one", (), ())
        async with client.stream("hi") as deltas:
            words = [each.text async for each in deltas if isinstance(each, TextDelta)]
        assert words == ["two", " three"]
        agent = Agent(client, tools=[add])
        assert (await agent.run("1+2?")).output == "3"
        await client.aclose()

    with running(of_script("one", Chunks("two", " three"), call("add", a=1, b=2), "3")) as address:
        anyio.run(main, address)


class Slow:
    """A model that says a word, and goes on when all are there, or until it is cancelled."""

    def __init__(self, together: int) -> None:
        self.together = together
        self.active = self.most = 0
        self.all_here = anyio.Event()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            emit(TextDelta("one "))
            if self.active == self.together:
                self.all_here.set()
            await self.all_here.wait()
            words = [f"{at} " for at in range(20)]
            for each in words:
                emit(TextDelta(each))
                await anyio.lowlevel.checkpoint()
            return Reply(choices=(Choice(message=AssistantMessage("one " + "".join(words)), finish_reason="stop"),))
        finally:
            self.active -= 1


BODY = {"model": "agent", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def test_of_many_streams_at_once_none_loses_anything() -> None:
    model = Slow(STREAMS)

    async def main(address: str) -> None:
        texts: list[str] = []
        limits = httpx2.Limits(max_connections=STREAMS)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx2.AsyncClient(base_url=address, limits=limits, headers=headers, timeout=60) as client:

            async def ask() -> None:
                answer = await client.post("/v1/chat/completions", json=BODY)
                data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
                deltas = [json.loads(each)["choices"][0]["delta"] for each in data[:-1]]
                assert data[-1] == "[DONE]"
                texts.append("".join(each.get("content") or "" for each in deltas))

            async with anyio.create_task_group() as tasks:
                for _ in range(STREAMS):
                    tasks.start_soon(ask)
        assert texts == ["one " + "".join(f"{at} " for at in range(20))] * STREAMS

    with running(serve.app(Agent(model), token=TOKEN)) as address:
        anyio.run(main, address)
    assert (model.most, model.active) == (STREAMS, 0)


def test_clients_that_leave_in_the_middle_leave_no_run_behind() -> None:
    model = Slow(-1)
    app = serve.app(Agent(model), token=TOKEN)

    async def main(address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        data = json.dumps(BODY).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        together = anyio.Semaphore(100)

        async def leave() -> None:
            async with together, await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(head.encode() + data)
                received = b""
                while b"one " not in received:
                    received += await stream.receive()

        async with anyio.create_task_group() as tasks:
            for _ in range(LEAVING):
                tasks.start_soon(leave)
        async with httpx2.AsyncClient(base_url=address, headers={"authorization": f"Bearer {TOKEN}"}) as client:
            with anyio.fail_after(30):
                while f'status="cancelled"}} {LEAVING}\n' not in (await client.get("/metrics")).text:
                    await anyio.lowlevel.checkpoint()

    with running(app) as address:
        anyio.run(main, address)
    assert (model.active, app.metrics.active) == (0, 0)


APP = '''
import anyio
from agentkit import Agent, tool
from agentkit.testing import FunctionModel, call

@tool
async def touch(path: str) -> str:
    """Touch a file, and wait for another one."""
    await anyio.Path(path).touch()
    while not await anyio.Path(path + ".go").exists():
        await anyio.sleep(0.01)
    return "went"

def answer(request):
    last = request.messages[-1]
    if last.role != "user":
        return f"It {last.text}."
    if last.text == "break":
        raise LookupError("this is a bug")
    return [call("touch", path=last.text), *(call("clock") for each in request.tools if each.name == "clock")]

agent = Agent(FunctionModel(answer), tools=[touch], name="shop")
'''


@contextmanager
def process(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``agentkit serve``; the process and its address."""
    (directory / "app.py").write_text(APP)
    environment = {**os.environ, "AGENTKIT_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "agentkit", "serve", "app.py:agent", "--port", "0", *options]
    with subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        try:
            line = running.stderr.readline()
            assert line.startswith("serving shop at http://127.0.0.1:"), line + running.stderr.read()
            yield running, line.split()[3].removesuffix("/v1")
        finally:
            while CLIENTS:
                CLIENTS.pop().close()
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
            running.wait(30)


def test_a_process_that_is_told_to_end_finishes_what_it_answers(tmp_path: Path) -> None:
    marker, answers = tmp_path / "marker", list[str]()

    def ask(address: str) -> None:
        message: Any = {"role": "user", "content": str(marker)}
        done = official(address).chat.completions.create(model="shop", messages=[message])
        answers.append(done.choices[0].message.content or "")

    with process(tmp_path) as (running, address):
        thread = threading.Thread(target=ask, args=(address,))
        thread.start()
        while not marker.exists():
            threading.Event().wait(0.01)
        running.send_signal(signal.SIGTERM)
        marker.with_suffix(".go").touch()
        thread.join(30)
        assert running.wait(30) in (0, -signal.SIGTERM)
    assert answers == ["It went."]


def test_a_bug_is_told_to_who_runs_the_server_and_not_to_its_client(tmp_path: Path) -> None:
    with process(tmp_path) as (running, address):
        message: Any = {"role": "user", "content": "break"}
        with pytest.raises(openai.InternalServerError) as caught:
            official(address).chat.completions.create(model="shop", messages=[message])
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        assert "LookupError: this is a bug" in running.stderr.read()
    assert "this is a bug" not in str(caught.value)


def test_several_processes_serve_one_address_and_continue_each_others_runs(tmp_path: Path) -> None:
    clock: Any = {"type": "function", "function": {"name": "clock"}}
    (tmp_path / "x.go").touch()
    with process(tmp_path, "--workers", "2") as (_, address):
        for _ in range(4):  # connections of their own, so that each process gets some
            messages: list[Any] = [{"role": "user", "content": str(tmp_path / "x")}]
            asked = official(address).chat.completions.create(model="shop", messages=messages, tools=[clock])
            message = asked.choices[0].message
            assert message.tool_calls
            messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "is noon"}]
            done = official(address).chat.completions.create(model="shop", messages=messages, tools=[clock])
            assert done.choices[0].message.content == "It is noon."


def test_a_gateway_answers_for_a_model_of_another_server() -> None:
    behind = FunctionModel(lambda request: request.messages[-1].text.upper())
    with running(serve.app(Agent(behind), token=TOKEN)) as inner:
        model = ChatClient(f"{inner}/v1", model="agent", api_key=TOKEN)
        with running(serve.gateway({"gpt": model}, token=TOKEN)) as outer:
            done = official(outer).chat.completions.create(model="gpt", messages=[{"role": "user", "content": "hi"}])
    assert done.choices[0].message.content == "HI"


HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"


def say(address: str, *parts: bytes) -> bytes:
    """Send parts until the server closes the connection; what it answered."""
    host, _, port = address.removeprefix("http://").partition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            for each in parts:
                connection.sendall(each)
            while data := connection.recv(65536):
                received += data
        except (BrokenPipeError, ConnectionResetError):
            pass
    return received


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD.encode() + b"x-long: ", *[b"x" * 10_000] * 20],
        [HEAD.encode(), *[b"x-%d: y\r\n" % at * 500 for at in range(20)]],
        [b"POST /", *[b"x" * 10_000] * 20],
        [
            HEAD.encode() + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n",
            *[b"x-trailer: " + b"y" * 10_000 + b"\r\n"] * 20,
        ],
    ],
    ids=["value", "names", "path", "trailers"],
)
def test_a_head_without_an_end_is_not_read_for_ever(parts: list[bytes]) -> None:
    with running(of_script("ok")) as address:
        assert b"200 OK" not in say(address, *parts)
        assert official(address).models.list().data


@pytest.mark.parametrize("part", [b"", HEAD.encode(), b"POST"], ids=["nothing", "half", "word"])
def test_a_head_that_never_ends_is_not_waited_for(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentkit.serve.protocol._SECONDS", 0.05)
    with running(of_script("ok")) as address:
        assert say(address, part) == b""


def test_a_body_may_be_longer_than_a_head() -> None:
    with running(of_script("ok", "ok")) as address:
        long: list[Any] = [{"role": "user", "content": "x" * 300_000}]
        for _ in range(2):
            answer = official(address).chat.completions.create(model="agent", messages=long)
            assert answer.choices[0].message.content == "ok"


async def repeat(scope: Any, _receive: Any, send: Any) -> None:
    """An app that answers with the value of a header."""
    if scope["type"] == "http":
        body = b"<" + dict(scope["headers"])[b"x-name"] + b">"
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


def test_white_space_around_the_value_of_a_header_is_not_part_of_it() -> None:
    app: Any = repeat
    with running(app) as address:
        answer = say(address, b"GET / HTTP/1.1\r\nx-name: \t a b \t \r\nconnection: close\r\n\r\n")
    assert answer.endswith(b"<a b>")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "offer",
    [
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        b"upgrade: h2c\r\n",
        b"connection: close, upgrade\r\nupgrade: websocket\r\n",
    ],
    ids=["http2", "unannounced", "websocket"],
)
def test_a_request_that_offers_another_protocol_is_answered(offer: bytes, together: bool) -> None:
    body = json.dumps({**BODY, "stream": False, "messages": [{"role": "user", "content": "x" * 100_000}]}).encode()
    head = HEAD.encode() + offer + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    last = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    with running(of_script("It is done.")) as address:
        answer = say(address, *([head + body + last] if together else [head, body, last]))
    assert b"It is done." in answer
    assert b"101 " not in answer
    assert (b'"status":"ok"' in answer) is (b"close" not in offer)  # the next request of the connection


def test_a_server_is_no_proxy() -> None:
    with running(of_script("no")) as address:
        connect = b"CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\nupgrade: h2c\r\n\r\n"
        assert say(address, connect).startswith(b"HTTP/1.1 400 ")
        assert say(address, b"\x16\x03\x01\x02\x00\x01\x00").startswith(b"HTTP/1.1 400 ")
        assert say(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_chunk_waits_until_the_one_before_has_arrived(host: str) -> None:
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
