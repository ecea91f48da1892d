"""`Calculator`: exact arithmetic, in the notation of people and programs, never evaluated as code."""

from __future__ import annotations

import decimal
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, NoReturn

from agentkit import tool
from agentkit.errors import ModelRetry, ToolError
from agentkit.tools import ToolResult, Toolset

__all__ = ["Calculator"]

_LONGEST = 2000  # characters of an expression
_DEEPEST = 50  # levels of nested brackets
_MOST_BITS = 20_000  # bits of a number: about 6,000 digits
_DIGITS = 30  # digits shown of an infinite expansion
_SYMBOL = re.compile(
    r"\s*(?:(?P<number>(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,5})?)"
    r"|(?P<name>[A-Za-z]\w*)|(?P<sign>\*\*|//|[-+*/^%!(),\u00d7÷·\u2212√π]))"
)
_THOUSANDS = re.compile(r"\s*(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?)")
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SAME = {"\u00d7": "*", "·": "*", "x": "*", "times": "*", "÷": "/", "\u2212": "-", "**": "^", "√": "sqrt", "π": "pi"}


@dataclass(frozen=True, slots=True)
class _Value:
    """A number, and whether it is exact."""

    number: Fraction
    exact: bool = True
    percent: bool = False


class Calculator(Toolset):
    """One tool, ``calculate``: exact results for fractions and decimals, otherwise 15 digits."""

    def __init__(self) -> None:
        super().__init__(tool(self.calculate, read_only=True))

    def calculate(
        self,
        expression: Annotated[
            str,
            "Numbers with + - * / // ^ mod ! ( ), percentages as in 15% of 80, words such as million, pi "
            "and e, the functions sqrt abs round floor ceil min max sum mean median gcd lcm ln log exp sin cos tan.",
        ],
    ) -> ToolResult:
        """Calculate the exact value of an arithmetic expression."""
        value = _Parser(expression).result()
        return ToolResult(_shown(value), _number(value), metadata={"source": "calculator"})


