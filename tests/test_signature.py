from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, NotRequired, Optional, Required, TypedDict

import pytest
from pydantic import BaseModel, Field

from agentkit.errors import DefinitionError, ToolError
from agentkit.tools.arguments import validate_arguments
from agentkit.tools.context import ToolContext
from agentkit.tools.docstrings import attribute_docs, class_summary
from agentkit.tools.signature import name_of, read_signature
from agentkit.tools.tool import tool


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Tree(BaseModel):
    title: str
    children: list[Tree] = []


class Unknown:
    """Neither pydantic nor JSON knows what it is."""


@dataclasses.dataclass
class Doc:
    documentation: str


def takes(hint: Any) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    return function


def properties_of(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = read_signature(function).parameters["properties"]
    return found


def call(function: Callable[..., Any], arguments: dict[str, Any], context: ToolContext[Any] | None = None) -> Any:
    signature = read_signature(function)
    args, kwargs = signature.bind(validate_arguments(signature, arguments), context)
    return function(*args, **kwargs)


def context() -> ToolContext[Any]:
    return ToolContext(
        deps=None, run_id="r", turn=1, call_id="c", tool="t", idempotency_key="k", emit=lambda event: None
    )


# The schema; the table in `tests.signatures` has one for each type and each kind of function.


@pytest.mark.parametrize(
    "hint", [Annotated[str, Field(description="Mine.")], Annotated[str, "Mine."], Annotated[str, Doc("Mine.")]]
)
def test_a_description_in_annotated_wins_over_the_docstring(hint: Any) -> None:
    function = takes(hint)
    function.__doc__ = "Go.\n\nArgs:\n    x: Of the docstring.\n"
    assert read_signature(function).parameters["properties"]["x"]["description"] == "Mine."


def test_a_recursive_definition_stays_apart_and_keeps_a_property_named_title() -> None:
    def plant(tree: Tree) -> None: ...

    tree = read_signature(plant).parameters["$defs"]["Tree"]
    assert "title" not in tree
    assert list(tree["properties"]) == ["title", "children"]
    assert tree["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_a_default_that_json_cannot_express_is_not_shown_but_used() -> None:
    here = Unknown()

    def function(x: Any = here, y: float = float("nan")) -> Any:
        return x

    assert read_signature(function).parameters["properties"] == {"x": {}, "y": {"type": "number"}}
    assert call(function, {}) is here


def test_what_does_not_matter_does_not_fail() -> None:
    def function(x: int, context: ToolContext[Nowhere], y: Any = object()) -> AlsoNowhere:  # type: ignore[name-defined] # noqa: B008, F821
        return x

    function.__annotations__["context"] = ToolContext[Any]
    assert list(properties_of(function)) == ["x", "y"]


# What a function may look like.


class Shelf(BaseModel):
    label: str = "none"
    sizes: dict[str, int] = {}


def test_null_leaves_out_a_property_but_never_a_key_of_a_free_dict() -> None:
    def function(
        scores: dict[str, int] = {},  # noqa: B006
        shelves: dict[str, Shelf] = {},  # noqa: B006
        numbered: dict[int, int] = {},  # noqa: B006
        pair: tuple[Shelf, int] | None = None,
        n: int = 3,
        **more: int,
    ) -> Any:
        return scores, shelves, numbered, pair, n, more

    declared = {"shelves": {"a": {"label": None}}, "pair": [{"sizes": None}, 1], "n": None}
    assert call(function, declared) == ({}, {"a": Shelf()}, {}, (Shelf(), 1), 3, {})
    free: list[dict[str, Any]] = [
        {"scores": {"a": None, "b": 1}},
        {"scores": {"n": None}},
        {"numbered": {"1": None}},
        {"shelves": {"a": None}},
        {"shelves": {"a": {"sizes": {"label": None}}}},
        {"extra": None},
    ]
    for arguments in free:
        with pytest.raises(ToolError):
            call(function, arguments)


class Service:
    """A service."""

    def search(self, query: str) -> str:
        """Search it.

        Args:
            query: What for.
        """
        return query

    def anything(self, **words: str) -> Any:
        return words

    def __call__(self, n: int) -> int:
        return n


def test_methods_and_callable_objects_and_classes_are_functions_too() -> None:
    service = Service()
    assert list(read_signature(service.search).parameters["properties"]) == ["query"]
    assert read_signature(service.search).description == "Search it."
    assert (name_of(service), read_signature(service).description) == ("Service", "A service.")
    assert call(service, {"n": 2}) == 2
    assert call(Point, {"x": 2}) == Point(2)


def test_what_a_partial_gives_is_hidden_from_the_model() -> None:
    def fetch(url: str, key: str, retries: int = 2, **options: str) -> Any:
        """Fetch it."""
        return url, key, retries

    bound = functools.partial(fetch, key="secret")
    signature = read_signature(bound)
    assert (signature.name, signature.description) == ("fetch", "Fetch it.")
    assert list(signature.parameters["properties"]) == ["url", "retries"]
    assert call(bound, {"url": "u"}) == ("u", "secret", 2)
    with pytest.raises(ToolError, match="key: there is no such parameter"):
        call(bound, {"url": "u", "key": "mine"})


def test_secrets_that_a_partial_gives_stay_hidden_in_every_kind_of_signature() -> None:
    def fetch(url: str, /, key: str, *, more: int = 1, **rest: Any) -> Any:
        return url, key, more, rest

    bound = functools.partial(fetch, "u", key="secret")
    assert list(properties_of(bound)) == ["more"]
    for name in ("url", "key"):
        with pytest.raises(ToolError, match=f"{name}: there is no such parameter"):
            call(bound, {name: "mine"})


# The context.


def test_the_context_may_be_any_parameter_and_is_never_in_the_schema() -> None:
    def first(ctx: ToolContext[str], x: int) -> Any:
        return ctx

    def positional(x: int, ctx: ToolContext, /) -> Any:  # type: ignore[type-arg]
        return ctx

    def keyword(x: int, *, ctx: Annotated[ToolContext[Any] | None, "it"] = None) -> Any:
        return ctx

    def old(x: int, ctx: Optional[ToolContext[Any]] = None, *more: int) -> Any:  # noqa: UP045
        return ctx

    given = context()
    for function in (first, positional, keyword, old):
        signature = read_signature(function)
        assert signature.context == "ctx"
        assert "ctx" not in signature.parameters["properties"]
        assert call(function, {"x": 1}, given) is given


def test_a_model_cannot_give_the_context_or_the_object_as_a_keyword() -> None:
    def function(ctx: ToolContext[Any], **words: Any) -> Any:
        return ctx

    with pytest.raises(ToolError, match="ctx: there is no such parameter"):
        call(function, {"ctx": 1}, context())
    with pytest.raises(ToolError, match="self: there is no such parameter"):
        call(Service().anything, {"self": "x"})


# What is written about parameters.


class Mood(enum.Enum):
    """A mood.

    Attributes:
        BAD: Not good.
    """

    GOOD = 1
    """Like the sun."""
    BAD = 2


class Base(BaseModel):
    first: int
    """From the base."""


class Derived(Base):
    """Derived.

    Args:
        third: From the docstring.
    """

    second: Annotated[int, "From the note."] = 0
    """Not read."""
    third: int = Field(0, alias="Third")
    fourth: int = Field(0, description="From the field.")
    """Not read."""


class Place(NamedTuple):
    x: int
    """Across."""


class Options(TypedDict, total=False):
    """Options.

    Attributes:
        size: The size.
    """

    size: Required[int]
    color: NotRequired[Annotated[str, "The color."]]
    depth: int
    """The depth."""


@dataclasses.dataclass
class Note:
    text: str


def test_what_is_written_at_an_attribute_describes_it() -> None:
    def function(mood: Mood, derived: Derived, place: Place, options: Options) -> None: ...

    found = properties_of(function)
    assert found["mood"]["description"] == "A mood.\n- 1: Like the sun.\n- 2: Not good."
    assert found["derived"]["description"] == "Derived."
    described = {name: each["description"] for name, each in found["derived"]["properties"].items()}
    assert described == {
        "first": "From the base.",
        "second": "From the note.",
        "Third": "From the docstring.",
        "fourth": "From the field.",
    }
    assert found["place"]["properties"]["x"]["description"] == "Across."
    assert [each.get("description") for each in found["options"]["properties"].values()] == [
        "The size.",
        "The color.",
        "The depth.",
    ]


def test_a_class_without_source_has_only_its_docstring() -> None:
    space: dict[str, Any] = {"dataclass": dataclasses.dataclass}
    exec("@dataclass\nclass Made:\n    '''Made.'''\n    x: int\n    'Not found.'\n", space)
    assert (attribute_docs(space["Made"]), class_summary(space["Made"])) == ({}, "Made.")
    assert class_summary(Note) == ""


def test_undocumented_parameters_can_be_refused() -> None:
    def search(words: str, limit: Annotated[int, "The most."] = 1) -> None:
        """Search."""

    def found(words: str) -> None:
        """Search.

        Args:
            words: What for.
        """

    def silent() -> None: ...

    with pytest.raises(
        DefinitionError, match=r"tool 'search': parameter 'words' is not documented; describe it below Args:"
    ):
        tool(search, require_docs=True)
    with pytest.raises(DefinitionError, match="tool 'silent' has no description"):
        tool(require_docs=True)(silent)
    assert tool(found, require_docs=True).name == "found"
    assert tool(silent, require_docs=True, description="Nothing.").name == "silent"


# Parameters without an annotation.


def test_a_parameter_without_an_annotation_takes_any_json_value_or_the_type_of_its_default() -> None:
    def plain(x, limit=10, name="a", flag=False, factor=1.5, other=None):  # type: ignore[no-untyped-def]
        return x, limit, name, flag, factor, other

    assert {name: each.get("type", "any") for name, each in properties_of(plain).items()} == {
        "x": "any", "limit": "integer", "name": "string", "flag": "boolean", "factor": "number", "other": "any",
    }  # fmt: skip
    value: Any
    for value in ("text", 1, 1.5, True, None, [1, {"a": None}], {"b": []}):
        assert call(plain, {"x": value})[0] == value
    assert read_signature(plain).parameters["required"] == ["x"]


def test_a_function_of_another_language_and_bare_stars_are_taken_too() -> None:
    def sum_up(*numbers, **names):  # type: ignore[no-untyped-def]
        return numbers, names

    assert call(sum_up, {"numbers": [1, "b"], "extra": 2}) == ((1, "b"), {"extra": 2})
    assert call(len, {"obj": [1, 2]}) == 2


NUMPY = """Resample.

    Parameters
    ----------
    x : int
        The samples.
    how : {'mean', 'sum'}, optional
        What to do.
    names, labels : list of str
        Of the columns.
    factor : float or None
        By what.
    fill : array_like
        What else.
    """
EPYTEXT = """Resample.

    @param x: The samples.
    @type x: int
    @param how: What to do.
    @type how: {'mean', 'sum'}
    @type names: list[str]
    @type labels: list of str
    @type factor: float | None
    @type fill: something else
    """
REST = """Resample.

    :param int x: The samples.
    :param how: What to do.
    :type how: Literal['mean', 'sum']
    :type names: List[str]
    :type labels: list[string]
    :type factor: Optional[float]
    :type fill: __import__("os").system("true")
    """
GOOGLE = """Resample.

    Args:
        x (int): The samples.
        how ({'mean', 'sum'}, optional): What to do.
        names (list[str]): Of the columns.
        labels (list of strings): Of the columns.
        factor (float, or None): By what.
        fill (dict[int, int] | 5): What else.
    """


@pytest.mark.parametrize("text", [NUMPY, EPYTEXT, REST, GOOGLE], ids=["numpy", "epytext", "rest", "google"])
def test_a_parameter_without_an_annotation_has_the_type_that_the_docstring_names(text: str) -> None:
    def resample(x, how="mean", names=(), labels=(), factor=None, fill=None):  # type: ignore[no-untyped-def]
        return x

    resample.__doc__ = text
    found = properties_of(resample)
    bare = {
        name: {key: each[key] for key in each if key not in ("description", "default")} for name, each in found.items()
    }
    strings = {"type": "array", "items": {"type": "string"}}
    assert bare == {
        "x": {"type": "integer"},
        "how": {"enum": ["mean", "sum"], "type": "string"},
        "names": strings,
        "labels": strings,
        "factor": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "fill": {},
    }


def test_an_annotation_takes_precedence_over_the_type_in_the_docstring() -> None:
    def function(x: int) -> None:
        """Do it.

        Args:
            x (str): What.
        """

    assert properties_of(function)["x"]["type"] == "integer"


@pytest.mark.parametrize(
    ("hint", "deps"),
    [
        (ToolContext, None),
        (ToolContext[Any], None),
        (ToolContext[Point], Point),
        (ToolContext[Point] | None, Point),
        (Annotated[ToolContext[None], "x"], type(None)),
        (ToolContext[Point | None], Point | None),
    ],
    ids=str,
)
def test_the_type_of_the_dependencies_is_that_of_the_context(hint: Any, deps: Any) -> None:
    assert read_signature(takes(hint)).deps_type == deps
    assert tool(takes(hint), name="f").deps_type == deps
    assert read_signature(takes(int)).deps_type is None
