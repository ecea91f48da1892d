import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentkit.chat.content
from agentkit.chat.content import (
    AudioPart,
    FilePart,
    ImagePart,
    OtherPart,
    RefusalPart,
    TextPart,
    data_url,
    image_type,
    read_audio,
    read_content,
)
from agentkit.errors import ConfigError

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 8
MARK = {"mode": "explicit"}

WIRE: list[tuple[dict[str, Any], type]] = [
    ({"type": "text", "text": "x"}, TextPart),
    ({"type": "text", "text": "x", "prompt_cache_breakpoint": MARK}, TextPart),
    ({"type": "text", "text": "x", "annotations": []}, TextPart),
    ({"type": "refusal", "refusal": "no"}, RefusalPart),
    ({"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "original"}}, ImagePart),
    ({"type": "image_url", "image_url": {"url": "data:,"}, "prompt_cache_breakpoint": MARK}, ImagePart),
    ({"type": "input_audio", "input_audio": {"data": "AAE=", "format": "flac"}}, AudioPart),
    ({"type": "file", "file": {"file_id": "f"}}, FilePart),
    ({"type": "file", "file": {}}, FilePart),
    ({"type": "text", "text": None}, OtherPart),
    ({"type": "text", "text": "x", "prompt_cache_breakpoint": None}, OtherPart),
    ({"type": "image_url", "image_url": {"url": "not a url"}}, OtherPart),
    ({"type": "image_url", "image_url": {"url": "data:,", "newer": "x"}}, OtherPart),
    ({"type": "image_url", "image_url": {"url": "data:,", "detail": None}}, OtherPart),
    ({"type": "input_audio", "input_audio": {"data": "not base64", "format": "wav"}}, OtherPart),
    ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, OtherPart),
    ({"type": "file", "file": {"file_data": "x", "newer": "y"}}, OtherPart),
    ({"type": "file"}, OtherPart),
    ({"type": "video_url", "video_url": {"url": "https://x"}}, OtherPart),
    ({}, OtherPart),
]


@pytest.mark.parametrize(("wire", "kind"), WIRE)
def test_a_part_is_read_without_loss(wire: dict[str, Any], kind: type) -> None:
    content = read_content([wire])
    assert isinstance(content, tuple)
    (part,) = content
    assert type(part) is kind
    assert part.to_wire() == wire


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(["url", "detail", "data", "format", "file_id", "x"]), inner, max_size=3
    ),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(["text", "refusal", "image_url", "input_audio", "file", "prompt_cache_breakpoint", "x"]), JSON
    ),
    st.sampled_from(["text", "refusal", "image_url", "input_audio", "file", "newer", ""]),
)
def test_whatever_a_part_holds_it_goes_back_as_it_came(members: dict[str, Any], kind: str) -> None:
    wire = {**members, "type": kind}
    content = read_content([wire])
    assert [part.to_wire() for part in content if not isinstance(part, str)] == [wire]


