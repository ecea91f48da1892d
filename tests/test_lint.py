import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from agentkit import Agent, DefinitionError, Tool, tool
from agentkit.testing import LintWarning, ScriptedModel, lint_tools
from agentkit.tools.toolset import ToolLike, Toolset


class Course(enum.Enum):
    STARTER = "starter"
    MAIN = "main"


@dataclass
class Dish:
    """A dish.

    Attributes:
        name: As it is on the menu.
        extras: What comes with it.
        instead: What else to bring if there is none left.
    """

    name: str
    extras: list[Any]
    instead: "Dish | None"


@dataclass
class Silent:
    """A guest."""

    name: str
    friend: "Silent | None"
    dishes: list[Dish]


@tool
def book_table(guests: int, course: Course, wish: Annotated[str, "Anything the guests want."] = "") -> str:
    """Book a table.

    Args:
        guests: How many people come.
        course: Where the meal begins.
    """
    return "booked"


def made(hint: Any = str, description: str = "What the guests asked for.", name: str = "wish", **options: Any) -> Tool:
    """A tool in order, with one parameter that may not be."""

    def note(given: Any) -> str:
        return "noted"

    note.__annotations__["given"] = Annotated[hint, description] if description else hint
    return tool(_renamed(note, name), name="note_wish", description="Note down a wish.", **options)


def _renamed(function: Callable[..., str], name: str) -> Callable[..., str]:
    namespace: dict[str, Any] = {"hint": function.__annotations__["given"]}
    exec(f"def note({name}: hint) -> str: return 'noted'", namespace)
    renamed: Callable[..., str] = namespace["note"]
    return renamed


def named(name: str, description: str = "") -> Tool:
    return tool(lambda: "done", name=name, description=description or f"Do what {name} does, and nothing else.")


def test_there_is_nothing_to_say_of_a_tool_in_order() -> None:
    assert lint_tools([book_table]) == []
    assert lint_tools([made()]) == []
    assert lint_tools([]) == []


@pytest.mark.parametrize(
    ("hint", "place", "begins"),
    [
        (Any, "wish", "may be anything; "),
        (object, "wish", "may be anything; "),
        (Any | None, "wish", "may be anything; "),
        (list, "wish", "is a list of anything; "),
        (tuple, "wish", "is a list of anything; "),
        (list[Any], "wish", "is a list of anything; "),
        (dict, "wish", "is an object with any members; "),
        (dict[str, Any], "wish", "is an object with any members; "),
        (list[dict], "wish", "is an object with any members; "),  # type: ignore[type-arg]
        (list[Any] | None, "wish", "is a list of anything; "),
        (Dish, "wish.extras", "is a list of anything; "),
        (list[Dish], "wish.extras", "is a list of anything; "),
        (dict[str, int], "wish", "cannot be strict: it takes members of any name, "),
        (tuple[int, str], "wish", "cannot be strict: it is a tuple of several types; "),
    ],
    ids=str,
)
def test_a_type_that_leaves_open_what_to_write_is_named_once(hint: Any, place: str, begins: str) -> None:
    (advice,) = lint_tools([made(hint)])
    assert (advice.tool, advice.parameter) == ("note_wish", place)
    assert advice.what.startswith(begins)


@pytest.mark.parametrize("hint", [str, int, bool | None, list[str], Literal["a"], Course, tuple[int, ...]], ids=str)
def test_a_type_that_says_what_to_write_is_left_alone(hint: Any) -> None:
    assert lint_tools([made(hint)]) == []


@pytest.mark.parametrize(
    ("description", "listed"),
    [
        ("asc, desc or none", "asc, desc or none"),
        ("The order: asc or desc.", "asc or desc"),
        ("The order (asc, desc, or none).", "asc, desc, or none"),
        ("How to sort, one of asc, desc.", "asc, desc"),
        ("Either Celsius or Fahrenheit.", "Celsius or Fahrenheit"),
        ("Sort by 'price' or 'name', please.", "'price' or 'name'"),
        ("Must be `a`, `b`, or `c`.", "`a`, `b`, or `c`"),
        ("The order: asc|desc", "asc|desc"),
    ],
)
def test_a_text_whose_description_lists_its_values_should_be_a_literal(description: str, listed: str) -> None:
    for hint in (str, str | None, list[str]):
        (advice,) = lint_tools([made(hint, description)])
        assert advice.what == (
            f"is any string, but its description lists {listed!r}; if these are all, make it a Literal or an Enum"
        )
    assert lint_tools([made(Literal["asc", "desc"], description)]) == []


