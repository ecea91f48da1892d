from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, ChatClient, ToolContext, tool
from agentkit.errors import DefinitionError, ToolFailed
from agentkit.testing import ScriptedModel, Server, call
from agentkit.tools.tool import Tool
from agentkit.tools.toolset import Toolset


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def double(n: int) -> int:
    return n * 2


class Base:
    def shared(self) -> str:
        """Inherited."""
        return "shared"

    def replaced(self) -> str:
        return "old"


class Calendar(Base):
    """A calendar."""

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def book(self, day: str) -> str:
        """Book a day."""
        return f"{day} for {self.owner}"

    def replaced(self) -> str:
        return "new"

    @staticmethod
    def hours() -> str:
        return "9-17"

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    @property
    def secret(self) -> str:
        raise AssertionError("a property is not asked for")

    def _hidden(self) -> None: ...


class Marked:
    @tool(name="look-up")
    def find(self, word: str) -> str:
        return word

    def helper(self, anything) -> None: ...  # type: ignore[no-untyped-def]

    @classmethod
    @tool
    def make(cls) -> str:
        return cls.__name__


class Math:
    @staticmethod
    def add(a: int, b: int) -> int:
        return a + b


def names(tools: Toolset) -> list[str]:
    return [each.name for each in tools]


def result_of(made: Tool, *args: Any) -> Any:
    return made(*args)  # type: ignore[operator]


# Where tools come from.


def test_functions_tools_and_toolsets_become_one_toolset() -> None:
    tools = Toolset(add, tool(double, name="twice"), Toolset(Calendar("Ada").book))
    assert names(tools) == ["add", "twice", "book"]
    assert (len(tools), "add" in tools, "sub" in tools, tools["twice"].name) == (3, True, False, "twice")
    assert repr(tools) == "Toolset(add, twice, book)"
    assert len(Toolset()) == 0


def test_the_public_methods_of_an_object_are_tools() -> None:
    tools = Toolset.of(Calendar("Ada"))
    assert names(tools) == ["shared", "book", "replaced", "hours", "kind"]
    assert tools["book"].description == "Book a day."
    assert [result_of(tools[each]) for each in ("shared", "replaced", "hours", "kind")] == [
        "shared",
        "new",
        "9-17",
        "Calendar",
    ]
    assert result_of(tools["book"], "Monday") == "Monday for Ada"


def test_when_methods_are_decorated_it_is_only_those() -> None:
    tools = Toolset.of(Marked())
    assert names(tools) == ["look-up", "make"]
    assert (result_of(tools["look-up"], "x"), result_of(tools["make"])) == ("x", "Marked")


class Robot:
    @functools.lru_cache  # noqa: B019 - the object lives as long as the test
    def find(self, n: int) -> int:
        """Find one."""
        return n * 2

    def move(self, dx: int, dy: int) -> str:
        """Move.

        Args:
            dx: To the right.
            dy: Up.
        """
        return f"{dx},{dy}"

    up = functools.partialmethod(move, 0)
    right = functools.partialmethod(move, dy=0)

    @staticmethod
    def say(self: str) -> str:  # noqa: PLW0211 - the case in question
        return self

    @staticmethod
    async def wait(cls: str) -> str:  # noqa: PLW0211
        return cls


@pytest.mark.anyio
async def test_methods_that_are_cached_partial_or_static_are_tools_too() -> None:
    tools = Toolset.of(Robot())
    assert names(tools) == ["find", "move", "up", "right", "say", "wait"]
    called = {
        "find": '{"n": "2"}',
        "move": '{"dx": 1, "dy": 2}',
        "up": '{"dy": 3}',
        "right": '{"dx": 4}',
        "say": '{"self": "hello"}',
        "wait": '{"cls": "done"}',
    }
    context: ToolContext[Any] = ToolContext(
        deps=None, run_id="r", turn=1, call_id="c", tool="t", idempotency_key="k", emit=lambda event: None
    )
    received = [(await tools[name].call(context, text)).data for name, text in called.items()]
    assert received == [4, "1,2", "0,3", "4,0", "hello", "done"]
    assert (tools["find"].description, tools["up"].description) == ("Find one.", "Move.")
    assert tools["up"].parameters["properties"] == {"dy": {"type": "integer", "description": "Up."}}
    with pytest.raises(DefinitionError, match=r"Robot\.find needs an object"):
        Toolset.of(Robot)


def test_a_method_that_chooses_by_the_type_of_its_argument_is_refused_and_not_forgotten() -> None:
    class Printer:
        @functools.singledispatchmethod
        def show(self, value: Any) -> None: ...

    with pytest.raises(
        DefinitionError, match=r"Printer\.show chooses a method by the type .* takes a union, or begin its"
    ):
        Toolset.of(Printer())


