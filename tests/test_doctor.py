import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkit.chat import ChatClient, ChatRequest, ChatSettings, Model, Profile, Reply, RetryPolicy
from agentkit.cli import main
from agentkit.cli.doctor import Examination
from agentkit.errors import AuthenticationFailed
from agentkit.probe import CONSTRAINED, Finding, probe
from agentkit.testing import FunctionModel
from tests.command import environ
from tests.test_constrained import Server as LlamaCpp

Answer = Callable[[dict[str, Any]], tuple[int, Any]]


@contextmanager
def server_of(answer: Answer) -> Iterator[str]:
    """A server that answers each request with what the function says: a status, and a message or an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, said = answer(request)
            body = {"error": said} if status >= 400 else reply_of(said)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def reply_of(said: dict[str, Any]) -> dict[str, Any]:
    tokens = said.pop("tokens", 5)
    end = said.pop("end", "tool_calls" if "tool_calls" in said else "stop")
    choice = {"index": 0, "message": said, "finish_reason": end}
    return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}}


def call(name: str, **arguments: str) -> dict[str, Any]:
    return {"id": "", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def able(request: dict[str, Any]) -> tuple[int, Any]:
    """A server and a model that can do everything, apart from what the tests take away."""
    first, last = request["messages"][0], request["messages"][-1]
    question = json.dumps(last["content"])
    if last["role"] == "tool":
        return 200, {"content": "It is sunny."}
    if "purple" in question:
        return 200, {"tool_calls": [call("paint_wall", color="blue")]}
    if request.get("tools"):
        several = "Rome" in question and request.get("parallel_tool_calls", True)
        return 200, {"tool_calls": [call("get_weather", city=city) for city in ("Paris", "Rome")[: 1 + several]]}
    if "response_format" in request:
        return 200, {"content": '{"city": "Paris"}'}
    limit = min(request.get("max_tokens", 99), request.get("max_completion_tokens", 99))
    said = "Yellow." if "color" in question else "hello" if first is last else first["content"].split()[-1]
    return 200, {"content": said, "tokens": limit if "Count" in question else 5}


def without_obeying(request: dict[str, Any]) -> tuple[int, Any]:
    """A server that takes everything, and a model that sees and heeds nothing of it."""
    question = json.dumps(request["messages"][-1]["content"])
    if "purple" in question:
        return 200, {"tool_calls": [call("paint_wall", color="purple")]}
    if "Rome" in question:
        return 200, {"tool_calls": [call("get_weather", city="Paris"), call("get_weather", city="Rome")]}
    if "image" in question:
        return 200, {"content": "I see a cat."}
    if request["messages"][-1]["role"] == "tool":
        return 200, {"content": "It rains."}
    return able({**request, "messages": request["messages"][-1:]})


def narrow(request: dict[str, Any]) -> tuple[int, Any]:
    """A server with the habits of many: the old limit only, without a word; no developers, no names, no images."""
    request.pop("max_completion_tokens", None)
    if any(each["role"] == "developer" for each in request["messages"]):
        return 400, {"message": "Unexpected message role."}
    if isinstance(request.get("tool_choice"), dict):
        return 400, {"message": "Unsupported tool_choice: only strings are supported"}
    if "image_url" in json.dumps(request["messages"]):
        return 400, {"message": "This model cannot \x1b[2J see."}
    if "response_format" in request:
        return 200, {"content": "It is Paris."}
    return able(request)


async def findings_of(url: str) -> tuple[dict[str, Finding], Profile]:
    found: list[Finding] = []
    client = ChatClient(url, model="m", retry=RetryPolicy(retries=0))
    try:
        profile = await probe(client, found.append)
    finally:
        await client.aclose()
    return {each.name: each for each in found}, profile


@pytest.mark.anyio
async def test_a_server_that_can_do_everything_needs_no_profile() -> None:
    with server_of(able) as url:
        found, profile = await findings_of(url)
    assert {name: each.verdict for name, each in found.items() if each.verdict != "yes"} == {}
    assert len(found) == 18
    assert not profile


@pytest.mark.anyio
async def test_what_a_server_does_not_do_is_found_and_learned() -> None:
    with server_of(narrow) as url:
        found, profile = await findings_of(url)
    odd = {name: each.verdict for name, each in found.items() if each.verdict != "yes"}
    assert odd == {
        "developer message": "adapted",
        "limit of tokens (max_completion_tokens)": "accepted only",
        "tool by name": "adapted",
        "json_schema": "accepted only",
        "json_object": "accepted only",
        "image": "no",
    }
    assert found["limit of tokens (max_tokens)"].verdict == "yes"
    assert "the role developer is sent as system" in found["developer message"].note
    assert profile == Profile(system_role="system", tool_choice="required", token_limit="max_tokens")


@pytest.mark.anyio
async def test_what_is_accepted_and_not_obeyed_is_no_yes() -> None:
    with server_of(without_obeying) as url:
        found, _ = await findings_of(url)
    odd = {name: each.note for name, each in found.items() if each.verdict == "accepted only"}
    assert odd == {
        "system message": "not obeyed: 'banana' was to be in 'hello'",
        "developer message": "not obeyed: 'tomato' was to be in 'hello'",
        "one call at a time": "2 calls came",
        "result of a call": "not obeyed: '25' was to be in 'It rains.'",
        "strict tool": 'not obeyed: the schema does not allow {"color": "purple"}',
        "image": "not obeyed: 'yellow' was to be in 'I see a cat.'",
    }


@pytest.mark.anyio
async def test_what_cannot_be_told_is_unknown_with_its_reason() -> None:
    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        question = json.dumps(request["messages"][-1]["content"])
        if "Rome" in question:
            return 200, {"tool_calls": [call("get_weather", city="Paris")]}
        if "purple" in question:
            return 200, {"content": "I cannot paint it purple."}
        if "Eiffel" in question:
            return 200, {"content": '{"ci', "end": "length"}
        return (503, {"message": "busy"}) if "image" in question else able(request)

    with server_of(answer) as url:
        found, _ = await findings_of(url)
    odd = {name: (each.verdict, each.note) for name, each in found.items() if each.verdict != "yes"}
    assert odd == {
        "several calls at once": ("accepted only", "called get_weather"),
        "one call at a time": ("unknown", "it means nothing unless 'several calls at once' is a yes"),
        "strict tool": ("unknown", "no call came"),
        "json_schema": ("unknown", "the reply was truncated at the limit of 400 tokens"),
        "json_object": ("unknown", "the reply was truncated at the limit of 400 tokens"),
        "image": ("unknown", "503: busy"),
    }


@pytest.mark.anyio
async def test_what_is_refused_and_does_not_come_in_another_way_either_is_a_no() -> None:
    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        if isinstance(request.get("tool_choice"), dict):
            return 400, {"message": "Unsupported tool_choice: only strings are supported"}
        return (200, {"content": "No."}) if request.get("tool_choice") == "required" else able(request)

    with server_of(answer) as url:
        found, _ = await findings_of(url)
    assert found["tool by name"].verdict == "no"
    assert found["tool by name"].note.startswith("called nothing; ")
    assert found["forced call"].verdict == "accepted only"


@pytest.mark.anyio
async def test_where_no_tools_are_called_it_is_tried_with_constrained_tools() -> None:
    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        return able({**request, "tools": []})

    with server_of(answer) as url:
        found, _ = await findings_of(url)
    assert found["tool call"].verdict == "accepted only"
    assert found[CONSTRAINED].verdict == "no"
    assert "needs llama.cpp" in found[CONSTRAINED].note


@pytest.mark.anyio
async def test_without_any_answer_there_is_nothing_to_examine() -> None:
    with server_of(lambda request: (401, {"message": "no"})) as url, pytest.raises(AuthenticationFailed):
        await findings_of(url)


@pytest.mark.anyio
async def test_any_model_can_be_examined() -> None:
    found: list[Finding] = []
    assert not await probe(FunctionModel(lambda request: "hello"), found.append)
    verdicts = {each.name: each.verdict for each in found}
    assert (verdicts["plain reply"], verdicts["tool call"]) == ("yes", "accepted only")


def test_the_table_and_the_settings_are_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "profiles.json"
    with server_of(narrow) as url:
        assert main(["doctor", url, "--name", "m", "--save", str(file)]) == 0
        client = ChatClient(url, model="m", profile_file=file)
    out = capsys.readouterr().out
    assert out.startswith("HTTP engine                              aiohttp\n")
    assert "plain reply                              yes\n" in out
    assert '  system_role = "system"\n' in out
    assert "\x1b" not in out
    assert "\\u001b[2J" in out
    assert client.profile.token_limit == "max_tokens"


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    with server_of(able) as url:
        assert main(["doctor", url, "--name", "m", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["http_engine"] == "aiohttp"
    assert report["model"] == url
    assert report["profile"] == {}
    assert {each["verdict"] for each in report["findings"]} == {"yes"}


def test_a_file_that_cannot_be_written_is_told_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def answer(request: dict[str, Any]) -> tuple[int, Any]:
        asked.append(request)
        return able(request)

    (tmp_path / "file").touch()
    with server_of(answer) as url:
        assert main(["doctor", url, "--name", "m", "--save", str(tmp_path / "file" / "profiles.json")]) == 2
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())
    assert asked == []


class WithoutTools:
    """llama.cpp with a model that knows no tools: only what `ConstrainedTools` asks for is heeded."""

    def __init__(self) -> None:
        self.server = LlamaCpp({"get weather": "weather"}, ("Paris",))

    async def reply(self, request: ChatRequest, emit: object) -> Reply:
        form = (request.settings.response_format or {}).get("json_schema", {})
        if form.get("name") != "value" and not request.settings.extra_body:
            request = replace(request, settings=ChatSettings())
        return await self.server.reply(request, emit)


@pytest.mark.parametrize(("model", "advised"), [(WithoutTools(), True), (FunctionModel(lambda _: "hello"), False)])
def test_constrained_tools_are_advised_where_they_work(model: Model, advised: bool) -> None:
    lines: list[str] = []
    Examination(model=model, name="m", seconds=30, as_json=False, save="", write=lines.append).run()
    assert ("Agent(ConstrainedTools(ChatClient(...)))" in lines[-1]) == advised


def test_a_password_in_an_address_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiles = tmp_path / "profiles.json"
    with server_of(able) as url:
        where = url.replace("://", "://me:hunter2-of-mine@")
        assert main(["doctor", where, "--name", "m", "--json", "--save", str(profiles)]) == 0
    said, told = capsys.readouterr()
    assert json.loads(said)["model"] == url
    assert "hunter2" not in said + told + profiles.read_text()


@pytest.mark.anyio
async def test_an_answer_that_is_short_by_itself_says_nothing_of_the_limit() -> None:
    found: list[Finding] = []
    await probe(FunctionModel(lambda request: "No."), found.append)
    limit = next(each for each in found if each.name.startswith("limit of tokens"))
    assert (limit.verdict, "shorter than the limit" in limit.note) == ("unknown", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1/v1"], "--name MODEL"),
        (["http://127.0.0.1:1/v1", "--name", "m", "--key-variable", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
        (["nowhere:m"], "there is no provider"),
        (["openai:m", "--name", "m"], "are for URLs"),
        (["cerebras:m"], "set the environment variable CEREBRAS_API_KEY"),
    ],
)
def test_what_cannot_be_examined_is_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with environ():
        assert main(["doctor", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, said in " ".join(err.split())) == ("", True)


def test_a_key_is_read_from_its_variable_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with server_of(lambda request: (401, {"message": "wrong key sk-secret"})) as url:
        assert main(["doctor", url, "--name", "m", "--key-variable", "MY_KEY"]) == 2
    assert "sk-secret" not in "".join(capsys.readouterr())


def test_a_server_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert main(["doctor", f"http://127.0.0.1:{port}/v1", "--name", "m"]) == 1
    assert "is the server running" in " ".join(capsys.readouterr().err.split())


@contextmanager
def dripping(after: int) -> Iterator[str]:
    """A server that answers the first requests, and then sends a space every 50 ms for as long as anybody reads."""

    class Handler(BaseHTTPRequestHandler):
        asked = 0

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            type(self).asked += 1
            body = (
                json.dumps(reply_of(able(request)[1])).encode()
                if self.asked <= after and not request.get("stream")
                else b""
            )
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body) or 1_000_000))
            self.end_headers()
            self.wfile.write(body)
            with suppress(OSError):
                while not body and not stop.wait(0.05):
                    self.wfile.write(b" ")

        def log_message(self, *args: object) -> None:
            pass

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_never_ends_its_first_reply_is_reported_in_time(capsys: pytest.CaptureFixture[str]) -> None:
    with dripping(0) as url:
        started = time.monotonic()
        assert main(["doctor", url, "--name", "m", "--timeout", "1"]) == 1
    assert time.monotonic() - started < 10
    assert capsys.readouterr().err == "error: no whole reply within 1 s\n"


@pytest.mark.anyio
async def test_replies_that_never_end_are_unknown_and_the_whole_has_a_deadline_too() -> None:
    found: list[Finding] = []
    with dripping(1) as url:
        started = time.monotonic()
        client = ChatClient(url, model="m")
        await probe(client, found.append, seconds=0.1)
        await client.aclose()
    assert time.monotonic() - started < 10
    notes = [each.note for each in found if each.verdict == "unknown"]
    assert notes[0] == "no whole reply within 0.1 s"
    assert notes[-1] == "not tried: 1 s are over"
    assert found[0].verdict == "yes"
