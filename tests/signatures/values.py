"""Types of single values: plain ones, texts with a form, time, choices, unions, and notes at a type."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType, Optional, Union

import pydantic
from pydantic import AnyUrl, Base64Bytes, Field, HttpUrl, SecretStr
from pydantic.types import Json
from pydantic_core import TzInfo

from tests.signatures.row import ANYTHING, BASE64, SAME, SHORT, Row, members, of_type, takes

_COIN = {"description": "May be asked for by its name.", "enum": ["0.01"], "type": "string"}

Age = NewType("Age", int)
LARGE = decimal.Decimal("12345678901234567890.123456789")


class Color(enum.Enum):
    """A color."""

    RED = "red"
    """Like fire."""
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


class Word(enum.StrEnum):
    YES = "yes"


class Mood(enum.Enum):
    """A mood.

    Attributes:
        BAD: Not good.
    """

    GOOD = 1
    """Like the sun."""
    BAD = 2


class Quarter(enum.Enum):
    FIRST = dt.date(2026, 1, 1)
    SECOND = dt.date(2026, 4, 1)


class Size(enum.Enum):
    SMALL = (1, 2)
    LARGE = (3, 4)


class Coin(enum.Enum):
    """May be asked for by its name."""

    CENT = decimal.Decimal("0.01")

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.CENT if value == "cent" else None


@dataclass
class Doc:
    """As in PEP 727."""

    documentation: str


PLAIN = [
    of_type(bool, {"type": "boolean"}, SAME, "true", True),
    of_type(int, {"type": "integer"}, SAME, "3", 3),
    of_type(int, {"type": "integer"}, SAME, "123456789012345678901234567890", 123456789012345678901234567890, "large"),
    of_type(int, {"type": "integer"}, SAME, '"3"', 3, "int as a text"),
    of_type(float, {"type": "number"}, SAME, "3", 3.0),
    of_type(str, {"type": "string"}, SAME, '"x\\u00e9"', "xé"),
    of_type(None, {"type": "null"}, SAME, "null", None),
    of_type(type(None), {"type": "null"}, SAME, "null", None),
    of_type(Any, {}, ANYTHING, '{"a": [1]}', {"a": [1]}),
    of_type(object, {}, ANYTHING, "[1]", [1]),
    of_type(Age, {"type": "integer"}, SAME, "3", 3),
    of_type(complex, {"type": "string"}, SAME, '"1+2j"', 1 + 2j),
]
DECIMALS = [
    of_type(
        decimal.Decimal,
        {"anyOf": [{"type": "number"}, {"type": "string"}]},
        SAME,
        written,
        decimal.Decimal(received),
        f"Decimal {written}",
    )
    for written, received in [
        ('"1.10"', "1.10"),
        ("1.10", "1.10"),
        ("12345678901234567890.123456789", "12345678901234567890.123456789"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1E-3", "0.001"),
    ]
] + [
    of_type(
        Annotated[decimal.Decimal, Field(gt=0, decimal_places=2)],
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]},
        SAME,
        "0.10",
        decimal.Decimal("0.10"),
    ),
    of_type(
        decimal.Decimal | None,
        {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]},
        SAME,
        "12345678901234567890.123456789",
        LARGE,
    ),
    of_type(
        float | decimal.Decimal,
        {"anyOf": [{"type": "number"}, {"type": "string"}]},
        SAME,
        "1.10",
        1.1,
    ),
    of_type(
        fractions.Fraction,
        {"anyOf": [{"type": "number"}, {"type": "string", "format": "fraction"}]},
        "has the format 'fraction', which strict schemas do not allow",
        '"1/3"',
        fractions.Fraction(1, 3),
    ),
]
TEXTS = [
    of_type(bytes, {"type": "string", "format": "base64"}, BASE64, '"aGk="', b"hi"),
    of_type(Base64Bytes, {"type": "string", "format": "base64"}, BASE64, '"aGk="', b"hi", "Base64Bytes"),
    of_type(
        list[bytes],
        {"type": "array", "items": {"type": "string", "format": "base64"}},
        BASE64,
        '["_w=="]',
        [b"\xff"],
    ),
    of_type(
        str | bytes,
        {"anyOf": [{"type": "string"}, {"type": "string", "format": "base64"}]},
        BASE64,
        '"aGk="',
        "aGk=",
    ),
    of_type(
        uuid.UUID,
        {"type": "string", "format": "uuid"},
        SAME,
        '"12345678-1234-5678-1234-567812345678"',
        uuid.UUID(int=0x12345678123456781234567812345678),
    ),
    of_type(pathlib.Path, {"type": "string", "format": "path"}, {"type": "string"}, '"a/b"', pathlib.Path("a/b")),
    of_type(AnyUrl, {"type": "string", "format": "uri", "minLength": 1}, SHORT, '"ftp://a.b"', AnyUrl("ftp://a.b")),
    of_type(
        HttpUrl,
        {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
        "has 'maxLength', which strict schemas do not allow",
        '"http://a.b"',
        HttpUrl("http://a.b"),
    ),
    of_type(
        ipaddress.IPv4Address,
        {"type": "string", "format": "ipv4"},
        SAME,
        '"1.2.3.4"',
        ipaddress.IPv4Address("1.2.3.4"),
    ),
    of_type(ipaddress.IPv6Address, {"type": "string", "format": "ipv6"}, SAME, '"::1"', ipaddress.IPv6Address("::1")),
    of_type(
        re.Pattern[str],
        {"type": "string", "format": "regex"},
        "has the format 'regex', which strict schemas do not allow",
        '"a+"',
        re.compile("a+"),
    ),
    of_type(
        SecretStr,
        {"type": "string", "format": "password", "writeOnly": True},
        {"type": "string"},
        '"x"',
        SecretStr("x"),
    ),
    of_type(
        Json[list[int]],
        {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"type": "array", "items": {"type": "integer"}},
        },
        "has 'contentMediaType', which strict schemas do not allow",
        '"[1]"',
        [1],
        "Json",
    ),
]
TIME = [
    of_type(dt.date, {"type": "string", "format": "date"}, SAME, '"2026-01-02"', dt.date(2026, 1, 2)),
    of_type(dt.time, {"type": "string", "format": "time"}, SAME, '"03:04:05"', dt.time(3, 4, 5)),
    of_type(
        dt.datetime,
        {"type": "string", "format": "date-time"},
        SAME,
        '"2026-01-02T03:04:05Z"',
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=TzInfo(0)),
    ),
    of_type(
        dt.datetime,
        {"type": "string", "format": "date-time"},
        SAME,
        '"2026-01-02T03:04:05"',
        dt.datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - as the text has it
        "datetime without a zone",
    ),
    of_type(dt.timedelta, {"type": "string", "format": "duration"}, SAME, '"PT1H"', dt.timedelta(hours=1)),
]
CHOICES = [
    of_type(Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, SAME, '"b"', "b"),
    of_type(Literal["a"], {"type": "string", "const": "a"}, SAME, '"a"', "a"),
    of_type(Literal[1, 2], {"type": "integer", "enum": [1, 2]}, SAME, "2", 2),
    of_type(
        Literal["a", None],
        {"enum": ["a", None]},
        {"enum": ["a", None], "type": ["string", "null"]},
        "null",
        None,
    ),
    of_type(Literal[True], {"type": "boolean", "const": True}, SAME, "true", True),
    of_type(Literal[Color.RED], {"type": "string", "const": "red"}, SAME, '"red"', Color.RED),
    of_type(Literal[Color.RED, "x"], {"type": "string", "enum": ["red", "x"]}, SAME, '"x"', "x"),
    of_type(
        Color,
        {"description": "A color.\n- red: Like fire.", "enum": ["red", "blue"], "type": "string"},
        SAME,
        '"blue"',
        Color.BLUE,
    ),
    of_type(Level, {"type": "integer", "enum": [1, 2]}, SAME, "2", Level.HIGH),
    of_type(Mixed, {"enum": [1, "two"]}, {"enum": [1, "two"], "type": ["integer", "string"]}, '"two"', Mixed.TWO),
    of_type(Word, {"type": "string", "enum": ["yes"]}, SAME, '"yes"', Word.YES),
    of_type(Quarter, {"enum": ["2026-01-01", "2026-04-01"], "type": "string"}, SAME, '"2026-04-01"', Quarter.SECOND),
    Row(
        "an enum of tuples in two places",
        takes(list[Size] | Size),
        members(
            {"x": {"anyOf": [{"items": {"$ref": "#/$defs/Size"}, "type": "array"}, {"$ref": "#/$defs/Size"}]}},
            "x",
            **{"$defs": {"Size": {"enum": [[1, 2], [3, 4]], "type": "array", "items": {}}}},
        ),
        "parameter 'x' has values that are not strings, numbers, booleans or null",
        '{"x": [[3, 4], [1, 2]]}',
        [Size.LARGE, Size.SMALL],
        list[Size] | Size,
    ),
    of_type(Coin, _COIN, SAME, '"0.01"', Coin.CENT),
    of_type(Coin, _COIN, SAME, '"cent"', Coin.CENT, name="an enum that knows more forms of its members"),
    of_type(Literal[b"a", Quarter.FIRST], {"enum": ["a", "2026-01-01"], "type": "string"}, SAME, '"a"', b"a"),
    of_type(
        Mood,
        {"description": "A mood.\n- 1: Like the sun.\n- 2: Not good.", "enum": [1, 2], "type": "integer"},
        SAME,
        "2",
        Mood.BAD,
    ),
]
UNIONS = [
    of_type(int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, SAME, "null", None),
    of_type(Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}, SAME, "3", 3),  # noqa: UP045 - as written
    of_type(Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}, SAME, '"3"', "3"),  # noqa: UP007
    of_type(
        int | str | None,
        {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
        SAME,
        "null",
        None,
    ),
    of_type(
        list[int] | int,
        {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]},
        SAME,
        "1",
        1,
    ),
    of_type(
        Color | int,
        {
            "anyOf": [
                {"description": "A color.\n- red: Like fire.", "enum": ["red", "blue"], "type": "string"},
                {"type": "integer"},
            ]
        },
        SAME,
        '"red"',
        Color.RED,
    ),
    of_type(Any | None, {"anyOf": [{}, {"type": "null"}]}, ANYTHING, "null", None),
]
NOTES = [
    of_type(
        Annotated[int, Field(ge=1, le=5)],
        {"type": "integer", "minimum": 1, "maximum": 5},
        SAME,
        "3",
        3,
        "Field(ge, le)",
    ),
    of_type(
        Annotated[float, Field(gt=0, lt=1)],
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        SAME,
        "0.5",
        0.5,
        "Field(gt, lt)",
    ),
    of_type(Annotated[int, Field(multiple_of=5)], {"type": "integer", "multipleOf": 5}, SAME, "10", 10, "multiple_of"),
    of_type(
        Annotated[str, Field(pattern="^a+$")], {"type": "string", "pattern": "^a+$"}, SAME, '"aa"', "aa", "pattern"
    ),
    of_type(Annotated[str, Field(min_length=1)], {"type": "string", "minLength": 1}, SHORT, '"a"', "a", "min_length"),
    of_type(
        Annotated[list[int], Field(min_length=1, max_length=2)],
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        SAME,
        "[1]",
        [1],
        "min_length of a list",
    ),
    of_type(Annotated[str, "A name."], {"type": "string", "description": "A name."}, SAME, '"x"', "x", "text"),
    of_type(Annotated[str, Doc("A name.")], {"type": "string", "description": "A name."}, SAME, '"x"', "x", "Doc"),
    of_type(
        Annotated[str, Field(description="A name.")],
        {"type": "string", "description": "A name."},
        SAME,
        '"x"',
        "x",
        "Field(description)",
    ),
    of_type(
        Annotated[str, Field(examples=["Ada"])],
        {"type": "string", "examples": ["Ada"]},
        {"type": "string"},
        '"x"',
        "x",
        "Field(examples)",
    ),
    of_type(
        list[Annotated[int, Field(ge=0)]],
        {"type": "array", "items": {"type": "integer", "minimum": 0}},
        SAME,
        "[0]",
        [0],
        "Annotated in a list",
    ),
    of_type(pydantic.PositiveInt, {"type": "integer", "exclusiveMinimum": 0}, SAME, "1", 1, "PositiveInt"),
]

VALUES = [*PLAIN, *DECIMALS, *TEXTS, *TIME, *CHOICES, *UNIONS, *NOTES]