class _Parser:
    """A precedence parser that calculates as it reads."""

    def __init__(self, expression: str) -> None:
        if len(expression) > _LONGEST:
            raise ModelRetry(f"the expression has more than {_LONGEST} characters; calculate it in parts")
        self._text = expression.strip().rstrip("=? ")
        self._place = self._depth = self._calls = 0
        self._kind = self._symbol = ""
        self._next()

    def result(self) -> _Value:
        value = self._sum()
        if self._symbol:
            self._fail()
        return value

    def _next(self) -> str:
        taken = self._symbol
        thousands = None if self._calls else _THOUSANDS.match(self._text, self._place)  # max(1,200) has two numbers
        found = thousands or _SYMBOL.match(self._text, self._place)
        if found is None:
            self._kind = self._symbol = ""
            if self._text[self._place :].strip():
                self._symbol = self._text[self._place :].strip()[0]
                self._fail()
            return taken
        self._kind, self._symbol = str(found.lastgroup), found[str(found.lastgroup)]
        self._place = found.end()
        if self._kind != "number":
            self._symbol = _SAME.get(self._symbol.lower(), self._symbol.lower())
        return taken

    def _fail(self) -> NoReturn:
        where = f"at {self._symbol!r}" if self._symbol else "at the end"
        raise ModelRetry(f"the expression cannot be read {where}: {self._text!r}")

    def _sum(self) -> _Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ModelRetry(f"more than {_DEEPEST} levels of brackets; calculate it in parts")
        left = self._product()
        while self._symbol in ("+", "-"):
            sign = self._next()
            right = self._product()
            if right.percent and not left.percent:
                raise ModelRetry(f"'{sign} ...%' can mean two things: write a * (1 {sign} 10%), or a {sign} 10% of a")
            number = left.number + right.number if sign == "+" else left.number - right.number
            left = _checked(number, left, right)
        self._depth -= 1
        return left

    def _product(self) -> _Value:
        left = self._signed()
        while self._symbol in ("*", "/", "//", "of", "mod") or (self._symbol == "%" and not left.percent):
            sign = self._next()
            right = self._signed()
            if sign in ("/", "//", "mod", "%") and right.number == 0:
                raise ToolError("division by zero")
            if sign in ("*", "of"):
                number = left.number * right.number
            elif sign == "/":
                number = left.number / right.number
            else:
                number = Fraction(left.number // right.number) if sign == "//" else left.number % right.number
            left = _checked(number, left, right)
        return left

    def _signed(self) -> _Value:
        if self._symbol in ("-", "+"):
            sign, value = self._next(), self._bounded(self._signed)
            return _Value(-value.number if sign == "-" else value.number, value.exact, value.percent)
        return self._power()

    def _bounded(self, parse: Callable[[], _Value]) -> _Value:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ModelRetry(f"more than {_DEEPEST} signs follow each other")
        value = parse()
        self._depth -= 1
        return value

    def _power(self) -> _Value:
        base = self._postfix()
        if self._symbol != "^":
            return base
        self._next()
        return _power(base, self._bounded(self._signed))

    def _postfix(self) -> _Value:
        value = self._atom()
        while self._symbol == "!" or self._symbol in _SCALES or (self._symbol == "%" and self._ends_here()):
            sign = self._next()
            if sign == "!":
                if value.number.denominator != 1 or not 0 <= value.number <= 1500:
                    raise ModelRetry("factorial takes a whole number from 0 to 1500")
                value = _Value(Fraction(math.factorial(int(value.number))), value.exact)
            elif sign == "%":
                value = _Value(value.number / 100, value.exact, percent=True)
            else:
                value = _checked(value.number * _SCALES[sign], value)
        return value

    def _ends_here(self) -> bool:
        """Return True if the sign % marks a percentage rather than the remainder operator."""
        found = _SYMBOL.match(self._text, self._place)
        if found is None or found["sign"]:
            return found is None or found["sign"] not in ("(", "√", "π")
        return (found["name"] or "").lower() in ("of", "x", "times", "mod")

    def _atom(self) -> _Value:
        if self._kind == "number":
            return _checked(Fraction(self._next().replace(",", "").replace("_", "")))
        if self._symbol == "(":
            values = self._arguments()
            return values[0] if len(values) == 1 else self._fail()
        name = self._symbol
        if name in ("pi", "e"):
            self._next()
            return _Value(Fraction(math.pi if name == "pi" else math.e), exact=False)
        if name not in _FUNCTIONS:
            self._fail()
        self._next()
        if self._symbol != "(":
            return _FUNCTIONS[name]([self._bounded(self._postfix)])
        return _FUNCTIONS[name](self._arguments(of_call=1))

    def _arguments(self, of_call: int = 0) -> list[_Value]:
        self._calls += of_call
        self._next()
        values = [self._sum()]
        while self._symbol == ",":
            self._next()
            values.append(self._sum())
        if self._symbol != ")":
            self._fail()
        self._calls -= of_call
        self._next()
        return values


def _checked(number: Fraction, *parts: _Value) -> _Value:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > _MOST_BITS:
        raise ToolError("the result has more digits than can be calculated here")
    return _Value(number, all(part.exact for part in parts))


def _power(base: _Value, exponent: _Value) -> _Value:
    number, power = base.number, exponent.number
    if number == 0 and power < 0:
        raise ToolError("division by zero")
    if power.denominator == 1:
        bits = max(number.numerator.bit_length(), number.denominator.bit_length())
        if abs(number) not in (0, 1) and bits * abs(power) > _MOST_BITS * 2:
            raise ToolError("the result has more digits than can be calculated here")
        return _checked(number ** int(power), base, exponent)
    if number < 0:
        raise ToolError("a root of a negative number is not a real number")
    if power == Fraction(1, 2):
        return _root([base])
    return _approximate(lambda: math.pow(number, power))


def _approximate(calculate: Callable[[], float]) -> _Value:
    try:
        value = calculate()
    except (ValueError, OverflowError):
        raise ToolError("the result is not a real number, or it is too large") from None
    if not math.isfinite(value):
        raise ToolError("the result is too large")
    return _Value(Fraction(value), exact=False)


def _root(values: Sequence[_Value]) -> _Value:
    (value,) = _exactly(values, 1)
    if value.number < 0:
        raise ToolError("the square root of a negative number is not a real number")
    top, bottom = math.isqrt(value.number.numerator), math.isqrt(value.number.denominator)
    if top * top == value.number.numerator and bottom * bottom == value.number.denominator:
        return _Value(Fraction(top, bottom), value.exact)
    return _approximate(lambda: math.sqrt(value.number))


def _exactly(values: Sequence[_Value], count: int) -> Sequence[_Value]:
    if len(values) != count:
        raise ModelRetry(f"a function got {len(values)} numbers, but takes {count}")
    return values


def _of_one(function: Callable[[float], float]) -> Callable[[Sequence[_Value]], _Value]:
    return lambda values: _approximate(lambda: function(float(_exactly(values, 1)[0].number)))


def _of_all(function: Callable[[list[Fraction]], Fraction]) -> Callable[[Sequence[_Value]], _Value]:
    return lambda values: _checked(Fraction(function([value.number for value in values])), *values)


def _of_integers(function: Callable[..., int]) -> Callable[[Sequence[_Value]], _Value]:
    def calculate(values: Sequence[_Value]) -> _Value:
        if any(value.number.denominator != 1 for value in values):
            raise ModelRetry("gcd and lcm take whole numbers")
        return _checked(Fraction(function(*(int(value.number) for value in values))), *values)

    return calculate


def _rounded(values: Sequence[_Value]) -> _Value:
    places = int(values[1].number) if len(values) == 2 else 0
    if len(values) > 2 or not -100 <= places <= 100:
        raise ModelRetry("round takes a number, and how many places to keep: round(2.345, 2)")
    scaled = values[0].number * 10**places
    whole = math.floor(abs(scaled) + Fraction(1, 2))  # half away from zero, as people round
    return _Value(Fraction(whole if scaled >= 0 else -whole) / Fraction(10) ** places)


def _logarithm(values: Sequence[_Value]) -> _Value:
    base = values[1].number if len(values) == 2 else Fraction(10)
    if len(values) > 2 or values[0].number <= 0 or base <= 0 or base == 1:
        raise ModelRetry("log takes a positive number, and a base other than 1: log(8, 2)")
    return _approximate(lambda: math.log10(values[0].number) if base == 10 else math.log(values[0].number, base))


_FUNCTIONS: dict[str, Callable[[Sequence[_Value]], _Value]] = {
    "sqrt": _root,
    "abs": lambda values: _checked(abs(_exactly(values, 1)[0].number), *values),
    "floor": lambda values: _Value(Fraction(math.floor(_exactly(values, 1)[0].number))),
    "ceil": lambda values: _Value(Fraction(math.ceil(_exactly(values, 1)[0].number))),
    "round": _rounded,
    "min": _of_all(min),
    "max": _of_all(max),
    "sum": _of_all(lambda numbers: sum(numbers, Fraction(0))),
    "mean": _of_all(lambda numbers: sum(numbers, Fraction(0)) / len(numbers)),
    "median": _of_all(statistics.median),
    "gcd": _of_integers(math.gcd),
    "lcm": _of_integers(math.lcm),
    "ln": _of_one(math.log),
    "log": _logarithm,
    "exp": _of_one(math.exp),
    "sin": _of_one(math.sin),
    "cos": _of_one(math.cos),
    "tan": _of_one(math.tan),
}


def _shown(value: _Value) -> str:
    number = value.number
    if not value.exact:
        return f"≈ {float(number):.15g}" if abs(number) < Fraction(10) ** 300 else f"≈ {_decimal(number, 15)}"
    if number.denominator == 1:
        return str(decimal.Decimal(number.numerator).to_integral_value()) if number else "0"
    ends = number.denominator
    for prime in (2, 5):
        while ends % prime == 0:
            ends //= prime
    digits = _decimal(number, _DIGITS)
    return digits if ends == 1 and Fraction(digits) == number else f"{number.numerator}/{number.denominator} ≈ {digits}"


def _decimal(number: Fraction, digits: int) -> str:
    context = decimal.Context(prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
    quotient = context.divide(decimal.Decimal(number.numerator), decimal.Decimal(number.denominator))
    return f"{quotient:f}" if abs(quotient.adjusted()) < digits else str(quotient)


def _number(value: _Value) -> int | float | str:
    if value.exact and value.number.denominator == 1 and abs(value.number) < 10**300:
        return int(value.number)
    return float(value.number) if abs(value.number) < Fraction(10) ** 300 else _shown(value)
