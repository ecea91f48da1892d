"""The result of a call, and how a Python value becomes what a model reads.

The content is written when the call returns, so that a later change of the value does not change what the model reads.
It is JSON, never a Python repr, apart from what JSON cannot express.
"""

from __future__ import annotations

import base64
import math
import operator
import re
from collections.abc import Callable, Collection, ItemsView, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeAlias, cast, get_args

from pydantic_core import from_json, to_json, to_jsonable_python

from agentkit.chat.content import (
    AudioPart,
    ContentPart,
    FilePart,
    ImagePart,
    TextPart,
    content_to_wire,
    data_url,
    image_type,
    read_content,
)
from agentkit.chat.json_values import encode_json, join_surrogates
from agentkit.chat.log import escape_controls
from agentkit.chat.messages import AssistantMessage, ToolMessage, UserMessage
from agentkit.errors import StateError

OWN_KEYS = "agentkit:"
"""The prefix of metadata keys that only the run itself sets, never a tool."""

_MEMBERS = {"content": str, "is_error": bool, "files": list, "metadata": dict, "final": bool}  # of the JSON form
_LONGEST_MESSAGE = 500  # characters of a tool's exception
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_PARTLY_TEXT = "[Part of this result is not JSON and is shown as text.]"
_AS_BASE64 = "[Bytes that are not text are shown as base64.]"
_MOST_ROWS, _MOST_ITEMS = 100_000, 1_000_000  # of a table, of an array: far more than a model is shown
_MISSING = ("NAType", "NaTType")  # pandas' marks for missing values
_LEAVES = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = (dict, list, tuple, set, frozenset)
_DEEPEST = 200  # lists in lists: pydantic writes no more than 255
_MOST_FILES = 32  # in a list; a longer one is data
_PARTS = (ImagePart, AudioPart, FilePart)
_File: TypeAlias = ImagePart | AudioPart | FilePart
_ANY_PART = get_args(ContentPart)
_TEXTS = (TextPart, AssistantMessage, UserMessage, ToolMessage)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call. A tool may return one itself, to choose exactly what the model reads.

    Attributes:
        content: The text that the model reads.
        data: The value that the function returned, for the program.
        is_error: Whether the content says what went wrong.
        files: Images, sound and files that the model is shown besides the content.
        metadata: For the program only. Keys that begin with ``agentkit:`` are the run's own.
        final: Whether the run ends with this result: the model is not asked again, and ``content`` is the run's output.
    """

    content: str
    data: Any = None
    is_error: bool = False
    files: Sequence[ContentPart] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    final: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values. ``data`` that JSON cannot express is null; such ``metadata`` is empty."""
        return {
            "content": self.content,
            "data": json_value(self.data),
            "is_error": self.is_error,
            "files": content_to_wire(tuple(self.files)),
            "metadata": json_value(dict(self.metadata)) or {},
            "final": self.final,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ToolResult:
        """Read what `to_dict` returned.

        Raises:
            StateError: It is something else.
        """
        for name, kind in _MEMBERS.items():
            if not isinstance(raw.get(name), kind):
                raise StateError(f"the stored result of a call cannot be read: its {name!r} is not a {kind.__name__}")
        files = read_content(raw["files"])
        return cls(
            content=raw["content"],
            data=raw.get("data"),
            is_error=raw["is_error"],
            files=() if isinstance(files, str) else files,
            metadata=raw["metadata"],
            final=raw["final"],
        )


def json_value(value: object) -> Any:
    """The value as JSON values, as pydantic writes it; None if JSON cannot express it."""
    try:
        return from_json(to_json(value, inf_nan_mode="null"))
    except (TypeError, ValueError, RecursionError):
        return None


def to_result(value: object, *, own: bool = False) -> ToolResult:
    """Make what a function returned readable for a model. Never fails, since the function has already done its work.

    A string stays as it is, and so does the text of a `TextPart` or a message. Images, sound and files (parts of a
    message, bytes that begin like one of them, or objects that a notebook shows as a PNG) become files of the result.
    Numbers and arrays of numpy and the like are numbers and lists; a table of pandas or polars is CSV, or a list of
    records inside another value. Everything else is compact JSON, as pydantic writes it: None is ``null``, a model goes
    by its aliases, and what JSON writes as a string (a date, an enum's value, UTF-8 bytes) is that string without
    quotes. NaN is written as the string NaN, a set as a sorted list, and other bytes as base64. What JSON cannot
    express is described in words. A last line reports base64, words, and anything left out.

    A `ToolResult` is returned as it is, except for members of the wrong type and for what only the run may set; ``own``
    keeps the latter.
    """
    if isinstance(value, str):
        return ToolResult(join_surrogates(str.__str__(value)), value)
    if isinstance(value, ToolResult):
        return _as_typed(value, own=own)
    several = isinstance(value, list | tuple)
    parts = list(cast("Sequence[object]", value)) if several else [value]
    if len(parts) > _MOST_FILES and not all(isinstance(each, _ANY_PART) for each in parts):
        return ToolResult(_text(value), value)
    found = [_as_file(each) for each in parts]
    files = tuple(file for file in found if file is not None)
    if not files and not any(isinstance(each, _ANY_PART) for each in parts):
        return ToolResult(_text(value), value)
    rest = [part for part, file in zip(parts, found, strict=True) if file is None]
    texts = [_text(each) for each in rest]
    if files:
        names = {ImagePart: "an image", AudioPart: "sound"}
        named = (
            f"the file {each.filename or each.file_id}" if isinstance(each, FilePart) else names[type(each)]
            for each in files
        )
        texts.append(f"[attached: {', '.join(named)}]")
    return ToolResult("\n".join(texts), value, files=files)


def _as_typed(result: ToolResult, *, own: bool) -> ToolResult:
    """The result with members of the types that they should have, as the function's author may not check types."""
    content = _text(result.content)
    given: Any = result.files
    several = isinstance(given, list | tuple)
    listed = list(cast("Sequence[object]", given)) if several else [] if given is None else [given]
    parts = [cast("ContentPart", each) if isinstance(each, _ANY_PART) else _as_file(each) for each in listed]
    files: Sequence[ContentPart] = tuple(part for part in parts if part is not None)
    if len(files) < len(parts):
        content += f"\n[Left out: {len(parts) - len(files)} that cannot be shown as a file.]"
    if several and all(map(operator.is_, files, listed)) and len(files) == len(listed):
        files = cast("Sequence[ContentPart]", given)
    try:
        metadata: Any = result.metadata if isinstance(cast("object", result.metadata), Mapping) else {}
        if not own and any(str(key).startswith(OWN_KEYS) for key in metadata):
            metadata = {key: value for key, value in metadata.items() if not str(key).startswith(OWN_KEYS)}
    except Exception:  # noqa: BLE001 - a mapping brings code of its own; the function has run and must not fail now
        metadata = {}
    final = result.final is True
    given = (result.content, result.files, result.metadata, result.final)
    if all(map(operator.is_, (content, files, metadata, final), given)):
        return result
    return replace(result, content=content, files=files, metadata=metadata, final=final)


def describe_error(error: BaseException, *, type_only: bool = False) -> str:
    """Describe an exception that a tool raised, for a model to read.

    Args:
        error: The exception.
        type_only: Leave out its message, which may hold what the model should not see.

    Returns:
        Its type and message in one line of at most 500 characters, control characters escaped.
    """
    name = type(error).__name__
    if type_only:
        return name
    try:
        message = str(error.args[0]) if isinstance(error, BaseExceptionGroup) else str(error)
    except Exception:  # noqa: BLE001 - an exception brings code of its own
        message = ""
    message = escape_controls(message[: 2 * _LONGEST_MESSAGE])
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}..."
    if isinstance(error, BaseExceptionGroup) and message:
        return message  # which names the type of each
    return f"{name}: {message}" if message else name


