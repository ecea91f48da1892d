"""The server is safe by default, keeps its limits, and goes on after whatever is sent to it."""

import json
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator

from agentkit import Agent, ToolContext, serve, tool
from agentkit.chat import ChatRequest, Reply
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ConnectionFailed,
    ContextTooLong,
    DeadlineExceeded,
    InvalidReply,
    MissingKey,
    QuotaExceeded,
    RateLimited,
)
from agentkit.events import Emit, TextDelta
from agentkit.testing import Answer, ScriptedModel, call
from tests.serve.asgi import TOKEN, USER, Client, scope_of

pytestmark = pytest.mark.anyio


def client(*script: Answer, **options: Any) -> Client:
    options.setdefault("token", TOKEN)
    return Client(serve.app(Agent(ScriptedModel(script)), **options))


class Endless:
    """A model that says one word and then nothing, until it is cancelled."""

    def __init__(self) -> None:
        self.active = 0
        self.asked = anyio.Event()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        self.active += 1
        try:
            emit(TextDelta("word"))
            self.asked.set()
            await anyio.sleep_forever()
        finally:
            self.active -= 1
        raise AssertionError


# Who may ask.


@pytest.mark.parametrize("token", [None, "", "wrong-token", TOKEN + "x"])
async def test_without_the_token_nobody_gets_in(token: str | None) -> None:
    asks = Client(client("not asked").app, token=token)
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics")):
        answer = await asks.send(method, path)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_server_without_a_token_is_one_that_was_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTKIT_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="AGENTKIT_TOKEN"):
        client("x", token="")
    with pytest.raises(ConfigError, match="8 characters"):
        client("x", token="short")
    assert (await Client(client("ok", token=None).app, token=None).chat()).status == 200
    monkeypatch.setenv("AGENTKIT_TOKEN", TOKEN)
    assert (await client("ok", token="").chat()).status == 200


def test_others_do_not_reach_a_server_without_a_token() -> None:
    with pytest.raises(ConfigError, match="needs a token"):
        serve.run(client("x", token=None).app, host="0.0.0.0")


@pytest.mark.parametrize("host", ["evil.example.com", "localhost.evil.com", "", "127.0.0.1.evil.com:8000"])
async def test_a_page_that_points_its_own_name_at_this_machine_gets_nothing(host: str) -> None:
    answer = await client("not asked").chat(headers={"host": host})
    assert (answer.status, answer.error["code"]) == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "API.example.com"])
async def test_a_server_answers_under_its_own_names(host: str) -> None:
    assert (await client("ok", hosts=["api.example.com"]).chat(headers={"host": host})).status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://localhost:81", "https://chat.example.com.evil"]
)
async def test_pages_of_other_sites_may_not_call(origin: str) -> None:
    answer = await client("no", origins=["https://chat.example.com"]).chat(headers={"origin": origin})
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers


async def test_pages_of_the_server_and_of_named_sites_may_call() -> None:
    asks = client("one", "two", origins=["https://chat.example.com"])
    assert (await asks.chat(headers={"origin": "http://localhost"})).status == 200
    named = {"origin": "https://chat.example.com"}
    assert (await asks.chat(headers=named)).headers["access-control-allow-origin"] == named["origin"]
    asked = {**named, "access-control-request-method": "POST", "access-control-request-headers": "authorization, x-a"}
    allowed = await Client(asks.app, token=None).send("OPTIONS", "/v1/chat/completions", headers=asked)
    assert (allowed.status, allowed.headers["access-control-allow-headers"]) == (204, "authorization, x-a")
    with pytest.raises(ConfigError, match="no wildcard"):
        client("x", origins=["*"])


# What may be sent.


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_of_another_type_is_refused(kind: str) -> None:
    answer = await client("no").chat(headers={"content-type": kind})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_content_type")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"a": 1e999}'], ids=range(8)
)
async def test_a_body_that_is_not_a_json_object_is_refused(body: bytes) -> None:
    answer = await client("no").send("POST", "/v1/chat/completions", body)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


async def test_a_body_that_is_too_large_is_refused() -> None:
    asks = client("ok", limits=serve.ServerLimits(body=1000))
    large = await asks.chat({"role": "user", "content": "x" * 2000})
    assert (large.status, large.error["code"]) == (413, "request_too_large")
    announced = await asks.chat(headers={"content-length": "99999999999"})
    assert announced.status == 413
    assert (await asks.chat()).status == 200


