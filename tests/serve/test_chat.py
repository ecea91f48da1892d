"""A served agent answers like a model: whole or streamed, with every member that the API demands."""

import json
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agentkit import Agent, ChatSettings, Limits, ToolContext, ToolResult, serve, tool
from agentkit.chat import ChatRequest, Choice, Logprobs, Reply, TokenLogprob, Usage
from agentkit.errors import ConfigError, ModelRetry, Refused
from agentkit.messages import AssistantMessage, UrlCitation
from agentkit.sessions import MemorySessions
from agentkit.testing import Answer, Chunks, FunctionModel, ScriptedModel, call
from tests.serve.asgi import TOKEN, USER, Client

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def client(*script: Answer, **options: Any) -> Client:
    return Client(serve.app(Agent(ScriptedModel(script), **options), token=TOKEN))


def requests(of: Client) -> list[Any]:
    return of.app.backends["agent"].agent.model.requests  # type: ignore[attr-defined,no-any-return]


async def test_a_completion_has_every_required_member_with_the_right_type() -> None:
    body = (await client(Chunks("Hel", "lo")).chat()).json
    ChatCompletion.model_validate(body, strict=True)
    assert {"id", "object", "created", "model", "choices", "usage"} <= body.keys()
    (choice,) = body["choices"]
    assert choice.keys() == {"index", "message", "finish_reason", "logprobs"}
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    assert choice["message"] == {"role": "assistant", "content": "Hello", "refusal": None, "annotations": []}
    assert (body["object"], body["model"], type(body["created"])) == ("chat.completion", "agent", int)
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


async def test_a_stream_has_chunks_with_every_required_member_and_ends_with_done() -> None:
    answer = await client(Chunks("Hel", "lo")).chat(stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    for chunk in answer.chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert {"id", "object", "created", "model", "choices", "usage"} <= chunk.keys()
    assert len({(each["id"], each["created"], each["model"]) for each in answer.chunks}) == 1
    *deltas, last = answer.chunks
    assert [each["choices"][0]["delta"].get("content") for each in deltas] == ["", "Hel", "lo", None]
    assert [each["choices"][0]["finish_reason"] for each in deltas] == [None, None, None, "stop"]
    assert deltas[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [each["usage"] for each in deltas] == [None] * 4
    assert (last["choices"], last["usage"]["total_tokens"] > 0) == ([], True)
    assert answer.data[-1] == "[DONE]"


async def test_without_include_usage_no_chunk_has_usage() -> None:
    answer = await client("Hello").chat(stream=True)
    assert not any("usage" in each for each in answer.chunks)


async def test_chunks_are_padded_if_the_client_wants_their_length_to_say_nothing() -> None:
    answer = await client("Hello").chat(stream=True, stream_options={"include_obfuscation": True})
    assert all(each["obfuscation"] for each in answer.chunks)


async def test_the_agents_tools_run_on_the_server_and_no_client_sees_them() -> None:
    script: list[Answer] = [AssistantMessage("Let me add.", (call("add", id="1", a=19, b=23),)), "It is 42."]
    whole = await client(*script, tools=[add]).chat()
    streamed = await client(*script, tools=[add]).chat(stream=True)
    assert whole.message["content"] == streamed.text == "Let me add.\n\nIt is 42."
    assert "tool_calls" not in whole.message
    assert "agentkit" not in whole.json
    assert not any("agentkit" in each or "tool_calls" in each["choices"][0]["delta"] for each in streamed.chunks)


async def test_each_agent_is_a_model_of_its_own() -> None:
    agents = {name: Agent(ScriptedModel([name])) for name in ("shop", "desk")}
    app = serve.app(agents, token=TOKEN)
    assert (await Client(app, "desk").chat()).message["content"] == "desk"
    listed = (await Client(app).send("GET", "/v1/models")).json
    assert [each["id"] for each in listed["data"]] == ["shop", "desk"]
    assert (await Client(app).send("GET", "/v1/models/shop")).json["object"] == "model"
    missing = await Client(app, "nobody").chat()
    assert (missing.status, missing.error["param"], missing.error["code"]) == (404, "model", "model_not_found")


async def test_both_paths_of_the_api_answer() -> None:
    asks = client("one", "two")
    body = {"model": "agent", "messages": [USER]}
    for path in ("/v1/chat/completions", "/openai/chat/completions"):
        assert (await asks.send("POST", path, body)).status == 200


PASSED_ON: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_completion_tokens": 100,
    "reasoning_effort": "low",
    "verbosity": "low",
    "modalities": ["text"],
    "audio": {"voice": "alloy", "format": "wav"},
    "prediction": {"type": "content", "content": "same"},
    "parallel_tool_calls": False,
    "web_search_options": {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {}}},
    "frequency_penalty": 1,
    "presence_penalty": -1,
    "seed": 7,
    "stop": ["END"],
    "logprobs": True,
    "logit_bias": {"50": -100},
    "user": "ann",
    "service_tier": "flex",
    "store": False,
    "metadata": {"order": "7"},
    "safety_identifier": "hash",
    "prompt_cache_key": "key",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "moderation": {"model": "m"},
    "response_format": {"type": "json_object"},
}


