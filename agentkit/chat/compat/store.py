"""`ProfileFile`: what was learned of models, kept between processes."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkit.chat.compat.profile import Profile
from agentkit.chat.decoding.lenient import as_mapping
from agentkit.errors import ConfigError

__all__ = ["ProfileFile"]

_VERSION = 1


class ProfileFile:
    """Profiles in a JSON file, each under the address of its server and the name of its model.

    The file is a cache: one that is missing or cannot be understood holds no profiles, and of two processes that write
    it at the same moment one may lose a fact, which it learns again. It is replaced as a whole, so that a reader never
    finds half of it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self, base_url: str, model: str) -> Profile:
        """Read what the file knows of a model."""
        return Profile.from_json(as_mapping(self._profiles().get(base_url)).get(model))

    def save(self, base_url: str, model: str, profile: Profile) -> None:
        """Add facts to those that the file has for this model now.

        Raises:
            ConfigError: The file cannot be written, or holds something else.
        """
        if self.path.exists() and not self._stored():
            raise ConfigError(f"{str(self.path)!r} is not a file of profiles of this version; it is left as it is")
        profiles = {url: dict(as_mapping(models)) for url, models in self._profiles().items()}
        models = profiles.setdefault(base_url, {})
        models[model] = (Profile.from_json(models.get(model)) | profile).to_json()
        text = json.dumps({"version": _VERSION, "profiles": profiles}, indent=2, sort_keys=True) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(text)
        except OSError as error:
            raise ConfigError(f"the profile cannot be written to {str(self.path)!r}: {error.strerror}") from error

    def _profiles(self) -> Mapping[str, Any]:
        return as_mapping(self._stored().get("profiles"))

    def _stored(self) -> Mapping[str, Any]:
        try:
            stored = as_mapping(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return {}
        return stored if stored.get("version") == _VERSION else {}

    def _replace(self, text: str) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())  # else a crash of the machine may leave the name with nothing in it
            Path(name).replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
