"""Ways to request an output: what servers refuse or ignore, what is tried then, and what is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, ChatClient, tool
from agentkit.chat import ChatRequest, Profile
from agentkit.errors import BadRequest, ContextTooLong, MalformedToolCall, NotFound
from agentkit.events import Event, RequestAdapted
from agentkit.run import TypedOutput
from agentkit.testing import FunctionModel, ScriptedModel, Server, call
from tests.outputs import Line, in_its_way, refusing

pytestmark = pytest.mark.anyio
LINE: dict[str, Any] = {"what": "tea", "price": 2.5}


@tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"{place}: nothing"


def bad(message: str) -> BadRequest:
    return BadRequest(message, status=400)


def kind(request: ChatRequest) -> str:
    """How a request asks for its output."""
    if any(each.name == "final_answer" for each in request.tools):
        return f"tool {request.settings.tool_choice}"
    return str((request.settings.response_format or {}).get("type", "prompt"))


async def outcome(model: Any, **options: Any) -> tuple[Any, list[str], list[str]]:
    """The output, how it was requested in each request, and what was reported as adapted."""
    adapted: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, RequestAdapted):
            adapted.append(event.what)

    result = await Agent(model, output_type=Line, **options).run("go", on_event=note)
    return result.output, [kind(each) for each in model.requests], adapted


REFUSALS: dict[str, tuple[Callable[[ChatRequest], bool], list[Any], list[str]]] = {
    "no schemas": (lambda r: kind(r) == "json_schema", [], ["json_schema", "json_object"]),
    "no response_format": (
        lambda r: r.settings.response_format is not None,
        [],
        ["json_schema", "json_object", "prompt"],
    ),
    "no forced tools": (lambda r: kind(r) == "tool required", [look], ["tool required", "tool None"]),
    "no output tool": (
        lambda r: "final_answer" in [each.name for each in r.tools],
        [look],
        ["tool required", "tool None", "json_object"],
    ),
    "not both": (
        lambda r: kind(r).startswith("tool") or (bool(r.tools) and r.settings.response_format is not None),
        [look],
        ["tool required", "tool None", "json_object", "prompt"],
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("words", ["Unsupported.", "thinking mode does not do that"], ids=["short", "odd"])
async def test_what_a_server_refuses_is_requested_in_another_way_and_remembered(name: str, words: str) -> None:
    refuses, tools, asked = REFUSALS[name]
    model = refusing(lambda request: bad(words) if refuses(request) else None, LINE)
    output, kinds, adapted = await outcome(model, tools=tools)
    assert (output, kinds, len(adapted)) == (Line(**LINE), asked, len(asked) - 1)
    assert all(words in each for each in adapted)
    output, kinds, adapted = await outcome(model, tools=tools)
    assert (output, kinds[len(asked) :], adapted) == (Line(**LINE), asked[-1:], [])


async def test_a_path_that_does_not_support_it_counts_as_a_refusal() -> None:
    missing = NotFound("No endpoints found that support response_format", status=404)
    model = refusing(lambda request: missing if request.settings.response_format else None, LINE)
    assert (await outcome(model))[1] == ["json_schema", "json_object", "prompt"]


async def test_what_each_way_brings_about_is_raised_and_not_remembered() -> None:
    model = FunctionModel(lambda _: bad("the picture is broken"))
    with pytest.raises(BadRequest, match="picture"):
        await outcome(model)
    model._function = lambda request: in_its_way(request, LINE)
    assert (await outcome(model))[1][3:] == ["json_schema"]


async def test_a_conversation_that_is_too_long_is_no_refusal_of_the_way() -> None:
    model = FunctionModel(lambda _: ContextTooLong("too long", status=400))
    with pytest.raises(ContextTooLong):
        await outcome(model)
    assert len(model.requests) == 1


async def test_a_way_that_was_chosen_is_kept_to() -> None:
    model = FunctionModel(lambda _: bad("no"))
    with pytest.raises(BadRequest):
        await Agent(model, output_type=TypedOutput(Line, way="native")).run("go")
    assert len(model.requests) == 1


async def test_a_server_that_ignores_response_format_reads_the_schema_in_the_prompt() -> None:
    def play(request: ChatRequest) -> Any:
        told = "JSON Schema" in request.messages[0].text
        return in_its_way(request, LINE) if told else "The tea costs 2.50."

    model = FunctionModel(play)
    output, kinds, adapted = await outcome(model)
    assert (output, kinds) == (Line(**LINE), ["json_schema", "json_object"])
    assert adapted == ["the output is requested by json, as native gave no valid one"]
    assert (await outcome(model))[1][2:] == ["json_object"]


async def test_a_model_that_never_calls_the_output_tool_is_asked_for_text() -> None:
    def play(request: ChatRequest) -> Any:
        return "The tea costs 2.50." if request.tools and kind(request).startswith("tool") else json.dumps(LINE)

    model = FunctionModel(play)
    output, kinds, _ = await outcome(model, tools=[look])
    assert (output, kinds) == (Line(**LINE), ["tool required", "tool required", "json_object"])


async def test_an_agent_with_tools_calls_them_before_it_answers() -> None:
    """Some servers never call a tool once `response_format` is set, and invent the answer."""

    def play(request: ChatRequest) -> Any:
        if request.settings.response_format is not None:
            return json.dumps({"what": "invented", "price": 0})
        seen = any(message.role == "tool" for message in request.messages)
        return in_its_way(request, LINE) if seen else call("look", place="shop")

    output, _, _ = await outcome(FunctionModel(play), tools=[look])
    assert output.what == "tea"


async def test_json_that_groq_refuses_to_return_is_an_invalid_answer() -> None:
    failed = MalformedToolCall("Failed to generate JSON", code="json_validate_failed")
    failed.generation = '{"what": "tea"}'
    model = ScriptedModel([failed, json.dumps(LINE)])
    result = await Agent(model, output_type=TypedOutput(Line, way="native")).run("go")
    assert result.output == Line(**LINE)
    assert result.messages[2].text == "the answer is not valid:\n- price: missing"


@pytest.mark.parametrize(
    ("first", "learned"),
    [
        (["The tea costs 2.50.", json.dumps(LINE)], ["native"]),
        ([bad("I will not."), json.dumps(LINE)], ["native"]),
        ([bad("I will not."), bad("I will not."), json.dumps(LINE)], ["json", "native"]),
    ],
    ids=["ignored", "refused in odd words", "both refused"],
)
async def test_what_was_learned_is_in_the_profile_and_in_its_file(
    first: list[Any], learned: list[str], tmp_path: Path
) -> None:
    with Server([*first, json.dumps(LINE)]) as server:
        for _ in range(2):  # the second client is one of another process
            client = ChatClient(server.url, model="m", profile_file=tmp_path / "profiles.json")
            assert (await Agent(client, output_type=Line).run("go")).output == Line(**LINE)
            await client.aclose()
            assert client.profile.to_json() == {"no_output_by": learned}
        forms = [each.parameters.get("response_format", {}).get("type") for each in server.requests]
    assert forms[0] == "json_schema"
    assert forms[-1] == forms[-2] == ("json_object" if learned == ["native"] else None)


async def test_the_tools_are_tried_no_more_by_a_client_that_knows_better() -> None:
    known = Profile(no_output_by=frozenset({"forced tool", "tool"}))
    with Server([json.dumps(LINE)]) as server:
        client = ChatClient(server.url, model="m", profile=known)
        await Agent(client, output_type=Line, tools=[look]).run("go")
        await client.aclose()
    assert server.requests[0].parameters["response_format"] == {"type": "json_object"}
    assert [each["function"]["name"] for each in server.requests[0].parameters["tools"]] == ["look"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_over_a_connection(stream: bool) -> None:
    refusal = BadRequest("response_format is not supported by this model", status=400)
    with Server([refusal, json.dumps(LINE), json.dumps(LINE)]) as server:
        client = ChatClient(server.url, model="m")
        agent = Agent(client, output_type=Line)
        for _ in range(2):
            if stream:
                async with agent.stream("go") as events:
                    result = await events.result()
            else:
                result = await agent.run("go")
            assert result.output == Line(**LINE)
        forms = [each.parameters.get("response_format", {}).get("type") for each in server.requests]
        assert forms[0] == "json_schema"
        assert forms[1] == forms[2] != "json_schema"
        await client.aclose()


async def test_models_without_a_hash_are_remembered_by_their_type() -> None:
    class Odd(FunctionModel):
        __hash__ = None  # type: ignore[assignment]  # a model may be like that

    def play(request: ChatRequest) -> Any:
        return bad("no") if request.settings.response_format else in_its_way(request, LINE)

    model = Odd(play)
    await outcome(model)
    assert (await outcome(model))[1] == ["json_schema", "json_object", "prompt", "prompt"]
