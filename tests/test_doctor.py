import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentkit.chat.client import ChatClient
from agentkit.chat.probe import Finding, probe
from agentkit.chat.profile import Profile
from agentkit.chat.retry import RetryPolicy
from agentkit.cli import main
from agentkit.errors import AuthenticationFailed
from agentkit.testing import FunctionModel

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
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls" if "tool_calls" in said else "stop"}
    return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}}


def call(name: str, city: str) -> dict[str, Any]:
    return {"id": "", "type": "function", "function": {"name": name, "arguments": json.dumps({"city": city})}}


def able(request: dict[str, Any]) -> tuple[int, Any]:
    """A server and a model that can do everything, apart from what the tests take away."""
    question = json.dumps(request["messages"][-1]["content"])
    if request.get("tools") and request["messages"][-1]["role"] == "user":
        cities = ["Paris", "Rome"] if "Rome" in question else ["Paris"]
        return 200, {"tool_calls": [call("get_weather", city) for city in cities]}
    if "response_format" in request:
        return 200, {"content": '{"city": "Paris"}'}
    limit = min(request.get("max_tokens", 99), request.get("max_completion_tokens", 99))
    return 200, {"content": "red" if "colour" in question else "hello", "tokens": limit if "Count" in question else 5}


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
        "limit of tokens (max_completion_tokens)": "ignored",
        "tool by name": "adapted",
        "json_schema": "ignored",
        "json_object": "ignored",
        "image": "no",
    }
    assert found["limit of tokens (max_tokens)"].verdict == "yes"
    assert "the role developer is sent as system" in found["developer message"].note
    assert profile == Profile(system_role="system", tool_choice="required", token_limit="max_tokens")


@pytest.mark.anyio
async def test_without_any_answer_there_is_nothing_to_examine() -> None:
    with server_of(lambda request: (401, {"message": "no"})) as url, pytest.raises(AuthenticationFailed):
        await findings_of(url)


@pytest.mark.anyio
async def test_any_model_can_be_examined() -> None:
    found: list[Finding] = []
    assert not await probe(FunctionModel(lambda request: "hello"), found.append)
    verdicts = {each.name: each.verdict for each in found}
    assert (verdicts["plain reply"], verdicts["tool call"]) == ("yes", "ignored")


def test_the_table_and_the_settings_are_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "profiles.json"
    with server_of(narrow) as url:
        assert main(["doctor", url, "--name", "m", "--save", str(file)]) == 0
        client = ChatClient(url, model="m", profile_file=file)
    out = capsys.readouterr().out
    assert "plain reply                              yes\n" in out
    assert '  system_role = "system"\n' in out
    assert "\x1b" not in out
    assert "\\u001b[2J" in out
    assert client.profile.token_limit == "max_tokens"


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    with server_of(able) as url:
        assert main(["doctor", url, "--name", "m", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == url
    assert report["profile"] == {}
    assert {each["verdict"] for each in report["findings"]} == {"yes"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1/v1"], "--name MODEL"),
        (["http://127.0.0.1:1/v1", "--name", "m", "--key-variable", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
        (["nowhere:m"], "there is no endpoint"),
        (["openai:m", "--name", "m"], "are for URLs"),
    ],
)
def test_what_cannot_be_examined_is_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


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