def test_a_class_offers_what_needs_no_object() -> None:
    assert names(Toolset.of(Math)) == ["add"]
    with pytest.raises(DefinitionError, match=r"needs an object: write Toolset.of\(Calendar\(...\)\)"):
        Toolset.of(Calendar)
    with pytest.raises(DefinitionError, match="needs an object"):
        Toolset.of(Marked)


def test_methods_of_pythons_own_classes_are_no_tools() -> None:
    class Basket(dict[str, int]):
        def count_of(self, fruit: str) -> int:
            return self[fruit]

    assert names(Toolset.of(Basket(apple=2))) == ["count_of"]
    with pytest.raises(DefinitionError, match="an object of dict has no public function"):
        Toolset.of({})


def module_of(source: str, name: str = "made_up") -> types.ModuleType:
    module = types.ModuleType(name)
    exec(source, vars(module))
    return module


def test_a_module_offers_the_functions_that_it_defines() -> None:
    module = module_of("from textwrap import dedent\ndef a(x: int): ...\ndef _b(x): ...\nclass C: ...\nD = 1\n")
    assert names(Toolset.of(module)) == ["a"]
    chosen = module_of(
        "from textwrap import wrap\n__all__ = ['b', 'C']\ndef a(x: int): ...\ndef b(): ...\nclass C: ...\n"
    )
    assert names(Toolset.of(chosen)) == ["b"]
    cached = module_of("import functools\n@functools.cache\ndef a(x: int): ...\n")
    assert names(Toolset.of(cached)) == ["a"]
    marked = module_of("from agentkit import tool\ndef main(x): ...\n@tool\ndef a(x: int): ...\n")
    assert names(Toolset.of(marked)) == ["a"]
    with pytest.raises(DefinitionError, match="module made_up has no public function"):
        Toolset.of(module_of(""))


@contextmanager
def installed(folder: Path, entries: str, source: str) -> Iterator[None]:
    """A package with entry points, on the path while the block runs."""
    (folder / "shop_tools.py").write_text(source, encoding="utf-8")
    info = folder / "shop_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-tools\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[agentkit.tools]\n{entries}", encoding="utf-8")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("shop_tools", None)


SHOP = """
from agentkit import tool
from agentkit.tools.toolset import Toolset

@tool
def price(item: str) -> float: ...

def stock(item: str) -> int: ...

both = Toolset(price, stock).prefixed("shop_")

class Till:
    def open_till(self) -> None: ...

till = Till()
"""


def test_installed_packages_offer_tools_under_entry_points(tmp_path: Path) -> None:
    entries = "one = shop_tools:price\nplain = shop_tools:stock\nset = shop_tools:both\nall = shop_tools\n"
    entries += (
        "object = shop_tools:till\nbroken = shop_tools:nothing\nmissing = no_such_module\nnumber = shop_tools:SIZE\n"
    )
    with installed(tmp_path, entries, SHOP + "SIZE = 3\n"):
        assert names(Toolset.installed("one", "plain")) == ["price", "stock"]
        assert names(Toolset.installed("set")) == ["shop_price", "shop_stock"]
        assert names(Toolset.installed("all", "object")) == ["price", "open_till"]
        for name in ("broken", "missing"):
            with pytest.raises(DefinitionError, match=f"the tools '{name}' .* cannot be loaded: "):
                Toolset.installed(name)
        with pytest.raises(DefinitionError, match="an object of int has no public function"):
            Toolset.installed("number")
        with pytest.raises(DefinitionError, match="no installed package offers tools named 'on'; did you mean one"):
            Toolset.installed("on")


def test_all_installed_tools_are_those_of_every_entry_point(tmp_path: Path) -> None:
    with installed(tmp_path, "set = shop_tools:both\nobject = shop_tools:till\n", SHOP):
        assert {"shop_price", "shop_stock", "open_till"} <= set(names(Toolset.installed()))


# Choosing, renaming, joining.


