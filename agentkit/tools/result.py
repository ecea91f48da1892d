"""The result of a call, and how a Python value becomes what a model reads.

The content is written when the call returns, so that a later change of the value does not change what the model reads.
It is JSON, never a Python repr, apart from what JSON cannot express.
"""

from __future__ import annotations

import base64
import operator
import re
from collections.abc import Collection, ItemsView, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeAlias, cast, get_args

from pydantic_core import from_json, to_json, to_jsonable_python

from agentkit.chat.content import AudioPart, ContentPart, FilePart, ImagePart, TextPart, content_to_wire, read_content
from agentkit.chat.json_values import encode_json
from agentkit.chat.log import escape_controls
from agentkit.errors import StateError

__all__ = ["OWN_KEYS", "ToolResult", "describe_error", "to_result"]

OWN_KEYS = "agentkit:"
"""How the keys of a result's metadata begin that the run itself sets; a tool cannot set them."""

_MEMBERS = {"content": str, "is_error": bool, "files": list, "metadata": dict, "final": bool}  # of the JSON form
_LONGEST_MESSAGE = 500  # characters of what a tool raised
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_PARTLY_TEXT = "\n[Part of this result is not JSON and is shown as text.]"
_AS_BASE64 = "\n[Bytes that are no text are shown as base64.]"
_LEAVES = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = (dict, list, tuple, set, frozenset)
_DEEPEST = 200  # lists in lists: pydantic writes no more than 255
_MOST_FILES = 32  # in a list; a longer one is data
_PARTS = (ImagePart, AudioPart, FilePart)
_File: TypeAlias = ImagePart | AudioPart | FilePart
_ANY_PART = get_args(ContentPart)


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
        """The result as JSON values. Of ``data`` and ``metadata`` it holds what JSON can express, else null."""
        return {
            "content": self.content,
            "data": _json_value(self.data),
            "is_error": self.is_error,
            "files": content_to_wire(tuple(self.files)),
            "metadata": _json_value(dict(self.metadata)) or {},
            "final": self.final,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ToolResult:
        """Read what `to_dict` gave.

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


def _json_value(value: object) -> Any:
    try:
        return from_json(to_json(value, inf_nan_mode="null"))
    except (TypeError, ValueError, RecursionError):
        return None


def to_result(value: object, *, own: bool = False) -> ToolResult:
    """Make what a function returned readable for a model. Never fails, since the function has already done its work.

    A string stays as it is. Images, sound and files (parts of a message, bytes that begin like one of them, or what
    shows itself as a PNG in a notebook) become files of the result. Everything else is compact JSON, as pydantic writes
    it: None is ``null``, a model goes by its aliases, and what JSON writes as a string (a date, an enum's value, UTF-8
    bytes) is that string without quotes. NaN is written as the string NaN, a set as a sorted list, and other bytes as
    base64. What JSON cannot express is described in words. A last line says so of base64 and of words. A `ToolResult`
    is returned as it is, apart from members of another type than theirs and from what only the run may say of a result;
    ``own`` keeps that.
    """
    if isinstance(value, str):
        return ToolResult(_clean(str.__str__(value)), value)
    if isinstance(value, ToolResult):
        return _as_typed(value, own=own)
    files, rest = _split(value)
    return ToolResult(_with_files(files, rest), value, files=files) if files else ToolResult(_text(value), value)


def _as_typed(result: ToolResult, *, own: bool) -> ToolResult:
    """The result with members of the types that they should have, as the function's author may not check types."""
    content = _text(result.content)
    files, left_out = _as_files(result.files)
    if left_out:
        content += f"\n[Left out: {left_out} that cannot be shown as a file.]"
    metadata = _as_metadata(result.metadata, own=own)
    is_typed = content is result.content and files is result.files and metadata is result.metadata
    if is_typed and isinstance(result.final, bool):  # pyright: ignore[reportUnnecessaryIsInstance] - see above
        return result
    return replace(result, content=content, files=files, metadata=metadata, final=result.final is True)


def _as_metadata(metadata: object, *, own: bool) -> Mapping[str, Any]:
    try:
        known = cast("Mapping[str, Any]", metadata if isinstance(metadata, Mapping) else {})
        if own or not any(_is_own(key) for key in known):
            return known
        return {key: value for key, value in known.items() if not _is_own(key)}
    except Exception:  # noqa: BLE001 - a mapping brings code of its own; the function has run and must not fail now
        return {}


def _is_own(key: object) -> bool:
    return isinstance(key, str) and key.startswith(OWN_KEYS)


def _as_files(files: object) -> tuple[Sequence[ContentPart], int]:
    """The files as parts of a message, and how many are none."""
    if files is None:
        return (), 0
    several = isinstance(files, list | tuple)
    given = list(cast("Sequence[object]", files)) if several else [files]
    if several and all(isinstance(each, _ANY_PART) for each in given):
        return cast("Sequence[ContentPart]", files), 0
    parts = [cast("ContentPart", each) if isinstance(each, _ANY_PART) else _as_file(each) for each in given]
    kept = tuple(part for part in parts if part is not None)
    return kept, len(parts) - len(kept)


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


def _split(value: object) -> tuple[tuple[_File, ...], list[object]]:
    """The files of a value, alone or in a short list, and what else is in that list."""
    if not isinstance(value, list | tuple):
        file = _as_file(value)
        return ((file,), []) if file is not None else ((), [])
    parts = cast("Sequence[object]", value)
    found = [_as_file(part) for part in parts] if len(parts) <= _MOST_FILES else []
    files = tuple(file for file in found if file is not None)
    return files, [part for part, file in zip(parts, found, strict=True) if file is None] if files else []


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
    head = data[:16]
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return AudioPart(data, "wav")
    if head.startswith((b"ID3\x02", b"ID3\x03", b"ID3\x04", b"\xff\xfb", b"\xff\xf3")):
        return AudioPart(data, "mp3")
    if head.startswith(b"%PDF-"):
        return FilePart(filename="result.pdf", file_data=_data_url("application/pdf", data))
    kind = _image_kind(head)
    return ImagePart(_data_url(f"image/{kind}", data)) if kind else None


def _image_kind(head: bytes) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    signatures = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}
    return next((kind for signature, kind in signatures.items() if head.startswith(signature)), "")


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _with_files(files: Sequence[_File], rest: Sequence[object]) -> str:
    told = [part.text if isinstance(part, TextPart) else part for part in rest]
    words = "\n".join(_clean(each) if isinstance(each, str) else _text(each) for each in told)
    attached = ", ".join(_named(file) for file in files)
    return f"{words}\n[attached: {attached}]" if words else f"[attached: {attached}]"


