from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.docstrings import Docstring, read_docstring

STYLES = {
    "google": """Get the weather.

    Slow at night.

    Args:
        city: City name,
            in English.
        unit (str, optional): The unit.
        *more: Other cities.

    Returns:
        The weather.
    """,
    "numpy": """Get the weather.

    Slow at night.

    Parameters
    ----------
    city : str
        City name,
        in English.
    unit : str, optional
        The unit.
    *more
        Other cities.

    Returns
    -------
    str
        The weather.
    """,
    "rest": """Get the weather.

    Slow at night.

    :param city: City name,
        in English.
    :param str unit: The unit.
    :param more: Other cities.
    :returns: The weather.
    """,
    "epytext": """Get the weather.

    Slow at night.

    @param city: City name,
        in English.
    @param unit: The unit.
    @param more: Other cities.
    @return: The weather.
    """,
}


@pytest.mark.parametrize("style", STYLES)
def test_each_style_gives_the_same_summary_and_parameters(style: str) -> None:
    assert read_docstring(STYLES[style]) == Docstring(
        "Get the weather.\n\nSlow at night.",
        {"city": "City name,\nin English.", "unit": "The unit.", "more": "Other cities."},
    )


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_no_docstring_says_nothing(text: str | None) -> None:
    assert read_docstring(text) == Docstring("", {})


def test_a_docstring_without_sections_is_its_text() -> None:
    assert read_docstring("Line one\n    goes on: here.\n\n    - a\n    - b\n").summary == (
        "Line one\ngoes on: here.\n\n- a\n- b"
    )


def test_numpy_style_describes_several_parameters_at_once() -> None:
    text = "Add.\n\nParameters\n----------\nx, y : int\n    A number.\n"
    assert read_docstring(text).parameters == {"x": "A number.", "y": "A number."}


def test_a_parameter_without_a_description_is_left_out() -> None:
    assert read_docstring("Go.\n\n:param x:\n:param y: Why.").parameters == {"y": "Why."}


@pytest.mark.parametrize(
    "text", ["Args:\n  x", "Go.\n\n:param", ":", "@", "@param", "Parameters\n----------\n", "Args:\n\n  : : :", "\0"]
)
def test_a_broken_docstring_is_no_error(text: str) -> None:
    assert isinstance(read_docstring(text).summary, str)


@given(st.lists(st.sampled_from(["Args:", "    x: y", ":param a b: c", "@param x", "----", "Parameters", "", "é: ü"])))
def test_no_docstring_whatever_raises(lines: list[str]) -> None:
    read_docstring("\n".join(lines))


# Written loosely.

LOOSE = {
    "no indentation": "Go.\n\nParameters:\ncity: The city.\nunit (str): The unit.",
    "dashes": "Go.\n\nArgs:\n  city - The city.\n  unit -- The unit.\nReturns: nothing",
    "bullets with types": "Go.\n\nArguments\n- `city` (str) -- The city.\n- `unit`: The unit.\n\nMore.",
    "bullets": "Go.\n\nArgs:\n* **city**: The city.\n* **unit**: The unit.",
    "numbers": "Go.\n\nInputs:\n1. city = The city.\n2. unit = The unit.",
    "missing spaces": "Go.\nArgs:\n    city(str):The city.\n    unit:The unit.",
    "types behind": "Go.\n\nArgs:\n    city: (str, optional) The city.\n    unit: [int] The unit.",
    "nested types": 'Go.\n\nArgs:\n    city (dict[str, list[int]]): The city.\n    unit (Literal["a", "b"]): The unit.',
    "markdown headline": "Go.\n\n## Parameters\n\n- **city** (*str*): The city.\n- **unit**: The unit.",
    "bold headline": "Go.\n\n**Args:**\n    city: The city.\n    unit: The unit.",
    "jsdoc": "Go.\n\n@param {str} city - The city.\n@param {str} unit - The unit.\n@returns nothing",
    "doxygen": "Go.\n\\param city The city.\n\\param unit The unit.\n\\return nothing",
    "bare fields": "Go.\n\n:city: The city.\n:unit: The unit.",
    "no headline": "Go.\n\ncity: The city.\nunit: The unit.",
    "headline in the line": "Go.\n\nArgs: city: The city.\n      unit: The unit.",
    "own lines": "Go.\n\nArgs:\n    city:\n        The city.\n    unit:\n        The unit.",
    "columns": "Go.\n\nArgs:\n    city     The city.\n    unit     The unit.",
    "short underline": "Go.\n\nParameters\n---\ncity : str\n    The city.\nunit\n    The unit.\n",
    "keyword section": "Go.\n\nArgs:\n    city: The city.\n\nKeyword Args:\n    unit: The unit.",
    "upper case": "Go.\n\nARGS:\n  city: The city.\n  unit: The unit.",
    "quotes": "Go.\n\nArgs:\n    'city': The city.\n    \"unit\": The unit.",
    "sphinx without space": "Go.\n\n:param city:The city.\n:param unit:The unit.",
    "half in style": "Go.\n\nArgs:\n    city: The city.\n\n:param unit: The unit.",
}


