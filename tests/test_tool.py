from __future__ import annotations

import contextvars
import copy
import decimal
import functools
import inspect
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any, assert_type, get_type_hints

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from agentkit import Agent
from agentkit.chat.events import Event
from agentkit.chat.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.chat.request import CustomTool, FunctionTool, Grammar
from agentkit.errors import DefinitionError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call
from agentkit.tools.arguments import parse_arguments
from agentkit.tools.context import Progress, ToolContext
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Tool, as_tool, tool
from agentkit.tools.toolset import Toolset, flat_tools

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def context(emit: Callable[[Event], None] = lambda event: None) -> ToolContext[Any]:
    return ToolContext(deps="deps", run_id="r", turn=1, call_id="c", tool="t", idempotency_key="k", emit=emit)


@tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
    """
    return a + b


@tool(name="double-it", description="Twice.", sequential=True)
async def double(n: float) -> float:
    """Not read."""
    return n * 2


# A tool is a function with a description.


def test_a_decorated_function_has_a_name_a_description_and_a_schema() -> None:
    assert (add.name, add.description, add.sequential) == ("add", "Add two numbers.", False)
    assert (double.name, double.description, double.sequential) == ("double-it", "Twice.", True)
    plain = tool(add, strict=False)
    assert plain.definition == FunctionTool("add", "Add two numbers.", add.parameters)
    assert add.definition is add.definition
    assert add.parameters["properties"]["a"] == {"type": "integer", "description": "The first."}
    assert repr(add) == "ToolFunction(name='add', description='Add two numbers.')"


@pytest.mark.anyio
async def test_a_tool_is_called_like_its_function_and_type_checkers_know_it() -> None:
    assert assert_type(add(1, b=2), int) == 3
    assert await assert_type(double(2.0), Coroutine[Any, Any, float]) == 4.0


def test_a_tool_does_not_change() -> None:
    with pytest.raises(AttributeError):
        add.name = "other"  # type: ignore[misc]


def test_a_tool_given_to_tool_comes_back_with_only_the_options_changed() -> None:
    assert tool(add) is add
    assert as_tool(add) is add
    renamed = tool(add, name="plus")
    assert (renamed.name, renamed.description, renamed.definition.name) == ("plus", add.description, "plus")
    assert tool(double, name="x").sequential


def test_a_plain_function_becomes_a_tool() -> None:
    def shout(text: str) -> str:
        """Loudly."""
        return text.upper()

    assert as_tool(shout).definition.to_wire()["function"]["name"] == "shout"
    assert tool(lambda: 1, name="one").name == "one"
    assert as_tool(functools.partial(shout, "x")).parameters["properties"] == {}


@pytest.mark.parametrize("name", ["", "a b", "ünlaut", "x" * 65, "a.b", "ok\n"])
def test_a_name_that_servers_refuse_is_refused_where_it_is_written(name: str) -> None:
    with pytest.raises(DefinitionError, match="a name has 1 to 64 letters"):
        tool(add, name=name)


def test_what_cannot_become_a_tool_says_so() -> None:
    with pytest.raises(DefinitionError, match=r"a name has 1 to 64 letters.*tool\(name=\.\.\.\)"):
        as_tool(lambda: 1)
    with pytest.raises(DefinitionError, match=r"5 is not a tool: give a function, a Tool, .* make a Toolset"):
        as_tool(5)  # type: ignore[arg-type]


# A call: arguments, function, result.


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("called", "arguments", "content"),
    [
        (add, '{"a": 1, "b": 2}', "3"),
        (add, '{"a": "1"}', "2"),
        (double, '{"n": 1.5}', "3.0"),
        (double, r'"{\"n\": 2}"', "4.0"),
    ],
)
async def test_a_call_validates_runs_and_writes_the_result(called: Tool, arguments: str, content: str) -> None:
    assert (await called.call(context(), arguments)).content == content


@pytest.mark.anyio
@pytest.mark.parametrize("arguments", ["", "[]", "{", '{"a": "x"}', '{"a": 1, "c": 2}', "[" * 100_000, '{"a": NaN}'])
async def test_wrong_arguments_are_a_tool_error_and_the_function_does_not_run(arguments: str) -> None:
    ran: list[int] = []

    def record(a: int) -> None:
        ran.append(a)

    with pytest.raises(ToolError):
        await as_tool(record).call(context(), arguments)
    assert ran == []


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ToolError("no such city"), ValueError("x"), KeyError("k"), StopAsyncIteration()])
async def test_what_the_function_raises_is_raised(error: Exception) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    for function in (fail, fail_later):
        with pytest.raises(type(error)) as caught:
            await as_tool(function).call(context(), "{}")
        assert caught.value is error


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit(1), r"the tool called sys.exit\(1\)"),
        (SystemExit("bye"), r"the tool called sys.exit\('bye'\)"),
        (KeyboardInterrupt(), "the tool raised KeyboardInterrupt"),
        (GeneratorExit(), "the tool raised GeneratorExit"),
        (StopIteration(5), "StopIteration"),
    ],
)
async def test_what_would_end_the_program_is_a_failure_of_the_tool(error: BaseException, message: str) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    for function in (fail, fail_later):
        with pytest.raises(RuntimeError, match=message) as caught:
            await as_tool(function).call(context(), "{}")
        assert caught.value.__cause__ is error


def test_ctrl_c_ends_the_program_even_in_a_tool() -> None:
    async def interrupted_result() -> None:
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep_forever()

    for backend in ("asyncio", "trio"):
        with pytest.raises(KeyboardInterrupt):
            anyio.run(as_tool(interrupted_result).call, context(), "{}", backend=backend)


def test_a_call_that_is_closed_from_outside_just_ends() -> None:
    class Never:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def wait() -> None:
        await Never()

    async def start() -> Coroutine[Any, Any, ToolResult]:
        calling = tool(wait, timeout=None).call(context(), "")
        calling.send(None)
        return calling

    anyio.run(start).close()


@pytest.mark.anyio
async def test_cancelling_passes_through_and_leaves_a_thread_to_itself() -> None:
    started, release, finished = threading.Event(), threading.Event(), threading.Event()

    def slow(ctx: ToolContext[Any]) -> None:
        started.set()
        release.wait(10)
        ctx.progress(1.0)  # nobody waits for it any more, and it must not hang
        finished.set()

    async def endless() -> None:
        await anyio.sleep_forever()

    for function in (slow, endless):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(as_tool(function).call, context(), "{}")
                if function is slow:
                    await anyio.to_thread.run_sync(started.wait, 10)
                else:
                    await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
    release.set()
    assert await anyio.to_thread.run_sync(finished.wait, 10)


@pytest.mark.anyio
async def test_a_plain_function_runs_in_a_thread_with_the_context_variables_of_the_caller() -> None:
    def look() -> list[Any]:
        return [threading.get_ident() == home, VARIABLE.get()]

    home = threading.get_ident()
    VARIABLE.set("here")
    assert (await as_tool(look).call(context(), "")).data == [False, "here"]


@pytest.mark.anyio
async def test_every_thread_may_emit_and_observers_hear_it_in_the_event_loop() -> None:
    heard: list[tuple[Event, bool]] = []
    home = threading.get_ident()

    def observe(event: Event) -> None:
        heard.append((event, threading.get_ident() == home))

    def work(ctx: ToolContext[str]) -> str:
        ctx.progress(0.5, "half")
        own = threading.Thread(target=ctx.progress)
        own.start()
        own.join()
        return ctx.deps

    async def work_async(ctx: ToolContext[str]) -> str:
        ctx.progress(0.5, "half")
        await anyio.to_thread.run_sync(ctx.progress)
        return ctx.deps

    for function in (work, work_async):
        heard.clear()
        assert (await as_tool(function).call(context(observe), "")).content == "deps"
        assert heard == [(Progress("c", "t", 0.5, "half"), True), (Progress("c", "t", None, ""), True)]


@pytest.mark.anyio
async def test_async_functions_are_awaited_however_they_are_wrapped() -> None:
    class Greeter:
        async def __call__(self, name: str, ctx: ToolContext[Any]) -> str:
            ctx.progress()
            return f"hello {name}"

    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    async def greet(name: str, ctx: ToolContext[Any]) -> str:
        ctx.progress()
        return f"hello {name}"

    for function in (Greeter(), plain(greet), functools.partial(greet), functools.partial(Greeter())):
        assert (await as_tool(function).call(context(), '{"name": "Ada"}')).content == "hello Ada"


# Methods, and schemas without a function.


class Library:
    def __init__(self, books: list[str]) -> None:
        self.books = books

    @tool
    def find(self, word: str) -> list[str]:
        """Find books."""
        return [book for book in self.books if word in book]

    @tool(name="count")
    async def how_many(self, ctx: ToolContext[Any]) -> int:
        return len(self.books)

    @staticmethod
    @tool
    def hours(day: str) -> str:
        return "9-17"

    def plain(self, word: str) -> str:
        return word


@pytest.mark.anyio
async def test_a_method_is_a_tool_of_each_object() -> None:
    one, other = Library(["Dune"]), Library(["Emma", "Ulysses"])
    assert one.find.parameters["properties"] == {"word": {"type": "string"}}
    assert (await one.find.call(context(), '{"word": "D"}')).content == '["Dune"]'
    assert (await other.how_many.call(context(), "")).content == "2"
    assert (await one.hours.call(context(), '{"day": "Monday"}')).content == "9-17"
    assert (await as_tool(one.plain).call(context(), '{"word": "x"}')).content == "x"
    assert assert_type(other.find("Em"), list[str]) == ["Emma"]
    assert Library.find(one, "une") == ["Dune"]


def test_a_method_without_its_object_is_no_tool() -> None:
    for method in (Library.find, Library.plain):
        with pytest.raises(DefinitionError, match="is a method: take it from an object"):
            as_tool(method)


@pytest.mark.anyio
async def test_a_tool_from_a_schema_gets_the_context_and_the_arguments() -> None:
    def plain(ctx: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        return [ctx.call_id, arguments]

    async def later(ctx: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        return [ctx.call_id, arguments]

    for function in (plain, later):
        made = Tool.from_schema("remote", "Far away.", {"properties": {"a b": {}}}, function)
        assert made.definition == FunctionTool("remote", "Far away.", {"type": "object", "properties": {"a b": {}}})
        assert (await made.call(context(), '{"a b": 1}')).content == '["c",{"a b":1}]'
        with pytest.raises(ToolError):
            await made.call(context(), "[]")
    with pytest.raises(DefinitionError, match="of type 'object'"):
        Tool.from_schema("remote", "", {"type": "array"}, plain)
    with pytest.raises(DefinitionError, match="JSON"):
        Tool.from_schema("remote", "", {"default": object()}, plain)


def test_a_tool_made_of_a_tool_is_one_of_its_kind_with_other_options() -> None:
    def plain(ctx: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        return arguments

    remote = Tool.from_schema("remote", "Far away.", {}, plain)
    near = tool(remote, name="near", description="Near.", sequential=True)
    assert_type(near, Tool)
    assert (near.name, near.description, near.sequential, near.function) == ("near", "Near.", True, plain)
    assert tool(Tool.external("ask", "Ask.", {}), name="please").is_external
    assert_type(tool(add, name="plus")(1, 2), int)
    assert tool(add, name="plus")(1, 2) == 3


def test_a_tool_that_takes_the_context_cannot_be_moved_to_another_process() -> None:
    def plain(ctx: ToolContext[Any], arguments: dict[str, Any]) -> Any:
        return arguments

    for made in (Tool.from_schema("far", "", {}, plain), tool(name="far")(plain_with_context)):
        with pytest.raises(DefinitionError, match="'far' takes a ToolContext, which cannot go to another process"):
            tool(made, process=True)


def plain_with_context(ctx: ToolContext[Any], n: int) -> int:
    return n


def test_a_tool_above_a_class_method_is_told_to_stand_below() -> None:
    with pytest.raises(DefinitionError, match="'make' is a class method: write @classmethod above @tool, not below"):

        class Shop:
            @tool
            @classmethod
            def make(cls, n: int) -> int:
                return n


def test_the_checked_arguments_are_those_that_the_model_knows() -> None:
    def send(key: str, text: str, *to: str, copies: int = 1, **more: int) -> str:
        return key + text

    written = '{"text": "hi", "to": ["Ada"], "weight": 3}'
    known = {"text": "hi", "to": ("Ada",), "copies": 1, "weight": 3}
    assert tool(functools.partial(send, "s3cret"), name="send").checked(context(), written) == known

    def put(ctx: ToolContext[Any], key: str, text: str) -> str:
        return key + text

    assert tool(functools.partial(put, key="s3cret")).checked(context(), '{"text": "hi"}') == {"text": "hi"}


@pytest.mark.anyio
async def test_a_custom_tool_gets_the_text_that_the_model_wrote() -> None:
    async def query(ctx: ToolContext[Any], text: str) -> Any:
        return [ctx.call_id, text]

    select = Grammar("regex", "SELECT .*")
    made = Tool.custom("query", "Run a query.", query, grammar=select)
    assert made.definition == CustomTool("query", "Run a query.", select)
    assert (await made.call(context(), "SELECT '1'\n")).content == '["c","SELECT \'1\'\\n"]'
    assert (await made.call(context(), "")).content == '["c",""]'
    (renamed,) = Toolset(made).prefixed("sql_")
    assert renamed.definition == CustomTool("sql_query", "Run a query.", select)
    with pytest.raises(DefinitionError, match="cannot go to another process"):
        Tool.custom("query", "", query, process=True)


@pytest.mark.anyio
async def test_a_run_offers_custom_tools_beside_functions_and_runs_their_calls() -> None:
    def count(ctx: ToolContext[Any], text: str) -> int:
        if not text.strip():
            raise ModelRetry("send at least one word")
        return len(text.split())

    words = Tool.custom("words", "Count words.", count)
    texts = [ToolCall.custom("c1", "words", '{"a": 1, not JSON'), ToolCall.custom("c2", "words", " ")]
    model = ScriptedModel([[*texts, call("add", id="c3", a=1)], "done"])
    result = await Agent(model, tools=[words, add]).run("go")
    assert [type(each) for each in model.requests[0].tools] == [CustomTool, FunctionTool]
    assert result.messages[1] == AssistantMessage(None, (*texts, call("add", id="c3", a=1)))
    told = [each.text for each in result.messages if isinstance(each, ToolMessage)]
    assert told == ["4", "Error: send at least one word", "2"]


@pytest.mark.anyio
async def test_a_tool_may_say_itself_what_the_model_reads() -> None:
    said = ToolResult("for the model", data=[1], is_error=True)
    assert await as_tool(lambda_returning(said)).call(context(), "") is said


def lambda_returning(value: object) -> Callable[[], object]:
    def function() -> object:
        return value

    return function


# A decorated function is still the function that it was.


@tool(name="other")
async def fetch(page: int = 1, *, fast: bool = False) -> str:
    """Fetch a page."""
    return f"{page} {fast}"


class Shop:
    @tool
    async def buy(self, item: str) -> str:
        """Buy an item."""
        return item


def test_inspect_sees_the_function_below_a_tool() -> None:
    assert (fetch.__name__, fetch.__qualname__, fetch.__module__) == ("fetch", "fetch", __name__)  # type: ignore[attr-defined]
    assert fetch.__doc__ == "Fetch a page."
    assert inspect.unwrap(fetch).__code__.co_name == "fetch"
    assert str(inspect.signature(fetch)) == str(inspect.signature(fetch.function))
    assert get_type_hints(fetch) == {"page": int, "fast": bool, "return": str}
    assert str(inspect.signature(Shop().buy)) in ("(item: 'str') -> 'str'", "(item: str) -> str")
    assert inspect.iscoroutinefunction(fetch)
    assert inspect.iscoroutinefunction(Shop().buy)
    assert not inspect.iscoroutinefunction(add)
    assert inspect.isgeneratorfunction(tool(numbers))
    assert inspect.isasyncgenfunction(tool(later))


def numbers() -> Iterator[int]:
    yield 1


async def later() -> AsyncIterator[int]:
    yield 1


def test_a_changed_tool_a_partial_and_an_object_keep_the_marks_of_their_function() -> None:
    class Caller:
        async def __call__(self, x: int) -> int:
            return x

    assert tool(fetch, name="third").__name__ == "fetch"  # type: ignore[attr-defined]
    given = tool(functools.partial(fetch.function, page=2), name="given")
    assert str(inspect.signature(given)) == str(inspect.signature(given.function))
    made = tool(Caller(), name="caller")
    assert (made.__name__, str(inspect.signature(made))) == ("Caller", str(inspect.signature(Caller())))  # type: ignore[attr-defined]


def test_a_copy_of_a_tool_is_the_tool_so_that_its_calls_count_together() -> None:
    assert copy.deepcopy([add, fetch]) == [add, fetch]


# The arguments of a call may be parsed already.


@pytest.mark.anyio
@pytest.mark.parametrize("again", [lambda text: text, parse_arguments], ids=["string", "parsed"])
async def test_arguments_may_come_as_a_string_or_parsed_and_a_decimal_keeps_its_digits(again: Any) -> None:
    def pay(amount: decimal.Decimal, note: str = "", at: float = 0.0) -> str:
        return f"{amount} {note!r} {at!r}"

    arguments = again('{"amount": 100000000000000000000.10, "at": 1.50}')
    made, raw = as_tool(pay), Tool.from_schema("raw", "", {}, lambda _, given: repr(given))
    assert (await made.call(context(), arguments)).content == "100000000000000000000.10 '' 1.5"
    assert made.checked(context(), arguments) == {
        "amount": decimal.Decimal("100000000000000000000.10"), "note": "", "at": 1.5,
    }  # fmt: skip
    assert (await raw.call(context(), arguments)).content == "{'amount': 1e+20, 'at': 1.5}"
    custom = Tool.custom("any", "", lambda _, text: text)
    assert (await custom.call(context(), {"input": "select 1"})).content == "select 1"
    assert (await custom.call(context(), '{"a"')).content == '{"a"'


@pytest.mark.parametrize("tools", [add, None, 5, "add", {"add": add}, Shop])
def test_what_is_not_a_list_of_tools_is_refused_in_a_sentence(tools: Any) -> None:
    with pytest.raises(DefinitionError, match=r"tools= takes a list, not \w+: write tools=\[...\]"):
        flat_tools(tools)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "None is not a tool: give a function"),
        ("add", "'add' is not a tool: give a function"),
        (Shop(), "an object of Shop is not a tool: .* make a Toolset.of"),
        (Agent(ScriptedModel([])), "an object of Agent is not a tool: .*"),
        ([add], "an object of list is not a tool"),
        (add.definition, "an object of FunctionTool is not a tool"),
    ],
    ids=["none", "string", "object", "agent", "list", "definition"],
)
def test_what_is_not_a_tool_in_a_list_is_refused_in_a_sentence(value: Any, complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint) as caught:
        flat_tools([add, value])
    assert "\n" not in str(caught.value)
    with pytest.raises(DefinitionError, match=complaint):
        Agent(ScriptedModel([]), tools=[value])
