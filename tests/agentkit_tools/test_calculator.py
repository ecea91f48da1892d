"""Arithmetic: exact, bounded, and never run as code."""

import ast
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from agentkit_tools import Calculator
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import ToolError
from agentkit.testing import lint_tools

calculate = Calculator().calculate


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("2+2", "4"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "1/3 ≈ 0.333333333333333333333333333333"),
        ("1/8", "0.125"),
        ("-2^2", "-4"),
        ("2^3^2", "512"),
        ("2 ** -1", "0.5"),
        ("(1 + 2) * 3", "9"),
        ("15% of 80", "12"),
        ("50% * 50%", "0.25"),
        ("17 % 5", "2"),
        ("-7 mod 3", "2"),
        ("7 // 2", "3"),
        ("1,234.5 + 1", "1235.5"),
        ("(1,200 + 1)", "1201"),
        ("max(1,200)", "200"),
        ("3 million * 2", "6000000"),
        ("2 dozen", "24"),
        ("10!", "3628800"),
        ("2^100", "1267650600228229401496703205376"),
        ("sqrt(16)", "4"),
        ("√ 2", "≈ 1.4142135623731"),
        ("9 \u00d7 3 ÷ 2 =", "13.5"),
        ("mean(1, 2, 4)", "7/3 ≈ 2.33333333333333333333333333333"),
        ("median(1, 5, 2, 8)", "3.5"),
        ("round(2.345, 2)", "2.35"),
        ("round(-2.5)", "-3"),
        ("gcd(12, 18) + lcm(4, 6)", "18"),
        ("log(8, 2)", "≈ 3"),
        ("log 1000", "≈ 3"),
        ("sin(pi / 2)", "≈ 1"),
        ("1e3 + .5", "1000.5"),
        ("0 * 5", "0"),
        ("sum(1) + abs(-3) + floor(2.9) + ceil(2.1) + min(4, 2)", "11"),
    ],
)
def test_exact_results(expression: str, shown: str) -> None:
    assert calculate(expression).content == shown


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "at the end"),
        ("2 +", "at the end"),
        ("((1", "at the end"),
        ("1 2", "at '2'"),
        ("(1, 2)", "cannot be read"),
        ("import os", "at 'import'"),
        ("__import__('os')", "at '_'"),
        ("abs.__class__", "cannot be read"),
        ("1/0", "division by zero"),
        ("0^-1", "division by zero"),
        ("5 % 0", "division by zero"),
        ("100 + 10%", "two things"),
        ("9^9^9^9", "more digits"),
        ("10^10^10", "more digits"),
        ("1e99999", "more digits"),
        ("99999!", "0 to 1500"),
        ("exp(10000)", "too large"),
        ("sqrt(-1)", "negative"),
        ("(-8)^(1/3)", "negative"),
        ("ln(0)", "not a real number"),
        ("gcd(1.5, 2)", "whole numbers"),
        ("sqrt(1, 2)", "takes 1"),
        ("(" * 5000, "more than 2000 characters"),
        ("(" * 900 + "1" + ")" * 900, "brackets"),
        ("-" * 1900 + "1", "signs"),
        ("2" + "^2" * 900, "signs"),
        ("sqrt " * 300 + "1", "signs"),
    ],
    ids=lambda value: value[:20] or "empty",
)
def test_what_cannot_be_calculated_is_said_in_a_sentence(expression: str, complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        calculate(expression)


NODES = st.recursive(
    st.integers(0, 999).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "**"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2] if parts[1] != '**' else '3'})"
    ),
    max_leaves=8,
)
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda left, right: Fraction(left // right),
    ast.Pow: operator.pow,
}


def python_says(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int)
        return Fraction(node.value)
    assert isinstance(node, ast.BinOp)
    result: Fraction = OPERATORS[type(node.op)](python_says(node.left), python_says(node.right))
    return result


@given(NODES)
def test_it_agrees_with_fractions_of_python(expression: str) -> None:
    try:
        expected = python_says(ast.parse(expression, mode="eval").body)
    except ZeroDivisionError:
        with pytest.raises(ToolError, match="division by zero"):
            calculate(expression)
        return
    shown = calculate(expression).content.partition(" ≈ ")[0]
    assert Fraction(shown) == expected


@given(st.text("0123456789.,+-*/^%!() exsqrtpiofmodmillion", max_size=60))
def test_whatever_is_written_gives_a_number_or_a_sentence(expression: str) -> None:
    try:
        told = calculate(expression).content
    except ToolError as error:
        told = str(error)
    assert told


def test_a_model_could_not_misread_it() -> None:
    assert lint_tools([Calculator()]) == []