@pytest.mark.parametrize("way", LOOSE)
def test_a_loosely_written_docstring_is_read_as_a_person_would(way: str) -> None:
    assert read_docstring(LOOSE[way], ["city", "unit"]) == Docstring("Go.", {"city": "The city.", "unit": "The unit."})


def test_a_loose_description_goes_over_lines_and_paragraphs() -> None:
    city = "- city - The city,\n  in English.\n\n  Or in French."
    text = f"Go.\n\nParameters:\n{city}\n- unit - The unit.\n\nReturns:\n  unit: no."
    assert read_docstring(text, ["city", "unit"]).parameters == {
        "city": "The city,\nin English.\n\nOr in French.",
        "unit": "The unit.",
    }


def test_what_is_said_of_other_names_belongs_to_no_parameter() -> None:
    text = "Go.\n\nArgs:\ncity - The city.\nother: Something else.\nunit - The unit."
    assert read_docstring(text, ["city", "unit"]).parameters == {"city": "The city.", "unit": "The unit."}


def test_a_sentence_that_has_a_parameters_name_in_it_is_part_of_the_summary() -> None:
    text = "Go to the city: it is nice.\n\nThe unit matters - a lot.\ncity maps are sold there."
    assert read_docstring(text, ["city", "unit"]) == Docstring(text, {})


@given(
    st.lists(
        st.sampled_from(
            ["Args:", "  x: y", "x - z", "- `x`", ":param x", "@x", "---", "x", "", "1. x = 2", "\\param x q"]
        )
    )
)
def test_no_loose_docstring_whatever_raises(lines: list[str]) -> None:
    # A name that is no parameter's is harmless: descriptions are looked up by the names of the signature.
    assert set(read_docstring("\n".join(lines), ["x"]).parameters) <= {"x", "param", "arg_name", "Args"} | {"y", "z"}


@given(st.text())
def test_any_text_is_a_docstring(text: str) -> None:
    read_docstring(text, ["x", "y"])


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "Do it.\n\n:param" + " " * size + "x",
        lambda size: "Do it.\n\n:param " + "a " * (size // 2) + ": x",
        lambda size: "Do it.\n\n:param " + "a, " * (size // 3) + "b",
        lambda size: "Do it.\n\n@param {" + "a" * size,
        lambda size: "Do it.\n\nx" + " " * size + "y",
        lambda size: "Do it.\n\n- x" + " " * size + "(" * size,
        lambda size: "Do it.\n\nArgs" + " " * size + "x",
        lambda size: "Do it.\n\n" + "*" * size + "Args" + "*" * size + "x",
        lambda size: "Do it.\n\nReturns" + "= " * size + "x",
        lambda size: "Do it.\n\nArgs:\n    x: " + "(optional" * (size // 9),
        lambda size: "Do it.\n\nArgs:\n    x: (str" + "[" * size,
        lambda size: "Do it.\n\nArgs:\n    x: y\n      " + "[" * size + ":",
        lambda size: "Do it.\n\n" + ("Args:\n    x: y\n" * (size // 14)),
        lambda size: "Do it.\n\n" + "\n" * size + "x: y",
        lambda size: "Do it.\n\n" + "`" * size,
        lambda size: "Do it.\n\nArgs:\n    x:\n" + "        more\n" * (size // 12),
    ],
    ids=range(16),
)
def test_reading_takes_time_in_proportion_to_the_length(make: Callable[[int], str]) -> None:
    def seconds(size: int) -> float:
        text = make(size)
        spent: list[float] = []
        for _ in range(3):
            started = time.process_time()
            read_docstring(text, ["x"])
            spent.append(time.process_time() - started)
        return min(spent)

    size = 4_000
    while (once := seconds(size)) < 0.005 and size < 500_000:  # long enough to be measured
        size *= 2
    assert seconds(2 * size) < 3 * once + 0.01  # quadratic would be 4 times as long