# Files.


def _as_file(value: object) -> _File | None:
    if isinstance(value, _PARTS):
        return value
    if isinstance(value, bytes | bytearray):
        return _sniffed(bytes(value))
    try:
        drawn = getattr(type(value), "_repr_png_", None)
        png = drawn(value) if callable(drawn) else None
    except Exception:  # noqa: BLE001 - a value brings code of its own; the function has run and must not fail now
        return None
    return _sniffed(png) if isinstance(png, bytes) else None


def _sniffed(data: bytes) -> _File | None:
    """Bytes as what their first bytes say they are; `the list <https://en.wikipedia.org/wiki/List_of_file_signatures>`_."""
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return AudioPart(data, "wav")
    if data.startswith((b"ID3\x02", b"ID3\x03", b"ID3\x04", b"\xff\xfb", b"\xff\xf3")):
        return AudioPart(data, "mp3")
    if data.startswith(b"%PDF-"):
        return FilePart(filename="result.pdf", file_data=data_url(data, "application/pdf"))
    kind = image_type(data)
    return ImagePart(data_url(data, kind)) if kind else None


# Text.


def _text(value: object) -> str:
    if isinstance(value, _TEXTS):
        value = value.text
    return join_surrogates(str.__str__(value)) if isinstance(value, str) else _Writer().text(value)


