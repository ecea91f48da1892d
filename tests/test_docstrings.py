from __future__ import annotations

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