def test_tools_are_chosen_and_renamed_and_joined_without_changing_the_set() -> None:
    tools = Toolset(add, double)
    assert names(tools.prefixed("math_")) == ["math_add", "math_double"]
    assert names(tools.only("double", "add")) == ["add", "double"]
    assert names(tools.without("add")) == ["double"]
    assert names(tools.renamed(add="plus")) == ["plus", "double"]
    assert names(tools.renamed({"double": "times-two"})) == ["add", "times-two"]
    assert names(tools.renamed(add="double", double="add")) == ["double", "add"]
    assert names(tools + Calendar("Ada").book) == ["add", "double", "book"]
    assert names(Calendar("Ada").book + tools) == ["book", "add", "double"]
    assert names(tools + Toolset.of(Calendar("Ada")).only("book")) == ["add", "double", "book"]
    assert names(tools) == ["add", "double"]
    assert tools.prefixed("math_")["math_add"].description == "Add."


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Toolset(add, add), r"two tools are named 'add': .*@tool\(name=...\).*prefixed"),
        (lambda: Toolset(add) + Toolset(add), "two tools are named 'add'"),
        (lambda: Toolset(add, double).renamed(add="double"), "two tools are named 'double'"),
        (lambda: Toolset(add).only("ad"), "there is no tool 'ad' in this toolset; did you mean add?"),
        (lambda: Toolset(add).without("x"), "there is no tool 'x' in this toolset; there are add"),
        (lambda: Toolset().renamed(a="b"), "there is no tool 'a' in this toolset; there are none"),
        (lambda: Toolset(add).prefixed("a b "), "a name has 1 to 64 letters"),
        (lambda: Toolset(lambda x: x), "a name has 1 to 64 letters"),
        (lambda: Toolset.of(Marked().helper), "has no public function"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(make: Callable[[], Toolset], complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        make()


# In an agent.


@pytest.mark.anyio
async def test_an_agent_takes_toolsets_among_other_tools() -> None:
    model = ScriptedModel([call("cal_book", day="Monday"), "Booked."])
    agent = Agent(model, tools=[add, Toolset.of(Calendar("Ada")).only("book").prefixed("cal_")])
    assert list(agent.tools) == ["add", "cal_book"]
    result = await agent.run("Book Monday.")
    assert result.messages[2].text == "Monday for Ada"
    assert list(Agent(model, tools=Toolset(add, double)).tools) == ["add", "double"]
    with pytest.raises(DefinitionError, match="two tools are named 'add'"):
        Agent(model, tools=[Toolset(add), add])


@pytest.mark.anyio
async def test_a_tool_with_a_condition_is_offered_only_while_it_is_true() -> None:
    def open_door(context: ToolContext[dict[str, bool]]) -> str:
        context.deps["open"] = True
        return "open"

    def go_through() -> str:
        return "through"

    inside = Toolset(go_through).when(lambda context: context.deps["open"])
    early = Toolset(double).when(lambda context: context.turn < 2).when(lambda context: True)
    last = [call("go_through"), call("double", n=1)]
    model = ScriptedModel([call("go_through"), call("open_door"), last, "Done."])
    result = await Agent(model, tools=[open_door, inside, early], deps_type=dict).run("Go.", deps={"open": False})
    assert [[each.name for each in request.tools] for request in model.requests] == [
        ["open_door", "double"],
        ["open_door"],
        ["open_door", "go_through"],
        ["open_door", "go_through"],
    ]
    texts = [message.text for message in result.messages if message.role == "tool"]
    assert "'go_through' is switched off in this turn" in texts[0]
    assert (texts[1], texts[2]) == ("open", "through")
    assert "'double' is switched off in this turn" in texts[3]


@pytest.mark.anyio
async def test_a_condition_that_raises_ends_the_run_with_an_error_that_names_the_tool() -> None:
    tools = Toolset(double).when(lambda context: True).when(lambda context: context.deps["open"]).prefixed("math_")
    with pytest.raises(ToolFailed, match="tool math_double raised KeyError: 'open'") as caught:
        await Agent(ScriptedModel(["Done."]), tools=tools, deps_type=dict).run("Go.", deps={})
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.state.messages


def test_a_condition_cannot_be_async() -> None:
    async def is_open(context: ToolContext[Any]) -> bool:
        return True

    with pytest.raises(DefinitionError, match="the condition 'is_open' must be a plain function that returns at once"):
        Toolset(double).when(is_open)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_condition_sees_the_transcript_as_the_model_saw_it() -> None:
    once = Toolset(double).when(lambda context: not any(each.role == "assistant" for each in context.messages))
    model = ScriptedModel([call("double", n=2), call("double", n=3), "Done."])
    result = await Agent(model, tools=once).run("Go.")
    texts = [message.text for message in result.messages if message.role == "tool"]
    assert texts[0] == "4"
    assert "is switched off in this turn" in texts[1]


# Many tools.


@pytest.mark.anyio
async def test_a_server_is_offered_as_many_tools_as_there_are() -> None:
    many = [tool(lambda n=number: n, name=f"tool_{number}", description="Count.") for number in range(200)]
    with Server(["hello"]) as server:
        agent = Agent(ChatClient(server.url, model="m"), tools=many)
        assert (await agent.run("go")).output == "hello"
        await agent.aclose()
    assert len(server.requests[0].body["tools"]) == 200