def test_an_image_file_becomes_a_data_url(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    part = ImagePart.from_path(path, "low")
    assert part == ImagePart("data:image/png;base64," + base64.b64encode(PNG).decode(), "low")


@pytest.mark.parametrize(
    ("data", "mime_type", "expected"),
    [
        (PNG, "", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"GIF89a", "", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "", "image/webp"),
        (b"\xff\xd8\xff\xe0", "image/png", "image/jpeg"),
        (b"<svg/>", "image/svg+xml", "image/svg+xml"),
    ],
)
def test_the_type_of_an_image_is_what_its_bytes_say(data: bytes, mime_type: str, expected: str) -> None:
    assert ImagePart.from_bytes(data, mime_type=mime_type).url.startswith(f"data:{expected};base64,")


def test_a_file_keeps_its_name_and_gets_its_type_from_it(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF")
    expected = FilePart(filename="report.pdf", file_data="data:application/pdf;base64,JVBERg==")
    assert FilePart.from_path(str(path)) == expected
    assert FilePart.from_bytes(b"%PDF", filename="report.pdf") == expected
    strange = FilePart.from_bytes(b"x", filename="x.unheardof").file_data
    assert strange == "data:application/octet-stream;base64,eA=="
    assert FilePart.from_bytes(b"x", filename="x", mime_type="text/csv").file_data == "data:text/csv;base64,eA=="


def test_sound_comes_from_a_file_or_a_data_url(tmp_path: Path) -> None:
    path = tmp_path / "hello.MP3"
    path.write_bytes(b"\x00\x01")
    assert AudioPart.from_path(path) == AudioPart(b"\x00\x01", "mp3")
    assert AudioPart.from_data_url("data:audio/mpeg;base64,AAE=") == AudioPart(b"\x00\x01", "mp3")
    assert AudioPart.from_data_url("data:audio/x-wav;codecs=1;base64,AAE=") == AudioPart(b"\x00\x01", "wav")


def refusals(folder: Path) -> list[tuple[Any, str]]:
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("notes")
    (folder / "sound").write_bytes(b"x")
    return [
        (lambda: ImagePart("cat.png"), "from_path"),
        (lambda: ImagePart.from_path(folder / "none.png"), "cannot be read: No such file"),
        (lambda: ImagePart.from_path(folder / "empty.png"), "is empty"),
        (lambda: ImagePart.from_path(folder / "notes.txt"), "not 'text/plain'"),
        (lambda: ImagePart.from_bytes(b"?"), "give it as mime_type="),
        (lambda: FilePart.from_bytes(b"", filename="x"), "is empty"),
        (lambda: AudioPart(b"", "wav"), "the sound is empty"),
        (lambda: AudioPart.from_path(folder / "sound"), "no suffix"),
        (lambda: AudioPart.from_data_url("data:image/png;base64,AAE="), "'data:audio/wav;base64,...'"),
        (lambda: AudioPart.from_data_url("https://x/y.wav"), "is not a URL like"),
    ]


def test_what_is_no_image_sound_or_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for make, complaint in refusals(tmp_path):
        with pytest.raises(ConfigError) as raised:
            make()
        assert complaint in str(raised.value)


def test_a_file_that_no_request_takes_is_refused() -> None:
    too_much = bytes(agentkit.chat.content.MAX_INLINE + 1)
    with pytest.raises(ConfigError, match="52,428,801 bytes"):
        FilePart.from_bytes(too_much, filename="x")


def test_bytes_are_not_printed() -> None:
    parts = (AudioPart(b"secret", "wav"), FilePart.from_bytes(b"secret", filename="x"))
    assert "secret" not in repr(parts)
    assert "c2VjcmV0" not in repr(parts)


def test_sound_that_is_not_base64_counts_as_none() -> None:
    assert read_audio({"id": "a", "data": "?", "expires_at": None}).data == b""
    assert json.loads(json.dumps(read_audio({"data": "AAE="}).to_record()))["data"] == "AAE="


FROM_PATH = pytest.mark.parametrize("read", [FilePart.from_path, ImagePart.from_path, AudioPart.from_path])
Read = Callable[[Path | str], object]


@FROM_PATH
def test_a_file_that_is_larger_than_a_request_is_refused_without_reading_it(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(4 * 1024**3)  # takes no room on the disk
    with pytest.raises(ConfigError, match=r"large.wav has 4,294,967,296 bytes, but a request takes at most"):
        read(path)


@FROM_PATH
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its file system")
def test_what_has_a_name_but_is_not_a_file_is_refused_and_never_waited_for(tmp_path: Path, read: Read) -> None:
    pipe, link = tmp_path / "pipe.wav", tmp_path / "zero.wav"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path, complaint in (
        (pipe, "is not a regular file but a device, a pipe or a socket"),
        (link, "is not a regular file but a device, a pipe or a socket"),
        (tmp_path / "folder.wav", "is a directory, not a file"),
        (tmp_path / "gone.wav", "cannot be read: No such file or directory"),
        ("a\0b.wav", "is not the name of a file: embedded null byte"),
    ):
        (tmp_path / "folder.wav").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=complaint):
            read(path)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", ""),
        (b"BM\x46\0\0\0\0\0\0\0\x36", "image/bmp"),
        (b"BM is short for", ""),
        (b"GIF8", ""),
        (b"", ""),
    ],
)
def test_an_image_is_known_by_its_first_bytes(start: bytes, kind: str) -> None:
    assert image_type(start + b"rest" if start else b"") == kind
    assert data_url(b"\0", "image/png") == "data:image/png;base64,AA=="