@pytest.mark.parametrize("name", PASSED_ON)
async def test_a_parameter_reaches_the_model_behind(name: str) -> None:
    asks = client("{}")
    answer = await asks.chat({"role": "user", "content": "json, please"}, **{name: PASSED_ON[name]})
    assert answer.status == 200, answer.body
    assert getattr(requests(asks)[0].settings, name) == PASSED_ON[name]


async def test_parameters_of_a_request_take_precedence_over_those_of_the_agent() -> None:
    asks = client("ok", settings=ChatSettings(temperature=1, max_tokens=5))
    await asks.chat(temperature=0, max_completion_tokens=9)
    settings = requests(asks)[0].settings
    assert (settings.temperature, settings.max_tokens, settings.max_completion_tokens) == (0, None, 9)


async def test_null_means_the_default() -> None:
    body = dict.fromkeys(
        [*PASSED_ON, "stream", "n", "tools", "tool_choice", "stream_options", "agentkit", "max_tokens"]
    )
    assert (await client("ok").chat(**body)).message["content"] == "ok"


async def test_metadata_comes_back_with_the_answer() -> None:
    assert (await client("ok").chat(metadata={"order": "7"})).json["metadata"] == {"order": "7"}


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [USER, {"role": "user", "content": "x", "name": "a b"}]}, "messages[1].name"),
        ({"messages": [USER, {"role": "assistant", "content": "x"}]}, "messages[1]"),
        ({"messages": [USER, {"role": "assistant"}, USER]}, "messages[1].content"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": []}, USER]}, "messages[1].tool_calls"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].tool_call_id"),
        ({"model": 7}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"more": 1}}, "stream_options.more"),
        ({"logit_bias": {"word": 1}}, "logit_bias.word"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b"}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 7}}}},
            "response_format.json_schema.schema",
        ),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tools": []}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "extra": 1}}]}, "tools[0].function.extra"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters",
        ),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"top_k": 5}, "top_k"),
        ({"agentkit": {"more": 1}}, "agentkit.more"),
        ({"agentkit": {"session": "ada"}}, "agentkit.session"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_refused_by_its_name(wrong: dict[str, Any], param: str) -> None:
    asks = client("not asked")
    answer = await asks.send("POST", "/v1/chat/completions", {"model": "agent", "messages": [USER], **wrong})
    assert (answer.status, answer.error["type"], answer.error["param"]) == (400, "invalid_request_error", param)
    assert answer.error.keys() == {"message", "type", "param", "code"}
    assert not requests(asks)


async def test_of_alternatives_the_error_is_that_of_the_nearest() -> None:
    assert "at most 4 items" in (await client("no").chat(stop=["x"] * 5)).error["message"]
    assert "at least 1 item" in (await client("no").chat(stop=[])).error["message"]


async def test_an_integer_may_be_written_with_a_point() -> None:
    asks = client("ok")
    assert (await asks.chat(max_tokens=100.0, seed=7.0, n=1.0)).status == 200
    assert (await asks.chat(max_tokens=100.5)).error["param"] == "max_tokens"
    (request,) = requests(asks)
    sent = json.loads(request.encode("model"))
    assert (str(sent["max_tokens"]), str(sent["seed"])) == ("100", "7")


async def test_several_answers_are_several_runs() -> None:
    whole = await client("one", "two").chat(n=2)
    assert sorted(each["message"]["content"] for each in whole.json["choices"]) == ["one", "two"]
    assert [each["index"] for each in whole.json["choices"]] == [0, 1]
    streamed = await client("one", "two").chat(n=2, stream=True)
    texts = {0: "", 1: ""}
    for chunk in streamed.chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert sorted(texts.values()) == ["one", "two"]


async def test_one_answer_that_fails_fails_the_request() -> None:
    answer = await client("one", ValueError("no")).chat(n=2)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_in_a_schema_is_checked_and_nothing_else_is_sent(stream: bool) -> None:
    script: list[Answer] = [
        AssistantMessage("I add.", (call("add", id="1", a=1, b=1),)),
        '{"town": 1}',
        '{"city": "Paris"}',
    ]
    answer = await client(*script, tools=[add]).chat(response_format=FORMAT, stream=stream)
    text = answer.text if stream else answer.message["content"]
    assert json.loads(text) == {"city": "Paris"}


async def test_an_agent_with_an_output_type_answers_with_its_json() -> None:
    @dataclass
    class Place:
        city: str

    answer = await client('{"city": "Paris"}', output_type=Place).chat(stream=True)
    assert answer.text == '{"city":"Paris"}'
    refused = await client("x", output_type=Place).chat(response_format=FORMAT)
    assert refused.error["param"] == "response_format"


async def test_the_result_of_a_tool_that_ends_the_run_is_the_answer() -> None:
    @tool
    def finish() -> ToolResult:
        """End."""
        return ToolResult("Finished.", final=True)

    for stream in (False, True):
        answer = await client(call("finish"), tools=[finish]).chat(stream=stream)
        assert (answer.text if stream else answer.message["content"]) == "Finished."


async def test_log_probabilities_come_back_if_they_are_wanted() -> None:
    tokens = (TokenLogprob(token="ok", logprob=-0.1, bytes=b"ok"),)
    choice = Choice(message=AssistantMessage("ok"), finish_reason="stop", logprobs=Logprobs(content=tokens))
    reply = Reply(choices=(choice,), usage=Usage(requests=1), service_tier="flex", system_fingerprint="fp")
    whole = (await client(reply).chat(logprobs=True)).json
    ChatCompletion.model_validate(whole, strict=True)
    known = whole["choices"][0]["logprobs"]
    assert known == {
        "content": [{"token": "ok", "logprob": -0.1, "bytes": [111, 107], "top_logprobs": []}],
        "refusal": None,
    }
    assert (whole["service_tier"], whole["system_fingerprint"]) == ("flex", "fp")
    streamed = await client(reply).chat(logprobs=True, stream=True)
    assert [each["choices"][0]["logprobs"] for each in streamed.chunks if each["choices"][0]["logprobs"]] == [known]
    assert (await client(reply).chat()).json["choices"][0]["logprobs"] is None


async def test_citations_come_back() -> None:
    message = AssistantMessage(
        "See.", annotations=(UrlCitation(url="https://e.com", title="E", start_index=0, end_index=3),)
    )
    answer = (await client(message).chat()).message
    assert answer["annotations"][0]["url_citation"]["url"] == "https://e.com"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_an_answer(stream: bool) -> None:
    answer = await client(AssistantMessage(None, refusal="I must not.")).chat(stream=stream)
    if stream:
        assert "".join(each["choices"][0]["delta"].get("refusal") or "" for each in answer.chunks) == "I must not."
    else:
        assert (answer.message["content"], answer.message["refusal"]) == (None, "I must not.")


@pytest.mark.parametrize(("reason", "text"), [("length", "Half an"), ("content_filter", "Half")])
async def test_an_answer_that_was_truncated_says_so(reason: str, text: str) -> None:
    reply = Reply(choices=(Choice(message=AssistantMessage(text), finish_reason=reason),))
    answer = (await client(reply).chat()).json["choices"][0]
    assert (answer["finish_reason"], answer["message"]["content"]) == (reason, text)


async def test_a_run_at_its_limit_answers_with_what_it_has() -> None:
    asks = client(call("add", a=1, b=1), "So far: 2.", tools=[add], limits=Limits(turns=1))
    assert (await asks.chat()).message["content"] == "So far: 2."


async def test_the_dependencies_of_a_run_come_from_its_request() -> None:
    @tool
    def who(context: ToolContext[str]) -> str:
        """Say who asks."""
        return context.deps

    agent = Agent(
        FunctionModel(lambda request: call("who") if len(request.messages) == 1 else request.messages[-1].text),
        tools=[who],
        deps_type=str,
    )

    async def deps(headers: Any) -> str:
        return str(headers["x-user"])

    with pytest.raises(ConfigError, match="has deps"):
        serve.app(agent, token=TOKEN)
    asks = Client(serve.app(agent, token=TOKEN, deps=deps))
    assert (await asks.chat(headers={"x-user": "ann"})).message["content"] == "ann"


async def test_messages_of_every_kind_reach_the_model() -> None:
    parts = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
    ]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": "hello", "refusal": None},
        {"role": "user", "content": parts},
    ]
    asks = client("ok", instructions="You are a shop.")
    await asks.chat(*messages)
    sent = [each.to_wire() for each in requests(asks)[0].messages]
    assert sent[0] == {"role": "system", "content": "You are a shop."}
    assert sent[1:4] == messages[:3]
    assert sent[5]["content"] == parts