@pytest.mark.parametrize(
    "description",
    [
        "A name, an address or a number.",
        "The guest's name or table.",
        "A city, such as Paris, London or Rome.",
        "For example: soup or salad.",
        "Leave it out, or say why.",
        "Can be empty or null.",
        "What to search for, in title and/or text.",
    ],
)
def test_a_description_that_lists_no_values_is_left_alone(description: str) -> None:
    assert lint_tools([made(str, description)]) == []


@pytest.mark.parametrize(
    ("advised", "begins"),
    [
        (made(description=""), "has no description; describe it below Args:"),
        (made(description="The wish."), "has a description, 'The wish.', that only repeats its name; "),
        (made(name="arg1"), "has a name that says nothing; name it for what it holds"),
    ],
    ids=lambda value: "",
)
def test_a_parameter_is_to_be_named_and_described(advised: Tool, begins: str) -> None:
    (advice,) = lint_tools([advised])
    assert advice.parameter
    assert advice.what.startswith(begins)


@pytest.mark.parametrize(
    ("advised", "begins"),
    [
        (tool(lambda: "", name="list_days"), "has no description; say in its docstring what it does"),
        (named("list_days", "Days."), "has the short description 'Days.'; "),
        (named("run"), "has a name that says nothing; "),
        (named("tool_2"), "has a name that says nothing; "),
        (named("x"), "has a name that says nothing; "),
        (named("list_days", "Say it. " * 600), "takes 4,972 bytes of each request, more than 4,096; "),
    ],
    ids=lambda value: "",
)
def test_a_tool_is_to_be_named_and_described_and_small(advised: Tool, begins: str) -> None:
    (advice,) = lint_tools([advised])
    assert advice.parameter == ""
    assert advice.what.startswith(begins)


def test_the_fields_of_a_class_are_to_be_described_and_each_class_is_looked_at_once() -> None:
    def seat(guest: Silent, others: list[Silent]) -> None:
        """Seat the guests.

        Args:
            guest: Who sits at the window.
            others: Who comes later.
        """

    assert [(each.parameter, each.what) for each in lint_tools([tool(seat, strict=False)])] == [
        (place, "has no description; describe it in the docstring of its class, or in a string on the line below it")
        for place in ("guest.name", "guest.friend", "guest.dishes")
    ] + [("guest.dishes.extras", "is a list of anything; say of what, as in list[str]")]


def test_a_description_without_spaces_between_its_words_is_not_too_short() -> None:
    assert lint_tools([named("list_days", "列出所有预订的日子")]) == []


@pytest.mark.parametrize(("count", "advised"), [(8, 0), (9, 1)])
def test_more_than_eight_parameters_are_too_many(count: int, advised: int) -> None:
    properties = {f"day{number}": {"type": "integer", "description": "Guests expected."} for number in range(count)}
    many = Tool.from_schema("note_days", "Note down many days.", {"properties": properties}, lambda *_: "")
    assert len(lint_tools([many])) == advised


@pytest.mark.parametrize(
    ("one", "other"),
    [("get_user", "getUser"), ("get_user", "get_users"), ("search", "search2"), ("forecast", "forcast")],
)
def test_names_that_differ_only_little_are_told_of_the_later_tool(one: str, other: str) -> None:
    (advice,) = lint_tools([named(one), named(other)])
    assert advice == LintWarning(other, "", f"has nearly the name of {one!r}; give one of them a name of other words")


@pytest.mark.parametrize(("one", "other"), [("get_user", "set_user"), ("add", "and_then"), ("book", "cancel")])
def test_names_that_differ_are_left_alone(one: str, other: str) -> None:
    assert lint_tools([named(one), named(other)]) == []


def test_two_tools_with_the_same_description_are_named() -> None:
    (advice,) = lint_tools([named("book", "Book a table."), named("reserve", "book a  table")])
    assert (advice.tool, advice.what.partition(";")[0]) == ("reserve", "has the same description as 'book'")


def test_a_tool_that_is_meant_not_to_be_strict_is_not_advised_to_be() -> None:
    assert lint_tools([made(dict[str, int], strict=False)]) == []