class _Writer:
    """Writes one value as JSON, and notes what could not be written so."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._inside: list[int] = []  # the ids of the values around the current one

    def text(self, value: object) -> str:
        try:
            plain = self._csv(value) if _is_table(value) else self._plain(value)
        except Exception:  # noqa: BLE001 - a value brings code of its own; the function has run and must not fail now
            plain = value
        try:
            text = self._unquoted(to_json(plain, fallback=self._describe, inf_nan_mode="strings"))
        except Exception:  # noqa: BLE001 - see above
            self._notes[_PARTLY_TEXT] = None
            text = self._salvaged(plain)
        return "\n".join([text, *self._notes])

    def _describe(self, unknown: object) -> object:
        if isinstance(unknown, range | KeysView | ValuesView | ItemsView):
            return list(cast("Collection[object]", unknown))
        if isinstance(unknown, Mapping):
            return dict(cast("Mapping[object, object]", unknown))
        self._notes[_PARTLY_TEXT] = None
        return _described(unknown)

    def _salvaged(self, value: object) -> str:
        """As much JSON as possible: bytes in base64, half surrogate pairs as U+FFFD. Otherwise words."""
        try:
            return self._unquoted(encode_json(to_jsonable_python(value, fallback=self._describe, bytes_mode="base64")))
        except Exception:  # noqa: BLE001 - see above
            return _described(value)

    def _plain(self, value: object) -> object:
        """The value without what JSON has no form for inside lists, sets, dicts and dataclasses."""
        if type(value) in _LEAVES:
            return value
        place = id(value)
        if isinstance(value, bytes | bytearray):
            return self._of_bytes(bytes(value))
        if isinstance(value, _TEXTS):
            return value.text
        if not isinstance(value, _CONTAINERS) and not is_dataclass(value):
            return self._of_library(value)
        if place in self._inside or len(self._inside) == _DEEPEST:
            self._notes[_PARTLY_TEXT] = None
            return "..."
        self._inside.append(place)
        made = self._of_container(cast("object", value))
        self._inside.pop()
        return made

    def _of_bytes(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._notes[_AS_BASE64] = None
            return base64.b64encode(data).decode("ascii")

    def _of_library(self, value: Any) -> object:
        """A number, an array or a table of a library that we do not import, recognized by its methods."""
        if _is_table(value):
            return self._records(value)
        if _can(value, "to_list") and hasattr(value, "dtype"):  # a series
            value = self._first(value, len(value), lambda: value.head(_MOST_ITEMS))
            named = hasattr(value, "index") and not _is_counted(value)
            return self._plain({str(key): each for key, each in value.items()} if named else value.to_list())
        if not _is_array(value):
            return None if type(value).__name__ in _MISSING else value
        value = self._first(value, math.prod(value.shape), lambda: value.reshape(-1)[:_MOST_ITEMS])
        if getattr(value.dtype, "kind", "") in ("m", "M"):  # times, which numpy would give as numbers
            return value.astype(str).tolist() if value.ndim else str(value)
        items = value.tolist()
        names = getattr(value.dtype, "names", None)
        if names and value.ndim == 1:
            items = [dict(zip(names, each, strict=True)) for each in items]
        return self._plain(items) if type(items) is not type(value) else value

    def _first(self, values: Any, count: int, cut: Callable[[], Any]) -> Any:
        if count <= _MOST_ITEMS:
            return values
        self._notes[f"[The first {_MOST_ITEMS:,} of {count:,} values are shown.]"] = None
        return cut()

    def _csv(self, table: Any) -> object:
        table = self._first_rows(table)
        if hasattr(table, "write_csv"):
            return str(table.write_csv())
        return str(table.to_csv(index=not _is_counted(table), lineterminator="\n"))

    def _records(self, table: Any) -> object:
        table = self._first_rows(table)
        if hasattr(table, "to_dicts"):
            return self._plain(table.to_dicts())
        if not _is_counted(table):
            table = table.reset_index()
        return self._plain(table.to_dict(orient="records"))

    def _first_rows(self, table: Any) -> Any:
        if len(table) <= _MOST_ROWS:
            return table
        self._notes[f"[The first {_MOST_ROWS:,} of {len(table):,} rows are shown.]"] = None
        return table.head(_MOST_ROWS)

    def _of_container(self, value: object) -> object:
        if isinstance(value, set | frozenset):
            return self._sorted([self._plain(each) for each in cast("Collection[object]", value)])
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            made = [each if type(each) in _LEAVES else self._plain(each) for each in items]
            return items if all(map(operator.is_, made, items)) else made
        members = self._members(value)
        plain = {key: each if type(each) in _LEAVES else self._plain(each) for key, each in members.items()}
        if any(_is_array(key) for key in plain):
            return {key.item() if _is_array(key) else key: each for key, each in plain.items()}
        return value if all(map(operator.is_, plain.values(), members.values())) else plain

    @staticmethod
    def _members(value: object) -> Mapping[Any, object]:
        """The members of a dict, or of a dataclass that pydantic does not know."""
        if isinstance(value, dict):
            return cast("dict[object, object]", value)
        if not is_dataclass(value) or isinstance(value, type) or hasattr(value, "__pydantic_serializer__"):
            return {}
        return {each.name: getattr(value, each.name) for each in fields(value)}

    @staticmethod
    def _sorted(values: list[object]) -> list[object]:
        """The items in the same order in every process, which the order of a set of strings is not."""
        if all(isinstance(each, str) for each in values) or all(type(each) is int for each in values):
            return sorted(cast("list[Any]", values))
        return sorted(values, key=lambda each: to_json(each, fallback=_described, inf_nan_mode="strings"))

    @staticmethod
    def _unquoted(encoded: bytes) -> str:
        return str(from_json(encoded)) if encoded.startswith(b'"') else encoded.decode()


def _can(value: object, method: str) -> bool:
    return callable(getattr(type(value), method, None))


def _is_array(value: object) -> bool:
    """Return True if it is an array or a scalar of NumPy or of a library with the same interface."""
    return _can(value, "tolist") and hasattr(value, "dtype") and hasattr(value, "ndim")


def _is_table(value: object) -> bool:
    """Return True if it is a data frame of pandas or polars."""
    writes = _can(value, "to_csv") or _can(value, "write_csv")
    return writes and hasattr(value, "columns") and _can(value, "head")


def _is_counted(table: Any) -> bool:
    """Return True if the index of a pandas table only numbers its rows."""
    return type(table.index).__name__ == "RangeIndex" and table.index.name is None


def _described(value: object) -> str:
    try:
        return join_surrogates(_ADDRESS.sub("", repr(value)))
    except Exception:  # noqa: BLE001 - see above
        return f"<{type(value).__name__}>"
