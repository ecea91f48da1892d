"""Typed output: every kind of type, in every way, with and without a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from agentkit import Agent, ChatSettings, ConfigError, DefinitionError, ModelRetry, ToolContext, ToolResult, tool
from agentkit.run import OutputSchema, TypedOutput, Way
from agentkit.testing import FunctionModel, ScriptedModel, call
from agentkit.tools import RunContext
from tests.outputs import INVOICE, INVOICE_JSON, KINDS, WAYS, Box, Invoice, Line, Refusal, answering, schema_of, total

pytestmark = pytest.mark.anyio
kinds = pytest.mark.parametrize("kind", KINDS)
ways = pytest.mark.parametrize("way", WAYS)


@tool
def look(place: str) -> str:
    """Look somewhere."""
    return f"{place}: nothing"


@kinds
@ways
@pytest.mark.turns
async def test_the_output_is_the_value_that_the_model_gave(kind: str, way: Way) -> None:
    output_type, written, value = KINDS[kind]
    agent = Agent(answering(written), output_type=TypedOutput(output_type, way=way))
    result = await agent.run("go")
    assert result.output == value
    assert type(result.output) is type(value)
    assert (result.status, result.state.turns) == ("done", 1)


@kinds
@ways
@pytest.mark.turns
async def test_a_streamed_run_has_the_same_output(kind: str, way: Way) -> None:
    output_type, written, value = KINDS[kind]
    agent = Agent(answering(written), output_type=TypedOutput(output_type, way=way))
    async with agent.stream("go") as events:
        assert (await events.result()).output == value


@kinds
@pytest.mark.turns
async def test_each_kind_works_with_tools(kind: str) -> None:
    output_type, written, value = KINDS[kind]
    answer = answering(written)

    def play(request: Any) -> Any:
        seen = any(message.role == "tool" for message in request.messages)
        return answer._function(request) if seen else call("look", place="attic")

    result = await Agent(FunctionModel(play), tools=[look], output_type=output_type).run("go")
    assert result.output == value
    assert next(message.text for message in result.messages if message.role == "tool") == "attic: nothing"


@kinds
@pytest.mark.turns
async def test_every_request_is_one_that_servers_take(kind: str) -> None:
    """Names have the letters that servers allow; a strict schema requires all of its properties and closes objects."""
    output_type, written, _ = KINDS[kind]
    for way in WAYS:
        model = answering(written)
        await Agent(model, output_type=TypedOutput(output_type, way=way)).run("go")
        request = model.requests[0]
        request.encode("m")  # refuses a name or a schema that no server takes
        assert schema_of(request)["type"] == "object"


async def test_native_is_strict_where_the_schema_allows_it() -> None:
    model = answering(INVOICE_JSON, {"a": 1})
    await Agent(model, output_type=Invoice).run("go")
    await Agent(model, output_type=dict[str, int]).run("go")
    strict, plain = (each.settings.response_format or {} for each in model.requests)
    assert (strict["json_schema"]["name"], strict["json_schema"]["strict"]) == ("Invoice", True)
    assert strict["json_schema"]["description"] == "An invoice."
    assert strict["json_schema"]["schema"]["required"] == ["number", "due", "lines", "note"]
    assert "strict" not in plain["json_schema"]


async def test_names_are_made_of_letters_that_servers_allow() -> None:
    model = answering({"item": 1}, {"reason": "x"})
    await Agent(model, output_type=Box[int]).run("go")
    either: Agent[None, Line | Refusal] = Agent(model, output_type=[Line, Refusal])
    await either.run("go")
    names = [(each.settings.response_format or {})["json_schema"]["name"] for each in model.requests]
    assert names == ["Box_int", "Line_or_Refusal"]


async def test_auto_uses_a_tool_beside_tools_and_response_format_without() -> None:
    model = answering(INVOICE_JSON)
    await Agent(model, output_type=Invoice).run("go")
    await Agent(model, output_type=Invoice, tools=[look]).run("go")
    alone, beside = model.requests
    assert (alone.settings.response_format or {})["type"] == "json_schema"
    assert not alone.tools
    assert beside.settings.response_format is None
    assert [each.name for each in beside.tools] == ["look", "final_answer"]
    assert beside.settings.tool_choice == "required"


async def test_a_schema_gives_dicts_and_is_checked() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    model = answering({"n": 0}, {"n": 5})
    result = await Agent(model, output_type=OutputSchema(schema, name="count")).run("go")
    assert result.output == {"n": 5}
    assert result.messages[2].text == "the answer is not valid:\n- n: expected at least 1; got 0"
    listed: Any = OutputSchema({"type": "array", "items": {"type": "integer"}})
    assert (await Agent(answering([1, 2]), output_type=listed).run("go")).output == [1, 2]


async def test_an_output_function_knows_the_run_and_may_object() -> None:
    def find(context: RunContext[dict[str, str]], key: str) -> str:
        """Find a value."""
        if key not in context.deps:
            raise ModelRetry(f"there is no {key}; there is {', '.join(context.deps)}")
        return context.deps[key]

    model = answering({"key": "b"}, {"key": "a"})
    agent = Agent[dict[str, str], str](model, output_type=find, deps_type=dict)
    result = await agent.run("go", deps={"a": "1"})
    assert result.output == "1"
    assert result.messages[2].text == "there is no b; there is a"


async def test_validators_know_the_run_and_may_object_or_change_the_output() -> None:
    def positive(context: RunContext[int], value: int) -> None:
        if value < context.deps:
            raise ModelRetry(f"it must be at least {context.deps}")

    async def halved(_: RunContext[int], value: int) -> int:
        return value // 2

    agent = Agent[int, int](answering(1, 8), output_type=int, deps_type=int, output_validators=[positive, halved])
    result = await agent.run("go", deps=5)
    assert result.output == 4
    assert result.messages[2].text == "it must be at least 5"


async def test_validators_see_plain_text_too() -> None:
    def short(_: RunContext[Any], text: str) -> None:
        if len(text) > 3:
            raise ModelRetry("at most three letters")

    result = await Agent(ScriptedModel(["hello", "hi"]), output_validators=[short]).run("go")
    assert result.output == "hi"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"what": "tea", "price": 2.5}', 2.5),
        ('```json\n{"what": "tea", "price": 2.5}\n```', 2.5),
        ("```\n{'what': 'tea', 'price': 2.5,}\n```", 2.5),
        ('The line is {"what": "tea", "price": 2.5}. Anything else?', 2.5),
        ('<think>{"what": "tea", "price": 9}</think>\n{"what": "tea", "price": 2.5}', 2.5),
        ('{"arguments": {"what": "tea", "price": 2.5}}', 2.5),
        ('{"what": "tea", "price": "2.5"}', 2.5),
        ('See [1] and {"what": "tea", "price": 2.5}', 2.5),
    ],
)
async def test_a_value_is_found_in_the_text(text: str, value: float) -> None:
    result = await Agent(ScriptedModel([text]), output_type=TypedOutput(Line, way="prompted")).run("go")
    assert result.output == Line(what="tea", price=value)


@pytest.mark.parametrize(
    ("output_type", "text", "value"),
    [(Literal["spam", "ham"], "ham", "ham"), (int, "42", 42), (bool, "true", True), (list[int], "[1, 2]", [1, 2])],
    ids=["Literal", "int", "bool", "list"],
)
async def test_what_is_not_an_object_may_come_bare(output_type: Any, text: str, value: Any) -> None:
    result = await Agent(ScriptedModel([text]), output_type=TypedOutput(output_type, way="json")).run("Give json")
    assert result.output == value


async def test_an_answer_in_text_counts_where_a_tool_was_offered() -> None:
    result = await Agent(ScriptedModel(['{"what": "tea", "price": 2}']), output_type=Line, tools=[look]).run("go")
    assert result.output == Line(what="tea", price=2)


def complex_only(number: Any) -> int:
    return 1


@pytest.mark.parametrize(
    ("output_type", "complaint"),
    [
        (Any, "output type Any: it may be anything; give it a type"),
        (object, "it may be anything"),
        (type, "output type type: no JSON Schema expresses it"),
        ([], r"output_type=\[\] has no type in it"),
        (lambda x: x, "parameter 'x' has no annotation"),
        (complex_only, "parameter 'number' has no annotation"),
        (lambda: 1, "has no parameters that a model could fill in"),
        ([Box[int], Box[int], total, total], "two of its functions have one name"),
        (3, "output type 3"),
        ("Invoice", "output type 'Invoice' is a string: give the type itself"),
        (OutputSchema, "no JSON Schema expresses it"),
    ],
    ids=["Any", "object", "type", "empty", "lambda", "Any parameter", "no parameters", "twice", "3", "string", "class"],
)
def test_what_cannot_be_an_output_is_refused_where_the_agent_is_made(output_type: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        Agent(ScriptedModel([]), output_type=output_type)


def test_alternatives_that_cannot_be_told_apart_are_refused() -> None:
    class Good(Refusal): ...

    class Bad(Refusal): ...

    for output_type in ([Good, Bad], Good | Bad):
        with pytest.raises(DefinitionError, match="two of its alternatives have the same shape"):
            Agent(ScriptedModel([]), output_type=output_type)


def test_alternatives_differ_by_members_that_have_the_names_of_keywords() -> None:
    @dataclass
    class Song:
        title: str = ""

    @dataclass
    class Noise:
        description: str = ""

    Agent(ScriptedModel([]), output_type=[Song, Noise])


@pytest.mark.parametrize("options", [{"way": "xml"}, {"retries": -1}, {"with_calls": "no"}], ids=str)
def test_an_option_that_does_not_exist_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        TypedOutput(int, **options)


def test_a_schema_that_is_not_one_is_refused() -> None:
    given: Any
    for given in ({"type": "objekt"}, [], {"type": "object", "properties": {"a": 1}}):
        with pytest.raises(DefinitionError):
            OutputSchema(given)


async def test_names_and_settings_that_the_output_needs_are_refused_to_others() -> None:
    @tool
    def final_answer(text: str) -> str:
        """Answer."""
        return text

    with pytest.raises(ConfigError, match="rename it"):
        await Agent(ScriptedModel(["x"]), tools=[final_answer], output_type=Invoice).run("go")
    settings = ChatSettings(response_format={"type": "json_object"})
    with pytest.raises(ConfigError, match="give only one"):
        await Agent(ScriptedModel(["x"]), settings=settings, output_type=Invoice).run("go")


async def test_a_tool_may_end_the_run_with_a_value() -> None:
    @tool
    def finish(context: ToolContext[None]) -> ToolResult:
        """Finish."""
        return ToolResult(INVOICE.model_dump_json(), final=True)

    result = await Agent(ScriptedModel([call("finish")]), tools=[finish], output_type=Invoice).run("go")
    assert result.output == INVOICE
