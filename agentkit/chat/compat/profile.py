"""What is known of one model of one server: which members of a request it refuses, and what it wants instead.

A `Profile` is a plain value. `agentkit.chat.compat.apply` applies it to requests, `agentkit.chat.compat.learn` reads
new facts out of error messages, and `ProfileFile` keeps profiles between processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from agentkit.chat.compat.store import locked
from agentkit.chat.decoding.lenient import as_mapping
from agentkit.errors import ConfigError

__all__ = ["ALONG", "NO_FACTS", "Profile", "ProfileFile", "is_kept"]

TokenLimit: TypeAlias = Literal["", "max_tokens", "max_completion_tokens"]
SystemRole: TypeAlias = Literal["", "system", "user"]
Choice: TypeAlias = Literal["", "required", "auto", "never"]
Format: TypeAlias = Literal["", "json_object", "prompt"]

# Each ladder goes down to what every server takes; of two facts the one further down holds.
_LADDERS: Mapping[str, tuple[str, ...]] = {
    "token_limit": ("", "max_completion_tokens", "max_tokens"),
    "system_role": ("", "system", "user"),
    "tool_choice": ("", "required", "auto", "never"),
    "response_format": ("", "json_object", "prompt"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Facts about one model of one server; the empty profile changes nothing.

    Attributes:
        drop: Members that are not sent: ``"seed"``, ``"messages.refusal"``, ``"tools.function.strict"``, or a single
            value of a member, ``'reasoning_effort="minimal"'``.
        token_limit: The only name that a limit of tokens is sent under.
        system_role: The role of instructions: ``"system"`` also for developer messages, or ``"user"`` for both.
        one_system: All instructions go into one message at the beginning.
        merge_user_turns: Neighbouring messages of the user are joined into one.
        assistant_after_tool: A message of the user that follows a tool's result gets a short assistant message before it.
        plain_content: Content that is a list of texts is sent as one string.
        no_null: An assistant message with calls has the content ``""`` instead of null.
        no_empty: Nothing is sent with empty content: texts are left out, or filled where a text is needed.
        tool_names: Results of tools carry the tool's name.
        reasoning: Earlier reasoning is sent back: ``"kept"`` where there is some, in the members that it came in; or,
            with the name of a member, in each assistant message, in that member when it came in none.
        tools_stub: A transcript with calls is never sent without tools.
        tool_choice: The strongest form that is sent: ``"required"`` (instead of a name; the other tools are left out),
            ``"auto"`` with an instruction, or ``"never"`` any.
        response_format: The strongest form that is sent: ``"json_object"``, or ``"prompt"``: only an instruction.
        inline_schemas: ``$ref`` in JSON Schemas is replaced by what it points to, ``const`` by ``enum``.
        schema_drop: Keywords of JSON Schema that are not sent.
        calls_in_text: The server has no parser for calls: those that its model writes into its text are read.
    """

    drop: frozenset[str] = frozenset()
    token_limit: TokenLimit = ""
    system_role: SystemRole = ""
    single_system_message: bool = False
    merge_user_turns: bool = False
    assistant_after_tool: bool = False
    plain_content: bool = False
    null_content_as_empty: bool = False
    fill_empty_content: bool = False
    tool_names: bool = False
    reasoning: str = ""
    keep_tools: bool = False
    tool_choice: Choice = ""
    response_format: Format = ""
    inline_schemas: bool = False
    schema_drop: frozenset[str] = frozenset()
    calls_in_text: bool = False

    def __bool__(self) -> bool:
        return self != NO_FACTS

    @property
    def only_parameters(self) -> bool:
        """Whether it concerns no messages and no tools, but parameters at most."""
        given = {each.name for each in fields(self) if getattr(self, each.name)}
        return given <= {"drop", "token_limit", "calls_in_text"} and not any("." in each for each in self.drop)

    def keeping(self, names: Collection[str]) -> Profile:
        """The facts without those that would take one of these members out of a request."""
        dropped = frozenset(each for each in self.drop if not is_kept(each.partition("=")[0], names))
        return replace(self, drop=dropped)

    def __or__(self, other: Profile) -> Profile:
        """The facts of both."""
        return Profile(
            **{
                each.name: _joined(each.name, getattr(self, each.name), getattr(other, each.name))
                for each in fields(self)
            }
        )

    def to_json(self) -> dict[str, Any]:
        """The facts that there are, ready for JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values |= {"drop": sorted(self.drop), "schema_drop": sorted(self.schema_drop)}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, raw: object) -> Profile:
        """Read what `to_json` gave; what is unknown or has the wrong type is left out."""
        given = as_mapping(raw)
        values = {each.name: _read(each.name, given.get(each.name), each.default) for each in fields(cls)}
        return cls(**values)


NO_FACTS = Profile()

ALONG: Mapping[str, str] = {"logprobs": "top_logprobs"}
"""Members that go with another one, as they mean nothing without it."""


def is_kept(path: str, names: Collection[str]) -> bool:
    """Whether a member, or a part of it, or what goes with it, is among those that are always sent."""
    taken = {path, *path.split("."), ALONG.get(path, path)}
    return any(each in taken or each.startswith(f"{path}.") for each in names)


def _joined(name: str, one: Any, other: Any) -> Any:
    if name in _LADDERS:
        return max(one, other, key=_LADDERS[name].index)
    if isinstance(one, frozenset):
        return one | other
    return other or one


def _read(name: str, value: object, default: Any) -> Any:
    if isinstance(default, frozenset):
        items = cast("list[object]", value) if isinstance(value, list) else []
        return frozenset(item for item in items if isinstance(item, str))
    right = type(value) is type(default) and (name not in _LADDERS or value in _LADDERS[name])
    return value if right else default


_VERSION = 1


class ProfileFile:
    """Profiles in a JSON file, each under the address of its server and the name of its model.

    A file that is not there, or cannot be understood, holds no profiles; it is written whole or not at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self, base_url: str, model: str) -> Profile:
        """What the file knows of a model."""
        return Profile.from_json(as_mapping(self._profiles().get(base_url)).get(model))

    def save(self, base_url: str, model: str, profile: Profile) -> None:
        """Add facts to those that the file has for this model, whoever else is writing it.

        Raises:
            ConfigError: The file cannot be written, or holds something else.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_name(f".{self.path.name}.lock")):
                _replace(self.path, self._with(base_url, model, profile))
        except OSError as error:
            raise ConfigError(f"the profile cannot be written to {str(self.path)!r}: {error.strerror}") from error

    def _with(self, base_url: str, model: str, profile: Profile) -> str:
        """The text of the file with these facts in it too."""
        if self.path.exists() and not self._stored():
            raise ConfigError(f"{str(self.path)!r} is no file of profiles that this version knows; it is left as it is")
        profiles = {url: dict(as_mapping(models)) for url, models in self._profiles().items()}
        models = profiles.setdefault(base_url, {})
        models[model] = (Profile.from_json(models.get(model)) | profile).to_json()
        return json.dumps({"version": _VERSION, "profiles": profiles}, indent=2, sort_keys=True) + "\n"

    def _profiles(self) -> Mapping[str, Any]:
        return as_mapping(self._stored().get("profiles"))

    def _stored(self) -> Mapping[str, Any]:
        try:
            stored = as_mapping(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return {}
        return stored if stored.get("version") == _VERSION else {}


def _replace(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds the old text or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
