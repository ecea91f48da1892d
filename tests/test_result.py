from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs would only slow mypy down
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field

from agentkit import Agent, tool
from agentkit.chat.content import AudioPart, FilePart, ImagePart, TextPart
from agentkit.chat.messages import AssistantMessage, UserMessage
from agentkit.errors import StateError, ToolError
from agentkit.testing import ScriptedModel, call
from agentkit.tools.result import ToolResult, describe_error, to_result


class Mood(enum.Enum):
    GOOD = "good"


class Word(enum.StrEnum):
    YES = "yes"


class Weather(BaseModel):
    celsius: float = Field(alias="temperature")


class Faulty(BaseModel):
    n: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def broken(self) -> int:
        raise ValueError("no")


@dataclass
class Spot:
    name: str
    when: dt.date


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Plain:
    pass


def cycle() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


def deep() -> list[Any]:
    made: list[Any] = []
    for _ in range(100_000):
        made = [made]
    return made


BASE64 = "\n[Bytes that are not text are shown as base64.]"
SHARED = ["a"]
NOTE = "\n[Part of this result is not JSON and is shown as text.]"


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        ('"quoted"', '"quoted"'),
        ("", ""),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ({"a": [1, None], "ü": "ü"}, '{"a":[1,null],"ü":"ü"}'),
        ((1, 2), "[1,2]"),
        (Mood.GOOD, "good"),
        (Word.YES, "yes"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00Z"),
        (Weather(temperature=3), '{"temperature":3.0}'),
        ([Spot("a", dt.date(2026, 1, 2))], '[{"name":"a","when":"2026-01-02"}]'),
        (b"bytes", "bytes"),
        ({1: 2}.values(), "[2]"),
        (range(3), "[0,1,2]"),
        (float("nan"), "NaN"),
        ([float("inf")], '["Infinity"]'),
        (10**400, str(10**400)),
        ("a\ud800", "a�"),
        ("\ud83d\ude00", "😀"),
        (["a\ud800"], '["a�"]' + NOTE),
        (["a", b"\xff", {"b": bytearray(b"text")}], '["a","/w==",{"b":"text"}]' + BASE64),
        (b"\xff", "/w==" + BASE64),
        (Spot(b"\xff", None), '{"name":"/w==","when":null}' + BASE64),  # type: ignore[arg-type]
        ([Plain()], '["<' + __name__ + '.Plain object>"]' + NOTE),
        (Plain(), "<" + __name__ + ".Plain object>" + NOTE),
        ({"a": Mute()}, '{"a":"<Mute>"}' + NOTE),
        (cycle(), '[1,"..."]' + NOTE),
        ({"of": cycle(), "twice": [SHARED, SHARED]}, '{"of":[1,"..."],"twice":[["a"],["a"]]}' + NOTE),
        (deep(), "[" * 200 + '"..."' + "]" * 200 + NOTE),
        ("a\0b", "a\0b"),
        ({"a\0": "\0"}, '{"a\\u0000":"\\u0000"}'),
        (Faulty.model_construct(), "<Faulty>" + NOTE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_becomes_text_for_the_model(value: object, content: str) -> None:
    result = to_result(value)
    assert result.content == content
    assert result.data is value
    assert not result.is_error


@given(st.recursive(st.text(st.characters()) | st.binary() | st.floats() | st.builds(object), st.lists))
def test_no_value_whatever_fails_after_the_tool_has_run(value: object) -> None:
    to_result(value).content.encode()


WORDS = [f"word {n:02}" for n in range(40)]


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (set(WORDS), WORDS),
        ({10, 9, -1}, [-1, 9, 10]),
        ({"a": [frozenset(WORDS)]}, {"a": [WORDS]}),
        ({frozenset({2, 1}), frozenset({3}), frozenset({0, 4})}, [[0, 4], [1, 2], [3]]),
        ({(2, "b"), (1, "a"), None, True}, [[1, "a"], [2, "b"], None, True]),
        ({Mood.GOOD, "bad"}, ["bad", "good"]),
        ({dt.date(2026, 1, 2), dt.date(2025, 1, 2)}, ["2025-01-02", "2026-01-02"]),
    ],
)
def test_a_set_is_a_list_in_an_order_that_is_the_same_in_every_process(value: object, content: object) -> None:
    assert json.loads(to_result(value).content) == content


def test_the_words_are_made_at_once_so_that_later_changes_do_not_rewrite_history() -> None:
    value = {"a": 1}
    result = to_result(value)
    value["a"] = 2
    assert result.content == '{"a":1}'


# Files.

PNG = b"\x89PNG\r\n\x1a\n" + b"rest"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


class Plot:
    def _repr_png_(self) -> bytes:
        return PNG


