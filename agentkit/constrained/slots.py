"""Slots of a llama.cpp server: they keep the prompts that it has read, and files keep them between processes.

Reading a prompt costs a small model as much as writing it. The strategy begins every request with examples and the
description of a tool, so these are read once per machine, not once per question or process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentkit.messages import Message

__all__ = ["PromptSlots"]

_MOST_BYTES = 300_000_000  # of all files; one has 4 to 14 MB
_SECONDS = 10  # for requests that only copy memory


class PromptSlots:
    """Finds a slot for the beginning of a prompt, already read if this machine has ever read it.

    It blocks for milliseconds, and may be used from any thread.

    Args:
        address: The server, without ``/v1``. It must save its slots in ``directory``.
        key: The server's API key.
        count: The number of slots to use: the first ones.
        directory: Where the files are.
        model: Identifies the model and the version of llama.cpp, as their files cannot be exchanged.
    """

    def __init__(self, address: str, key: str, *, count: int, directory: Path, model: str) -> None:
        self._address = address
        self._key = key
        self._count = count
        self._directory = directory
        self._model = model
        self._slots: dict[str, int] = {}  # by prompt; the one that was used last is last
        self._lock = threading.Lock()

    def tokenize(self, text: str) -> list[int]:
        """Tokenize a string into token ids."""
        ids: list[int] = self._post("/tokenize", {"content": text})["tokens"]
        return ids

    def open(self, prompt: Sequence[Message], shared: Sequence[Message] = ()) -> tuple[int, bool]:
        """Find the slot for requests that begin with a prompt.

        Args:
            prompt: The beginning.
            shared: What it shares with other prompts. Having read that is better than nothing.

        Returns:
            The number of the slot, and whether the prompt, or what it shares, has been read there already.
        """
        name = self._name(prompt)
        with self._lock:
            if name in self._slots:
                slot = self._slots[name] = self._slots.pop(name)
                return slot, True
            is_free = len(self._slots) < self._count
            slot = self._slots[name] = len(self._slots) if is_free else self._slots.pop(next(iter(self._slots)))
            for file in (self._directory / name, self._directory / self._name(shared)):
                if file.is_file():
                    with contextlib.suppress(OSError):
                        if self._transfer("restore", slot, file.name):
                            file.touch()  # so that unused files are the oldest
                            return slot, True
                        file.unlink()
            return slot, False

    def save(self, prompt: Sequence[Message], shared: Sequence[Message] = ()) -> None:
        """Save a prompt that a slot has read, also under the beginning it shares. A full disk is not an error."""
        slot = self._slots.get(self._name(prompt))
        missing = [self._directory / self._name(each) for each in (prompt, shared) if each]
        missing = [file for file in missing if not file.exists()]
        if slot is None or not missing:
            return
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for file in missing:
                new = f"{os.getpid()}-{file.name}"  # written atomically
                if self._transfer("save", slot, new):
                    (self._directory / new).replace(file)
            files = sorted(self._directory.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
            size = 0
            for file in files:
                size += file.stat().st_size
                if size > _MOST_BYTES:
                    file.unlink()

    def _name(self, prompt: Sequence[Message]) -> str:
        members = json.dumps([self._model, *(each.to_wire() for each in prompt)], sort_keys=True)
        return f"{hashlib.sha256(members.encode()).hexdigest()[:32]}.prompt"

    def _transfer(self, action: str, slot: int, name: str) -> bool:
        try:
            return bool(self._post(f"/slots/{slot}?action={action}", {"filename": name}))
        except OSError:  # a damaged file, a full disk: the prompt is read again
            return False

    def _post(self, path: str, body: object) -> Any:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self._address}{path}", json.dumps(body).encode(), headers)  # noqa: S310 - of llama.cpp
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_SECONDS) as answer:
            return json.load(answer)
