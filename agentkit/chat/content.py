"""The content of a message besides plain text: parts (text, images, sound, files, refusals), citations, spoken answers.

Shapes come from the `Chat Completions reference <https://platform.openai.com/docs/api-reference/chat/create>`_. Parts
are read without loss: one of an unknown shape is an `OtherPart` and is sent back as it came.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from agentkit.chat.json_values import as_count, as_mapping, as_mappings, as_text, json_safe, omit
from agentkit.errors import ConfigError

MAX_INLINE = 50 * 1024 * 1024  # bytes of one image, sound or file inside a request; no known server takes more

_SIGNATURES = {  # the first bytes of an image -> its type, for bytes that have no name
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
# A suffix or a subtype of a media type -> the API's word.
_AUDIO_FORMATS = {"wave": "wav", "x-wav": "wav", "vnd.wave": "wav", "mpeg": "mp3"}
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]+=[^;,]*)*;base64,(?P<data>.*)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Members that every part can have.

    Attributes:
        prompt_cache_breakpoint: ``{"mode": "explicit"}``: everything up to the end of this part is cached (see
            ``prompt_cache_options``).
        extra: Members of the part that have no name here, sent as they are.
    """

    _type: ClassVar[str]
    prompt_cache_breakpoint: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def to_wire(self) -> dict[str, Any]:
        """The part as the API writes it."""
        wire = {"type": self._type, self._type: self._value(), **self.extra}
        if self.prompt_cache_breakpoint is not None:
            wire["prompt_cache_breakpoint"] = dict(self.prompt_cache_breakpoint)
        return wire

    def _value(self) -> object:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class TextPart(_Part):
    """Text."""

    _type: ClassVar[str] = "text"
    text: str

    def _value(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class RefusalPart(_Part):
    """Why the model declined; in assistant messages only."""

    _type: ClassVar[str] = "refusal"
    refusal: str

    def _value(self) -> str:
        return self.refusal


@dataclass(frozen=True, slots=True)
class ImagePart(_Part):
    """An image by URL (``https:`` or ``data:``); ``detail`` is ``"auto"`` (the default), ``"low"`` or ``"high"``.

    Raises:
        ConfigError: It is not a URL.
    """

    _type: ClassVar[str] = "image_url"
    url: str
    detail: str | None = None

    def __post_init__(self) -> None:
        if ":" not in self.url:
            raise ConfigError(f"{self.url[:80]!r} is not a URL; for an image file write ImagePart.from_path(...)")

    @classmethod
    def from_path(cls, path: str | Path, detail: str | None = None) -> ImagePart:
        """The image in a file, embedded in the request.

        Raises:
            ConfigError: The file cannot be read, is empty, too large or not an image.
        """
        return cls.from_bytes(
            _contents(path), mime_type=mimetypes.guess_type(Path(path).name, strict=False)[0] or "", detail=detail
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, mime_type: str = "", detail: str | None = None) -> ImagePart:
        """The image in these bytes; without ``mime_type`` its type is read from them.

        Raises:
            ConfigError: There are no bytes, too many, or they are not an image.
        """
        kind = image_type(data) or mime_type
        if not kind.startswith("image/"):
            raise ConfigError(f"an image must have a type like 'image/png', not {kind!r}: give it as mime_type=")
        _check_size(len(data), "the data")
        return cls(data_url(data, kind), detail)

    def _value(self) -> dict[str, str]:
        return {"url": self.url} if self.detail is None else {"url": self.url, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class AudioPart(_Part):
    """Sound as bytes; ``format`` is ``"wav"`` or ``"mp3"``.

    Raises:
        ConfigError: There are no bytes, or too many.
    """

    _type: ClassVar[str] = "input_audio"
    data: bytes = field(repr=False)
    format: str

    def __post_init__(self) -> None:
        _check_size(len(self.data), "the sound")

    @classmethod
    def from_path(cls, path: str | Path) -> AudioPart:
        """The sound of a file; its suffix is the format.

        Raises:
            ConfigError: The file cannot be read, is empty or too large, or its name has no suffix.
        """
        kind = Path(path).suffix[1:].lower()
        if not kind:
            raise ConfigError(f"{str(path)!r} has no suffix that names its format: write AudioPart(data, 'wav')")
        return cls(_contents(path), _AUDIO_FORMATS.get(kind, kind))

    @classmethod
    def from_data_url(cls, url: str) -> AudioPart:
        """The sound in a URL like ``data:audio/wav;base64,...``.

        Raises:
            ConfigError: It is another kind of URL.
        """
        found = _DATA_URL.fullmatch(url)
        data = _decoded(found["data"]) if found else None
        kind = found["type"].lower() if found else ""
        if data is None or not kind.startswith("audio/"):
            raise ConfigError(f"{url[:40]!r} is not a URL like 'data:audio/wav;base64,...'")
        subtype = kind.removeprefix("audio/")
        return cls(data, _AUDIO_FORMATS.get(subtype, subtype))

    def _value(self) -> dict[str, str]:
        return {"data": _base64(self.data), "format": self.format}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart(_Part):
    """A file: ``file_data`` (base64 or a data URL) with its ``filename``, or the ``file_id`` of an uploaded one."""

    _type: ClassVar[str] = "file"
    filename: str | None = None
    file_data: str | None = field(default=None, repr=False)
    file_id: str | None = None

    @classmethod
    def from_path(cls, path: str | Path) -> FilePart:
        """A file, embedded in the request under its own name.

        Raises:
            ConfigError: The file cannot be read, is empty or too large.
        """
        return cls.from_bytes(_contents(path), filename=Path(path).name)

    @classmethod
    def from_bytes(cls, data: bytes, *, filename: str, mime_type: str = "") -> FilePart:
        """The file with these bytes; without ``mime_type`` its name decides its type.

        Raises:
            ConfigError: There are no bytes, or too many.
        """
        kind = mime_type or mimetypes.guess_type(Path(filename).name, strict=False)[0] or "application/octet-stream"
        _check_size(len(data), "the data")
        return cls(filename=filename, file_data=data_url(data, kind))

    def _value(self) -> dict[str, str]:
        members = {"filename": self.filename, "file_data": self.file_data, "file_id": self.file_id}
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True)
class OtherPart:
    """A part or an annotation of an unknown type, kept unchanged."""

    raw: Mapping[str, Any]

    def to_wire(self) -> dict[str, Any]:
        """The part, unchanged."""
        return dict(self.raw)


ContentPart: TypeAlias = TextPart | ImagePart | AudioPart | FilePart | RefusalPart | OtherPart
Content: TypeAlias = str | tuple[ContentPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioOutput:
    """The spoken answer of a model.

    Attributes:
        id: The server's id of the sound; later requests name it, until it expires.
        data: The sound in the requested format, ready for a file: ``path.write_bytes(audio.data)``.
        transcript: The spoken words.
        expires_at: When the server forgets the id, in seconds since 1970; 0 if it did not say.
    """

    id: str = ""
    data: bytes = field(default=b"", repr=False)
    transcript: str = ""
    expires_at: int = 0

    def to_record(self) -> dict[str, Any]:
        """The sound in the format of a reply."""
        return asdict(self) | {"data": _base64(self.data)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlCitation:
    """A page that is the source of ``text[start_index:end_index]`` of the answer."""

    url: str
    title: str = ""
    start_index: int = 0
    end_index: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_wire(self) -> dict[str, Any]:
        """The citation in the format of a reply."""
        members = {"url": self.url, "title": self.title, "start_index": self.start_index, "end_index": self.end_index}
        return {"type": "url_citation", "url_citation": {**self.extra, **members}}


Annotation: TypeAlias = UrlCitation | OtherPart


def read_annotation(raw: Mapping[str, Any]) -> Annotation:
    """Read an annotation; one that does not cite a URL is kept unchanged, as far as JSON can express it."""
    raw = json_safe(raw)
    citation = as_mapping(raw.get("url_citation"))
    if not isinstance(citation.get("url"), str):
        return OtherPart(raw)
    return UrlCitation(
        url=citation["url"],
        title=as_text(citation.get("title")),
        start_index=as_count(citation.get("start_index")),
        end_index=as_count(citation.get("end_index")),
        extra=omit(citation, "url", "title", "start_index", "end_index"),
    )


def read_audio(raw: Mapping[str, Any]) -> AudioOutput:
    """Read a spoken answer; sound that is not base64 counts as none."""
    return AudioOutput(
        id=as_text(raw.get("id")),
        data=_decoded(as_text(raw.get("data"))) or b"",
        transcript=as_text(raw.get("transcript")),
        expires_at=as_count(raw.get("expires_at")),
    )


_BREAKPOINT = "prompt_cache_breakpoint"


def read_content(raw: object) -> Content:
    """Read a content: a string, or parts."""
    if isinstance(raw, str):
        return raw
    return tuple(_read_part(part) for part in as_mappings(raw)) or ""


def _read_part(raw: Mapping[str, Any]) -> ContentPart:
    kind = as_text(raw.get("type"))
    value, cached = raw.get(kind), raw.get(_BREAKPOINT)
    members = as_mapping(value)
    shared: dict[str, Any] = {"extra": omit(raw, "type", kind, _BREAKPOINT), _BREAKPOINT: cached}
    plain = all(isinstance(each, str) for each in members.values())
    if not plain or (_BREAKPOINT in raw and not isinstance(cached, Mapping)):
        return OtherPart(raw)
    match kind, value:
        case "text", str(text):
            return TextPart(text, **shared)
        case "refusal", str(text):
            return RefusalPart(text, **shared)
        case "image_url", {"url": url} if members.keys() <= {"url", "detail"} and ":" in url:
            return ImagePart(**members, **shared)
        case "input_audio", {"data": data, "format": form} if len(members) == 2:
            sound = _decoded(data)
            return AudioPart(sound, form, **shared) if sound and _base64(sound) == data else OtherPart(raw)
        case "file", {} if members.keys() <= {"filename", "file_data", "file_id"}:
            return FilePart(**members, **shared)
        case _:
            return OtherPart(raw)


def content_to_wire(content: Content | None) -> str | list[dict[str, Any]] | None:
    """The content as the API writes it."""
    return content if content is None or isinstance(content, str) else [part.to_wire() for part in content]


def _contents(path: str | Path) -> bytes:
    """The bytes of a regular file: anything else may have no end, or block. At most a request's worth is read."""
    data = bytearray()
    try:
        known = Path(path).stat()
        if stat.S_ISDIR(known.st_mode):
            raise ConfigError(f"{str(path)!r} is a directory, not a file")
        if not stat.S_ISREG(known.st_mode):
            raise ConfigError(f"{str(path)!r} is not a regular file but a device, a pipe or a socket")
        _check_size(known.st_size or 1, str(path))  # some systems do not know the size of a file before it is read
        with Path(path).open("rb") as file:
            while len(data) <= MAX_INLINE and (chunk := file.read(1024 * 1024)):  # it may grow meanwhile
                data += chunk
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a null character in the name
        raise ConfigError(f"{str(path)!r} is not the name of a file: {error}") from error
    _check_size(len(data), str(path))
    return bytes(data)


def _check_size(size: int, name: str) -> None:
    if not size:
        raise ConfigError(f"{name} is empty")
    if size > MAX_INLINE:
        raise ConfigError(f"{name} has {size:,} bytes, but a request takes at most {MAX_INLINE:,}")


def image_type(data: bytes) -> str:
    """The media type of an image by its first bytes, ``"image/png"`` for example; empty if it is not a known image."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[:2] == b"BM" and data[6:10] == bytes(4):  # two letters alone may also begin prose
        return "image/bmp"
    return next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), "")


def data_url(data: bytes, media_type: str) -> str:
    """The bytes as a URL: ``data:image/png;base64,...``."""
    return f"data:{media_type};base64,{_base64(data)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