async def test_a_body_that_never_comes_is_not_waited_for() -> None:
    sent: list[Any] = []

    async def receive() -> Mapping[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    app = client("no", limits=serve.ServerLimits(body_seconds=0.01)).app
    headers = {"host": "localhost", "authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    await app(scope_of("POST", "/v1/chat/completions", headers), receive, send)  # type: ignore[arg-type]
    assert (sent[0]["status"], json.loads(sent[1]["body"])["error"]["code"]) == (408, "timeout")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/runs/run_x", 404),
        ("GET", "/v1/models/no/such", 404),
    ],
)
async def test_a_path_that_does_not_exist_is_an_error_of_the_api(method: str, path: str, status: int) -> None:
    answer = await client("no").send(method, path)
    assert (answer.status, set(answer.error)) == (status, {"message", "type", "param", "code"})
    assert answer.headers["x-request-id"].startswith("req_")


# What goes wrong behind.


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ConnectionFailed("no connection"), 502, "upstream_unreachable"),
        (DeadlineExceeded("too slow", which="idle"), 504, "upstream_timeout"),
        (InvalidReply("not JSON"), 502, "upstream_invalid_reply"),
        (AuthenticationFailed("bad key", status=401), 502, "upstream_authentication"),
        (MissingKey("no key"), 500, "upstream_key_missing"),
        (RateLimited("slow down", status=429, headers={"retry-after": "7.2"}), 429, "rate_limit_exceeded"),
        (QuotaExceeded("no credit", status=429), 429, "insufficient_quota"),
        (ContextTooLong("too long", status=400), 400, "context_length_exceeded"),
        (BadRequest("unknown parameter", status=422, code="odd"), 422, "odd"),
        (RuntimeError("a bug"), 500, "internal_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_goes_wrong_behind_has_a_status_and_the_server_goes_on(
    error: Exception, status: int, code: str, stream: bool
) -> None:
    asks = client(error, "ok")
    answer = await asks.chat(stream=stream)
    assert (answer.status, answer.error["code"]) == (status, code)
    if isinstance(error, RateLimited):
        assert answer.headers["retry-after"] == "8"
    if isinstance(error, QuotaExceeded):
        assert answer.headers["x-should-retry"] == "false"
    assert (await asks.chat()).status == 200


async def test_an_error_after_the_first_word_is_an_event_of_the_stream() -> None:
    read = anyio.Event()

    class Breaks:
        async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
            emit(TextDelta("word"))
            await read.wait()
            raise ConnectionFailed("it broke")

    asks = Client(serve.app(Agent(Breaks()), token=TOKEN))
    async with asks.open(
        "POST", "/v1/chat/completions", {"model": "agent", "messages": [USER], "stream": True}
    ) as answer:
        await answer.until("word")
        read.set()
        await answer.ended.wait()
    assert (answer.status, answer.text) == (200, "word")
    assert json.loads(answer.data[-1])["error"]["code"] == "upstream_unreachable"
    assert "[DONE]" not in answer.data


# Clients that leave, and limits.


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels_its_run_and_the_tools_in_it(stream: bool) -> None:
    began, ended = anyio.Event(), anyio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return ""

    asks = Client(serve.app(Agent(ScriptedModel([call("wait")]), tools=[wait]), token=TOKEN))
    body = {"model": "agent", "messages": [USER], "stream": stream}
    async with asks.open("POST", "/v1/chat/completions", body):
        await began.wait()
    assert ended.is_set()
    assert asks.app.metrics.active == 0
    assert 'status="cancelled"} 1' in (await asks.send("GET", "/metrics")).body.decode()


async def test_more_requests_than_the_limit_are_asked_to_come_again() -> None:
    model = Endless()
    asks = Client(serve.app(Agent(model), token=TOKEN, limits=serve.ServerLimits(requests=1)))
    body = {"model": "agent", "messages": [USER], "stream": True}
    async with asks.open("POST", "/v1/chat/completions", body) as first:
        await first.until("word")
        second = await asks.chat()
        assert (second.status, second.headers["retry-after"]) == (429, "1")
        assert second.error["code"] == "too_many_requests"
    assert model.active == 0


async def test_an_answer_that_takes_too_long_ends() -> None:
    model = Endless()
    asks = Client(serve.app(Agent(model), token=TOKEN, limits=serve.ServerLimits(seconds=0.05)))
    whole = await asks.chat()
    assert (whole.status, whole.error["code"]) == (504, "timeout")
    streamed = await asks.chat(stream=True)
    assert json.loads(streamed.data[-1])["error"]["code"] == "timeout"
    assert model.active == 0


async def test_silence_in_a_stream_is_filled_with_comments() -> None:
    asks = Client(serve.app(Agent(Endless()), token=TOKEN, limits=serve.ServerLimits(keep_alive=0.01)))
    body = {"model": "agent", "messages": [USER], "stream": True}
    async with asks.open("POST", "/v1/chat/completions", body) as answer:
        await answer.until(": keep-alive\n\n")