async def test_a_run_that_fails_is_an_error_with_a_status_and_in_a_stream_an_event() -> None:
    failed = await client(Refused("x"), ModelRetry("y")).chat()
    assert failed.status == 200
    late = await client(call("add", a=1, b=1), RuntimeError("secret words"), tools=[add]).chat(
        stream=True, agentkit={"events": True}
    )
    assert late.status == 200
    assert json.loads(late.data[-1])["error"]["code"] == "internal_error"
    assert b"secret words" not in late.body


async def test_a_conversation_may_end_with_instructions() -> None:
    asks = client("Bonjour.")
    answer = await asks.chat(USER, {"role": "system", "content": "Answer in French."}, agentkit={"events": True})
    assert answer.message["content"] == "Bonjour."
    assert [each.role for each in requests(asks)[0].messages] == ["user", "system"]
    assert "ToolChanged" not in [each["event"] for each in answer.json["agentkit"]["events"]]


async def test_a_session_that_is_busy_is_a_conflict() -> None:
    sessions, running, end = MemorySessions(), anyio.Event(), anyio.Event()

    async def slow(request: ChatRequest) -> str:
        running.set()
        await end.wait()
        return "ok"

    asks = Client(serve.app(Agent(FunctionModel(slow)), token=TOKEN, sessions=sessions))
    body = {"model": "agent", "messages": [USER], "agentkit": {"session": "ada"}}
    async with asks.open("POST", "/v1/chat/completions", body) as first:
        await running.wait()
        second = await asks.chat(agentkit={"session": "ada"})
        assert (second.status, second.error["code"]) == (409, "session_busy")
        end.set()
        await first.ended.wait()
    assert first.message["content"] == "ok"