def test_the_schema_of_somebody_else_is_read_however_odd_it_is() -> None:
    properties = {
        "node": {"$ref": "#/$defs/Node", "description": "Where to begin."},
        "free": True,
        "many": {"type": ["string", "null"], "description": "How many."},
        "gone": {"$ref": "#/$defs/Gone", "description": "Points nowhere."},
    }
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "data": {}}}
    odd = Tool.from_schema(
        "walk_tree", "Walk along a tree.", {"properties": properties, "$defs": {"Node": node}}, lambda *_: ""
    )
    assert [(each.parameter, each.what.partition(";")[0]) for each in lint_tools([odd])] == [
        ("node.next", "has no description"),
        ("node.data", "has no description"),
        ("node.data", "may be anything"),
        ("free", "has no description"),
        ("free", "may be anything"),
    ]


def test_what_agents_take_is_taken() -> None:
    def fetch() -> None: ...

    tools: list[ToolLike] = [fetch, Toolset(book_table).prefixed("shop_"), book_table]
    assert [str(each).partition(";")[0] for each in lint_tools(tools)] == [
        "tool 'fetch': has no description",
        "tool 'book_table': has the same description as 'shop_book_table'",
    ]
    assert lint_tools(Toolset(book_table)) == []
    with pytest.raises(DefinitionError, match="two tools are named"):
        lint_tools([book_table, book_table])


def test_advice_is_a_sentence() -> None:
    whole, part = LintWarning("order", "", "has no description"), LintWarning("order", "dish.name", "may be anything")
    assert str(whole) == "tool 'order': has no description"
    assert str(part) == "tool 'order': parameter 'dish.name' may be anything"


def test_a_parameter_without_an_annotation_is_mentioned_once() -> None:
    def find(color, year=1990, *, limit: int = 3):  # type: ignore[no-untyped-def]
        """Find a bottle.

        Args:
            color (str): What the guest prefers.
            year: When it was made.
            limit: Most bottles to show.
        """

    assert [(each.parameter, each.what) for each in lint_tools([find])] == [
        ("color", "has no type annotation; write one, for example color: str"),
        ("year", "has no type annotation; write one, for example year: str"),
    ]


def can(name: str, *access: Any, **options: Any) -> Tool:
    return tool(named(name), access=access, **options)


READS, BROWSES, SENDS = can("read_mail", "private"), can("browse_web", "untrusted"), can("send_letter", "outside")


def test_the_tool_that_completes_what_can_leak_private_data_is_named() -> None:
    (warning,) = lint_tools([SENDS, READS, BROWSES, can("fetch_news", "untrusted")])
    assert str(warning) == (
        "tool 'browse_web': completes what can leak private data without an approval: read_mail reads private data, "
        "browse_web reads untrusted content, send_letter talks to the outside; leave one of the three out, or require "
        "approval of all tools that can do it"
    )
    (alone,) = lint_tools([can("use_computer", "private", "untrusted", "outside")])
    assert alone.tool == "use_computer"


@pytest.mark.parametrize("kind", ["private", "untrusted", "outside"])
def test_two_of_the_three_or_an_approval_of_one_are_no_warning(kind: str) -> None:
    others = [each for each in (READS, BROWSES, SENDS) if kind not in each.access]
    assert lint_tools(others) == []
    assert lint_tools([*others, can("do_third", kind, requires_approval=True)]) == []
    assert lint_tools([*others, can("do_third", kind, requires_approval=lambda context, arguments: "look")]) == []
    assert len(lint_tools([*others, can("do_third", kind)])) == 1


def test_an_agent_as_a_tool_can_do_what_its_tools_can_without_an_approval() -> None:
    waiting = can("call_bank", "outside", requires_approval=True)
    agent = Agent(
        ScriptedModel([]), tools=[READS, BROWSES, waiting], name="clerk", description="Look up what is known."
    )
    assert set(agent.as_tool().access) == {"private", "untrusted"}
    assert set(agent.replace(requires_approval=True).as_tool().access) == set()
    assert set(agent.as_tool(access=["outside"]).access) == {"outside"}


@pytest.mark.parametrize("access", ["private", ["secret"], [""]], ids=["string", "unknown", "empty"])
def test_access_of_another_kind_is_refused(access: Any) -> None:
    with pytest.raises(DefinitionError, match=r"tool 'look_up': access=.* must be a list of 'private', 'untrusted'"):
        tool(named("look_up"), access=access)