class BrokenPlot:
    def _repr_png_(self) -> bytes:
        raise RuntimeError("no display")

    def __repr__(self) -> str:
        return "a plot"


@pytest.mark.parametrize(
    ("value", "file", "content"),
    [
        (PNG, ImagePart(PNG_URL), "[attached: an image]"),
        (bytearray(PNG), ImagePart(PNG_URL), "[attached: an image]"),
        (Plot(), ImagePart(PNG_URL), "[attached: an image]"),
        (b"RIFF1234WAVEdata", AudioPart(b"RIFF1234WAVEdata", "wav"), "[attached: sound]"),
        (b"ID3\x04rest", AudioPart(b"ID3\x04rest", "mp3"), "[attached: sound]"),
        (ImagePart("https://x/a.png"), ImagePart("https://x/a.png"), "[attached: an image]"),
        (
            FilePart(filename="a.txt", file_data="QQ=="),
            FilePart(filename="a.txt", file_data="QQ=="),
            "[attached: the file a.txt]",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_images_sound_and_files_are_shown_to_the_model(value: object, file: object, content: str) -> None:
    result = to_result(value)
    assert (result.content, list(result.files), result.data) == (content, [file], value)


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a..", "image/gif"), (b"RIFF1234WEBPx", "image/webp")],
)
def test_the_first_bytes_tell_the_kind_of_an_image(head: bytes, kind: str) -> None:
    (image,) = to_result(head).files
    assert isinstance(image, ImagePart)
    assert image.url.startswith(f"data:{kind};base64,")


def test_a_pdf_is_a_file() -> None:
    (file,) = to_result(b"%PDF-1.7").files
    assert isinstance(file, FilePart)
    assert (file.filename, str(file.file_data)[:28]) == ("result.pdf", "data:application/pdf;base64,")


def test_a_list_may_mix_files_and_words() -> None:
    result = to_result(["two plots", Plot(), TextPart("and"), ImagePart("https://x/b.png"), {"n": 2}])
    assert result.content == 'two plots\nand\n{"n":2}\n[attached: an image, an image]'
    assert list(result.files) == [ImagePart(PNG_URL), ImagePart("https://x/b.png")]


def test_what_cannot_show_itself_is_described() -> None:
    assert to_result(BrokenPlot()).content.startswith("a plot")
    assert to_result(b"\x00\x01plain bytes").files == ()


def test_a_result_whose_content_is_no_text_is_written_like_a_value() -> None:
    given_: Any = {"a": 1}
    result = to_result(ToolResult(given_, data=2, metadata={"k": 1}))
    assert (result.content, result.data, result.metadata) == ('{"a":1}', 2, {"k": 1})


def test_only_the_run_sets_the_keys_of_the_run() -> None:
    result = ToolResult("x", metadata={"agentkit:raised": "x", "mistake": 1, "raised": 2})
    assert to_result(result).metadata == {"mistake": 1, "raised": 2}
    assert to_result(result, own=True) is result


def test_metadata_of_a_tool_neither_ends_a_run_nor_counts_as_a_mistake() -> None:
    @tool(thread=False)
    def note(key: str) -> ToolResult:
        return ToolResult("noted", metadata={key: "x"})

    keys = ["mistake", "raised", "agentkit:mistake", "agentkit:raised"]
    model = ScriptedModel([*(call("note", key=key) for key in keys), "done"])
    assert Agent(model, tools=[note], on_tool_error="raise").run_sync("go").messages[-1].text == "done"


def test_a_result_that_is_right_is_kept() -> None:
    result = ToolResult("x", files=[TextPart("a"), ImagePart("https://x/a.png")], metadata={"k": 1})
    assert to_result(result) is result


class BrokenMapping(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("metadata", [None, "text", 5, BrokenMapping()])
def test_metadata_that_is_none_is_empty(metadata: Any) -> None:
    assert to_result(ToolResult("x", metadata=metadata)) == ToolResult("x")


@pytest.mark.parametrize(
    ("files", "kept", "content"),
    [
        (None, [], "x"),
        (PNG, [ImagePart(PNG_URL)], "x"),
        (ImagePart(PNG_URL), [ImagePart(PNG_URL)], "x"),
        ([bytearray(PNG), Plot(), TextPart("t")], [ImagePart(PNG_URL), ImagePart(PNG_URL), TextPart("t")], "x"),
        ([PNG, b"odd", 5], [ImagePart(PNG_URL)], "x\n[Left out: 2 that cannot be shown as a file.]"),
        (5, [], "x\n[Left out: 1 that cannot be shown as a file.]"),
    ],
    ids=["none", "bytes", "a part", "several", "some", "a number"],
)
def test_files_of_a_result_become_parts_of_a_message(files: Any, kept: list[Any], content: str) -> None:
    result = to_result(ToolResult("x", files=files))
    assert (result.content, list(result.files)) == (content, kept)


@pytest.mark.anyio
async def test_half_a_character_leaves_no_tool_whichever_way_it_is_said() -> None:
    @tool
    def say(how: str) -> ToolResult:
        """Say something."""
        if how == "result":
            return ToolResult("half \ud83d")
        raise ToolError("half \ud83d") if how == "refusal" else ValueError("half \ud83d")

    model = ScriptedModel([[call("say", how=how) for how in ("result", "refusal", "fault")], "ok"])
    result = await Agent(model, tools=[say]).run("go")
    assert [each.text for each in result.messages[2:5]] == [
        "half \ufffd",
        "Error: half \ufffd",
        r"Error: say failed with ValueError: half \ud83d",
    ]


# Errors.


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (ValueError("bad value"), "ValueError: bad value"),
        (ValueError(), "ValueError"),
        (KeyError("a"), "KeyError: 'a'"),
        (ValueError("one\ntwo\x1b[2K\r\u202e"), r"ValueError: one\ntwo\x1b[2K\r\u202e"),
        (ValueError("x" * 1_000_000), "ValueError: " + "x" * 500 + "..."),
        (ValueError("\x00" * 1_000_000), "ValueError: " + (r"\x00" * 125) + "..."),
        (Broken(), "Broken"),
        (ExceptionGroup("ValueError: a; KeyError: 'b'", [ValueError("a")]), "ValueError: a; KeyError: 'b'"),
    ],
    ids=["message", "bare", "key", "controls", "long", "long when escaped", "raises", "group"],
)
def test_an_exception_is_described_in_one_short_line(error: Exception, described: str) -> None:
    assert describe_error(error) == described
    assert describe_error(error, type_only=True) == type(error).__name__


# The JSON form.


def test_a_result_survives_json_with_what_json_can_hold() -> None:
    result = ToolResult(
        "two files", {"n": [1, None], "x": 1.5}, is_error=True,
        files=(ImagePart("data:image/png;base64,AA=="), TextPart("t")), metadata={"source": "kitchen"}, final=True,
    )  # fmt: skip
    assert ToolResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert ToolResult.from_dict(ToolResult("x").to_dict()) == ToolResult("x")
    odd = ToolResult("x", data=object(), metadata={"a": object()})
    assert ToolResult.from_dict(odd.to_dict()) == ToolResult("x")


@pytest.mark.parametrize(
    "change",
    [
        {"content": 5},
        {"files": "x"},
        {"files": None},
        {"metadata": []},
        {"is_error": 1},
        {"final": "yes"},
        {"content": None},
    ],
    ids=str,
)
def test_what_is_not_the_json_form_of_a_result_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StateError, match=f"the stored result of a call cannot be read: its '{next(iter(change))}'"):
        ToolResult.from_dict(ToolResult("x").to_dict() | change)
    with pytest.raises(StateError):
        ToolResult.from_dict({})