def test_limits_are_positive_numbers() -> None:
    with pytest.raises(ConfigError, match="requests=0"):
        serve.ServerLimits(requests=0)


# Idempotency.

KEY = {"idempotency-key": "order-7"}


@pytest.mark.parametrize("stream", [False, True])
async def test_the_same_key_and_body_get_the_same_answer(stream: bool) -> None:
    asks = client("one", "two")
    first, second = await asks.chat(headers=KEY, stream=stream), await asks.chat(headers=KEY, stream=stream)
    assert (first.status, first.body) == (200, second.body)
    assert first.headers["content-type"] == second.headers["content-type"]
    assert (await asks.chat(headers={"idempotency-key": "other"}, stream=stream)).body != first.body


async def test_the_same_key_with_another_body_is_a_conflict() -> None:
    asks = client("one", "two")
    await asks.chat(headers=KEY)
    answer = await asks.chat(headers=KEY, temperature=1)
    assert (answer.status, answer.error["code"]) == (409, "idempotency_key_reused")


async def test_a_request_that_failed_is_answered_anew() -> None:
    asks = client(ConnectionFailed("no"), "ok")
    assert (await asks.chat(headers=KEY)).status == 502
    assert (await asks.chat(headers=KEY)).message["content"] == "ok"


async def test_a_request_that_comes_twice_at_once_runs_once() -> None:
    asks, answers = client("one", "two"), list[bytes]()

    async def ask() -> None:
        answers.append((await asks.chat(headers=KEY)).body)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert len(set(answers)) == 1


async def test_keys_belong_to_a_token() -> None:
    app = client("one", "two", token=["token-of-ann", "token-of-bob"]).app
    first = await Client(app, token="token-of-ann").chat(headers=KEY)
    assert (await Client(app, token="token-of-bob").chat(headers=KEY)).body != first.body
    assert (await Client(app, token="token-of-ann").chat(headers={"idempotency-key": "x" * 256})).status == 400


# What describes it.


async def test_its_health_needs_no_token_and_its_figures_do() -> None:
    asks = client("ok")
    assert (await Client(asks.app, token=None).send("GET", "/healthz")).json == {"status": "ok"}
    await asks.chat()
    text = (await asks.send("GET", "/metrics")).body.decode()
    assert 'model="agent",status="200"} 1' in text
    assert "agentkit_request_seconds_count" in text
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2


async def test_the_openapi_document_describes_what_is_sent_and_answered() -> None:
    document = (await Client(client("x").app, token=None).send("GET", "/openapi.json")).json
    assert {"/v1/chat/completions", "/openai/chat/completions", "/v1/models"} <= document["paths"].keys()

    def validator(name: str) -> Draft202012Validator:
        return Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})

    whole, streamed = (await client("ok").chat()).json, await client("ok").chat(stream=True)
    validator("ChatCompletion").validate(whole)
    for chunk in streamed.chunks:
        validator("ChatCompletionChunk").validate(chunk)
    refused = await client("x").chat(temperature=9)
    validator("Error").validate(refused.json)
    validator("ChatBody").validate({"model": "agent", "messages": [USER], "temperature": 1})
    for wrong in ({"temperature": 9}, {"n": 0}, {"n": 1.5}, {"max_tokens": 0}, {"top_logprobs": 21}):
        assert not validator("ChatBody").is_valid({"model": "agent", "messages": [USER], **wrong})


async def test_a_tool_can_use_the_agents_dependencies_when_the_app_is_open() -> None:
    opened: list[str] = []

    class Source:
        async def __aenter__(self) -> "Source":
            opened.append("open")
            return self

        async def __aexit__(self, *details: object) -> None:
            opened.append("closed")

        async def tools(self, run: Any) -> list[Any]:
            @tool
            def hello(context: ToolContext[Any]) -> str:
                """Say hello."""
                return "hello"

            return [hello]

    agent = Agent(ScriptedModel([call("hello"), "one", "two"]), tools=[Source()])
    app = serve.app(agent, token=TOKEN)
    started, stop = anyio.Event(), anyio.Event()

    async def receive() -> Mapping[str, Any]:
        if not started.is_set():
            return {"type": "lifespan.startup"}
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        started.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, {"type": "lifespan", "asgi": {}}, receive, send)  # type: ignore[arg-type]
        await started.wait()
        assert (await Client(app).chat()).message["content"] == "one"
        assert (await Client(app).chat()).message["content"] == "two"
        assert opened == ["open"]
        stop.set()
    assert opened == ["open", "closed"]