def _named(file: _File) -> str:
    if isinstance(file, FilePart):
        return f"the file {file.filename or file.file_id}"
    return "an image" if isinstance(file, ImagePart) else "sound"


# Words.


def _text(value: object) -> str:
    return _clean(str.__str__(value)) if isinstance(value, str) else _Writer().text(value)


class _Writer:
    """Writes one value as JSON, and notes what could not be written so."""

    def __init__(self) -> None:
        self._described = self._encoded = False
        self._inside: list[int] = []  # what holds the value that is looked at, by id

    def text(self, value: object) -> str:
        try:
            plain = self._plain(value)
        except Exception:  # noqa: BLE001 - a value brings code of its own; the function has run and must not fail now
            plain = value
        try:
            text = _unquoted(to_json(plain, fallback=self._describe, inf_nan_mode="strings"))
        except Exception:  # noqa: BLE001 - see above
            self._described = True
            text = self._salvaged(plain)
        return text + (_PARTLY_TEXT if self._described else "") + (_AS_BASE64 if self._encoded else "")

    def _describe(self, unknown: object) -> object:
        if isinstance(unknown, range | KeysView | ValuesView | ItemsView):
            return list(cast("Collection[object]", unknown))
        if isinstance(unknown, Mapping):
            return dict(cast("Mapping[object, object]", unknown))
        self._described = True
        return _described(unknown)

    def _salvaged(self, value: object) -> str:
        """As much JSON as possible: bytes in base64, half surrogate pairs as U+FFFD. Otherwise words."""
        try:
            return _unquoted(encode_json(to_jsonable_python(value, fallback=self._describe, bytes_mode="base64")))
        except Exception:  # noqa: BLE001 - see above
            return _described(value)

    def _plain(self, value: object) -> object:
        """The value without what JSON has no form for, as far as lists, sets, dicts and dataclasses hold it."""
        if type(value) in _LEAVES:
            return value
        place = id(value)
        if isinstance(value, bytes | bytearray):
            return self._of_bytes(bytes(value))
        if not isinstance(value, _CONTAINERS) and not is_dataclass(value):
            return value
        if place in self._inside or len(self._inside) == _DEEPEST:
            self._described = True
            return "..."
        self._inside.append(place)
        made = self._of_container(cast("object", value))
        self._inside.pop()
        return made

    def _of_bytes(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            self._encoded = True
            return base64.b64encode(data).decode("ascii")

    def _of_container(self, value: object) -> object:
        if isinstance(value, set | frozenset):
            return _sorted([self._plain(each) for each in cast("Collection[object]", value)])
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            made = [each if type(each) in _LEAVES else self._plain(each) for each in items]
            return items if all(map(operator.is_, made, items)) else made
        members = _members(value)
        plain = {key: each if type(each) in _LEAVES else self._plain(each) for key, each in members.items()}
        return value if all(map(operator.is_, plain.values(), members.values())) else plain


def _members(value: object) -> Mapping[Any, object]:
    """Those of a dict, and of a dataclass that pydantic knows nothing of."""
    if isinstance(value, dict):
        return cast("dict[object, object]", value)
    if not is_dataclass(value) or isinstance(value, type) or hasattr(value, "__pydantic_serializer__"):
        return {}
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _sorted(values: list[object]) -> list[object]:
    """In an order that is the same in every process: that of a set of texts is not."""
    if all(isinstance(each, str) for each in values) or all(type(each) is int for each in values):
        return sorted(cast("list[Any]", values))
    return sorted(values, key=lambda each: to_json(each, fallback=_described, inf_nan_mode="strings"))


def _unquoted(encoded: bytes) -> str:
    return str(from_json(encoded)) if encoded.startswith(b'"') else encoded.decode()


def _described(value: object) -> str:
    try:
        return _clean(_ADDRESS.sub("", repr(value)))
    except Exception:  # noqa: BLE001 - see above
        return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    """The text with surrogates joined to the character they make, or U+FFFD: UTF-8 has no surrogates."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