def test_a_result_that_a_tool_returns_keeps_whether_it_is_final() -> None:
    assert to_result(ToolResult("bye", final=True)).final is True
    assert to_result(ToolResult("bye", final=cast("Any", 1))).final is False
    assert to_result("bye").final is False


# What libraries for numbers give. The package imports none of them.


def frame(rows: int = 2, **options: Any) -> pd.DataFrame:
    return pd.DataFrame({"n": range(rows), "name": [f"row {n}" for n in range(rows)]}, **options)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (np.int64(4950), "4950"),
        (np.float32(1.5), "1.5"),
        (np.float64("nan"), "NaN"),
        (np.bool_(True), "true"),
        (np.str_("text"), "text"),
        (np.datetime64("2026-05-01T12:00", "ns"), "2026-05-01T12:00:00.000000000"),
        (np.timedelta64(90, "s"), "90 seconds"),
        ({"n": np.int64(1), "x": [np.float64(0.1), np.uint8(2)]}, '{"n":1,"x":[0.1,2]}'),
        ({np.int64(1): "a", np.str_("b"): 2}, '{"1":"a","b":2}'),
        ({np.int64(3), np.int64(1)}, "[1,3]"),
        (np.array([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
        (np.array([1.5, np.nan]), '[1.5,"NaN"]'),
        (np.array(5), "5"),
        (np.array([]), "[]"),
        (np.array(["2026-05-01", "2026-05-02"], dtype="datetime64[D]"), '["2026-05-01","2026-05-02"]'),
        (np.array([(1, "a")], dtype=[("n", "i4"), ("name", "U1")]), '[{"n":1,"name":"a"}]'),
        (np.array([None, {"a": np.int8(1)}, "x"], dtype=object), '[null,{"a":1},"x"]'),
        ((np.arange(3), "x"), '[[0,1,2],"x"]'),
        (frame(), "n,name\n0,row 0\n1,row 1\n"),
        (frame(index=["a", "b"]), ",n,name\na,0,row 0\nb,1,row 1\n"),
        (frame(0), "n,name\n"),
        ({"table": frame()}, '{"table":[{"n":0,"name":"row 0"},{"n":1,"name":"row 1"}]}'),
        ([frame(index=["a", "b"]).head(1)], '[[{"index":"a","n":0,"name":"row 0"}]]'),
        (frame()["n"], "[0,1]"),
        (frame(index=["a", "b"])["n"], '{"a":0,"b":1}'),
        (frame().index, "[0,1]"),
        (pd.Timestamp("2026-05-01T12:00"), "2026-05-01T12:00:00"),
        ([pd.NaT, pd.NA, None], "[null,null,null]"),
        (pd.Series([pd.Timestamp("2026-05-01"), pd.NaT]), '["2026-05-01T00:00:00",null]'),
        (pd.DataFrame({"a": [1, 1], "b": [2, 3]}).groupby("a")["b"].sum(), '{"1":5}'),
        (pl.DataFrame({"n": [1, 2], "name": ["a", None]}), "n,name\n1,a\n2,\n"),
        ({"table": pl.DataFrame({"n": [1], "d": [dt.date(2026, 5, 1)]})}, '{"table":[{"n":1,"d":"2026-05-01"}]}'),
        (pl.Series([1, 2, None]), "[1,2,null]"),
    ],
    ids=str,
)
def test_numbers_arrays_and_tables_of_libraries_are_numbers_lists_and_records(value: Any, content: str) -> None:
    result = to_result(value)
    assert result.content == content
    assert result.data is value


def test_a_table_or_an_array_without_end_is_shown_in_part_and_says_so() -> None:
    table = to_result(frame(100_001)).content
    assert table.startswith("n,name\n0,row 0\n")
    assert table.endswith("99999,row 99999\n\n[The first 100,000 of 100,001 rows are shown.]")
    array = to_result({"a": np.zeros((1001, 1000), dtype="i1")}).content
    assert array.endswith(",0]}\n[The first 1,000,000 of 1,001,000 values are shown.]")
    series = to_result(pd.Series(np.zeros(1_000_001, dtype="i1"))).content
    assert series.endswith("[The first 1,000,000 of 1,000,001 values are shown.]")


@pytest.mark.anyio
async def test_all_rows_of_a_table_are_kept_where_the_model_is_shown_a_part() -> None:
    @tool
    def rows() -> Any:
        return frame(10_000)

    result = await Agent(ScriptedModel([call("rows", id="c"), "done"]), tools=[rows]).run("go")
    assert "[" in result.messages[2].text[-500:]
    assert "9999,row 9999" in next(iter(result.state.artifacts.values()))


def test_a_value_that_only_looks_like_an_array_or_a_table_fails_nothing() -> None:
    class Looks:
        dtype, ndim, shape, columns = "x", 1, (1,), ("a",)

        def tolist(self) -> Any:
            raise RuntimeError("no")

        def to_csv(self, **options: Any) -> Any:
            raise RuntimeError("no")

        def head(self, count: int) -> Any:
            return self

        def __len__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "looks"

    assert to_result(Looks()).content == "looks" + NOTE
    assert to_result([Looks()]).content == '["looks"]' + NOTE


def test_the_package_imports_no_library_for_numbers() -> None:
    program = "import sys, agentkit.testing; assert not {'numpy', 'pandas', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# Parts and messages.


@pytest.mark.parametrize(
    ("value", "content", "files"),
    [
        (TextPart("hello"), "hello", 0),
        ([TextPart("hello"), TextPart("world")], "hello\nworld", 0),
        ([TextPart("see"), ImagePart("data:image/png;base64,AA=="), {"n": 1}], 'see\n{"n":1}\n[attached: an image]', 1),
        ([TextPart("see"), {"n": 1}], 'see\n{"n":1}', 0),
        ((TextPart(""), "x"), "\nx", 0),
        ({"note": TextPart("hello"), "all": [TextPart("a")]}, '{"note":"hello","all":["a"]}', 0),
        ([TextPart(str(n)) for n in range(40)], "\n".join(map(str, range(40))), 0),
        (AssistantMessage("an answer"), "an answer", 0),
        (UserMessage((TextPart("a"), TextPart("b"))), "ab", 0),
        ([UserMessage("a"), AssistantMessage("b")], '["a","b"]', 0),
        (TextPart("half \ud83d"), "half \ufffd", 0),
    ],
    ids=str,
)
def test_parts_and_messages_are_what_they_say(value: Any, content: str, files: int) -> None:
    result = to_result(value)
    assert (result.content, len(result.files)) == (content, files)
