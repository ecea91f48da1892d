from typing import Any

import anyio
import pytest

from agentkit import Agent, ChatClient, ChatSettings, Limits, Middleware, tool
from agentkit.chat.transport.retry import RetryPolicy
from agentkit.errors import ConfigError, DefinitionError, Overloaded
from agentkit.sessions import MemorySessions
from agentkit.testing import FunctionModel, ScriptedModel, call
from tests.replay import answer, completion, replay


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_an_agent_runs_without_async_code_as_often_as_wanted() -> None:
    agent = Agent(
        FunctionModel(lambda request: "3" if len(request.messages) > 1 else call("add", a=1, b=2)), tools=[add]
    )
    assert [agent.run_sync("1+2?").output for _ in range(2)] == ["3", "3"]


def test_a_client_survives_the_event_loop_it_was_used_in() -> None:
    with replay(completion({"content": "a"}), completion({"content": "b"})) as server:
        agent = Agent(ChatClient(server.url, model="m"))
        assert [agent.run_sync("go").output for _ in range(2)] == ["a", "b"]


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two tools are named 'add'"):
        Agent(ScriptedModel([]), tools=[add, add])


def test_a_plain_function_is_a_tool() -> None:
    def double(n: int) -> int:
        """Double a number."""
        return 2 * n

    assert list(Agent(ScriptedModel([]), tools=[double, add]).tools) == ["double", "add"]


def test_a_model_that_is_not_there_is_refused_where_the_agent_is_written() -> None:
    with pytest.raises(ConfigError, match="there is no provider 'nowhere'"):
        Agent("nowhere:gpt")


def test_a_missing_key_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    agent = Agent("openai:gpt-5-mini")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        agent.run_sync("hi")


@pytest.mark.anyio
async def test_a_run_changes_nothing_of_its_agent() -> None:
    model = ScriptedModel(["a", "b"])
    agent = Agent(model, settings=ChatSettings(temperature=0, seed=1))
    await agent.run("x", settings=ChatSettings(temperature=1), limits=Limits(turns=1))
    await agent.run("y")
    assert [request.settings for request in model.requests] == [
        ChatSettings(temperature=1, seed=1),
        ChatSettings(temperature=0, seed=1),
    ]


@pytest.mark.anyio
async def test_a_thousand_runs_of_one_agent_do_not_meet() -> None:
    agent = Agent(FunctionModel(lambda request: request.messages[0].text), limits=Limits(turns=1))
    outputs: dict[int, str] = {}

    async def ask(number: int) -> None:
        outputs[number] = (await agent.run(str(number))).output

    async with anyio.create_task_group() as tasks:
        for number in range(1000):
            tasks.start_soon(ask, number)
    assert outputs == {number: str(number) for number in range(1000)}


@pytest.mark.parametrize("limits", [{"turns": 0}, {"calls": -1}, {"request_retries": -1}, {"on_limit": "explode"}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        Limits(**limits)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.anyio
async def test_an_option_that_is_misspelt_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'limit'"):
        await Agent(ScriptedModel([])).run("hi", limit=Limits(turns=1))  # type: ignore[call-arg]  # wrong on purpose


@pytest.mark.parametrize("model", [None, 3])
def test_what_is_no_model_is_refused_where_the_agent_is_written(model: object) -> None:
    with pytest.raises(ConfigError, match="a model is a name"):
        Agent(model)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"on_tool_error": "rasie"}, "on_tool_error= takes"),
        ({"instructions": 3}, "instructions= takes a string or a function"),
        ({"settings": {"temperature": 1}}, "settings= takes a ChatSettings"),
        ({"limits": 3}, "limits= takes a Limits"),
        ({"middleware": Middleware}, "middleware= takes a list"),
        ({"middleware": [Middleware]}, "middleware= takes a list of Middleware objects"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused_where_the_agent_is_written(argument: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Agent(ScriptedModel([]), **argument)


def test_an_agent_shows_its_model_and_its_tools() -> None:
    assert repr(Agent(ChatClient("http://127.0.0.1:1/v1", model="m"), tools=[add])).endswith("model='m'), tools=[add])")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("history", "said"),
    [
        ("hello", "history takes a list of messages"),
        (42, "history takes a list of messages"),
        ([42], "message 1 of the history is neither"),
        ([{"role": "bot", "content": "x"}], "message 1 of the history: .*'bot'"),
        ([{"content": "x"}], "message 1 of the history"),
    ],
)
async def test_a_history_that_is_none_is_refused_in_a_sentence(history: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await Agent(ScriptedModel([])).run("hi", history=history)


@pytest.mark.anyio
async def test_a_history_may_be_an_earlier_result_or_nothing() -> None:
    agent = Agent(ScriptedModel(["a", "b"]))
    first = await agent.run("x", history=None)
    assert len((await agent.run("y", history=first)).messages) == 4


@pytest.mark.anyio
async def test_a_question_that_is_a_list_of_messages_says_where_these_belong() -> None:
    with pytest.raises(ConfigError, match="go into history="):
        await Agent(ScriptedModel([])).run([{"role": "user", "content": "x"}])  # type: ignore[list-item]  # wrong


@pytest.mark.anyio
async def test_the_retries_of_a_run_are_limited_altogether() -> None:
    bad = answer(b"", status="503 Busy")
    call_add = {"tool_calls": [{"id": "a", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}]}
    with replay(bad, completion(call_add), bad, completion({"content": "3"})) as server:
        client = ChatClient(server.url, model="m", retry=RetryPolicy(first_wait=0.0))
        agent = Agent(client, tools=[add])
        with pytest.raises(Overloaded):
            await agent.run("1+2?", limits=Limits(request_retries=1))
        assert len(server.requests) == 3
        await agent.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"session": "chat.db"}, "sessions\\[.alice.\\]"),
        ({"session": MemorySessions()}, "sessions\\[.alice.\\]"),
        ({"limits": {"turns": 3}}, r"Limits\("),
        ({"settings": {"temperature": 1}}, r"ChatSettings\("),
        ({"run_id": 5}, "run_id= takes a string"),
        ({"session": MemorySessions()["a"], "history": []}, "not both"),
    ],
)
async def test_options_of_a_run_that_cannot_be_are_refused_in_a_sentence(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await Agent(ScriptedModel([])).run("hi", **options)


class Answering:
    """A model of one's own that does not keep to its contract."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def reply(self, request: object, emit: object) -> Any:
        return self.answer


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [None, "a string"])
async def test_a_model_that_returns_no_reply_is_reported_in_a_sentence(answer: object) -> None:
    with pytest.raises(ConfigError, match=r"reply\(\) of .* must return a Reply, and returned"):
        await Agent(Answering(answer)).run("hi")


@pytest.mark.anyio
async def test_a_state_is_not_gone_on_with_and_given_a_history() -> None:
    agent = Agent(ScriptedModel(["hi"]))
    result = await agent.run("hello")
    with pytest.raises(ConfigError, match="a resumed run has its own messages"):
        await agent.run(resume=result.state, history=result)


@pytest.mark.anyio
async def test_what_was_said_to_a_run_after_its_last_turn_is_in_the_history_of_the_next() -> None:
    agent = Agent(ScriptedModel(["hi", "bye"]))
    result = await agent.run("hello")
    result.state.add_message("and one more thing")
    told = await agent.run("so?", history=result)
    assert [each.text for each in told.messages] == ["hello", "hi", "and one more thing", "so?", "bye"]
