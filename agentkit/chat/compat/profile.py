"""`Profile`: facts about one model of one server: what it refuses in a request, and what it wants instead.

A profile is a plain value. `agentkit.chat.compat.apply` applies it to requests, `agentkit.chat.compat.learn` reads new
facts out of error messages, and a `ProfileFile` keeps profiles between processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from agentkit.chat.files import write_atomically
from agentkit.chat.json_values import as_mapping
from agentkit.errors import ConfigError

# Each ladder goes down to what every server takes; of two facts, the one further down wins.
_LADDERS: Mapping[str, tuple[str, ...]] = {
    "token_limit": ("", "max_completion_tokens", "max_tokens"),
    "system_role": ("", "system", "user"),
    "tool_choice": ("", "required", "auto", "never"),
    "response_format": ("", "json_object", "prompt"),
}
_FILE_VERSION = 1
_FACT = re.compile(r"(?P<member>[^=\s]+)(?:=(?P<value>.*?))?(?: (?P<relation>with|without) (?P<other>[\w.]+))?", re.S)


class Fact(NamedTuple):
    """One entry of ``drop`` or ``assign``, written as ``member``, ``member=value`` or ``member=value with other``.

    Attributes:
        member: A member of the request, ``messages.refusal`` within one.
        value: A value as JSON; empty for any.
        relation: ``"with"`` or ``"without"`` another member, or an empty string.
        other: That member.
    """

    member: str
    value: str = ""
    relation: str = ""
    other: str = ""

    @classmethod
    def parse(cls, text: str) -> Fact:
        """Read what ``str`` returns."""
        found = _FACT.fullmatch(text)
        return cls(**{name: value or "" for name, value in found.groupdict().items()}) if found else cls(text)

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        return f"{self.member}{value}{f' {self.relation} {self.other}' if self.relation else ''}"

    def holds_for(self, body: Mapping[str, Any]) -> bool:
        """Return True if it applies to this request, which has or lacks the other member."""
        return not self.relation or bool(body.get(self.other)) is (self.relation == "with")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Facts about one model of one server; the empty profile changes nothing.

    Attributes:
        drop: Members that are not sent: ``"seed"``, ``"messages.refusal"``, ``"tools.function.strict"``; a single value
            of a member, ``'reasoning_effort="minimal"'``; or only with another member, ``"prediction with tools"``.
        assign: Members that are always sent with this value: ``"temperature=1"``,
            ``'reasoning_effort="none" with tools'``, ``"enable_thinking=false without stream"``.
        token_limit: The only name under which a limit of tokens is sent.
        system_role: The role of instructions: ``"system"`` also for developer messages, or ``"user"`` for both.
        single_system_message: All instructions go into one message at the beginning.
        merge_user_turns: Neighboring messages of the user are joined into one.
        assistant_after_tool: A short assistant message comes between a tool's result and a message of the user.
        plain_content: Content that is a list of texts is sent as one string.
        null_content_as_empty: An assistant message with calls has the content ``""`` instead of null.
        fill_empty_content: Nothing is sent with empty content: texts are left out, or filled where one is needed.
        tool_names: Results of tools carry the tool's name.
        reasoning: Earlier reasoning is sent back: ``"kept"`` where there is some, in the members that it came in; or,
            with the name of a member, in each assistant message, in that member when it came in none.
        keep_tools: A transcript with calls is never sent without tools.
        tool_choice: The strongest form that is sent: ``"required"`` (instead of a name; the other tools are left out),
            ``"auto"`` with an instruction, or ``"never"`` any.
        response_format: The strongest form that is sent: ``"json_object"``, or ``"prompt"``: only an instruction.
        inline_schemas: ``$ref`` in JSON Schemas is replaced by what it points to, ``const`` by ``enum``.
        schema_drop: Keywords of JSON Schema that are not sent.
        calls_in_text: The server has no parser for calls: those that its model writes into its text are read.
        no_output_by: Ways to request a typed output that it refuses or ignores (``"native"``, ``"json"``, ...).
    """

    drop: frozenset[str] = frozenset()
    assign: frozenset[str] = frozenset()
    token_limit: Literal["", "max_tokens", "max_completion_tokens"] = ""
    system_role: Literal["", "system", "user"] = ""
    single_system_message: bool = False
    merge_user_turns: bool = False
    assistant_after_tool: bool = False
    plain_content: bool = False
    null_content_as_empty: bool = False
    fill_empty_content: bool = False
    tool_names: bool = False
    reasoning: str = ""
    keep_tools: bool = False
    tool_choice: Literal["", "required", "auto", "never"] = ""
    response_format: Literal["", "json_object", "prompt"] = ""
    inline_schemas: bool = False
    schema_drop: frozenset[str] = frozenset()
    calls_in_text: bool = False
    no_output_by: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self != NO_FACTS

    @property
    def only_parameters(self) -> bool:
        """True if it concerns parameters only, neither messages nor tools."""
        given = {each.name for each in fields(self) if getattr(self, each.name)}
        dropped = map(Fact.parse, self.drop)
        parameters = {"drop", "assign", "token_limit", "calls_in_text", "no_output_by"}
        return given <= parameters and not any("." in each.member for each in dropped)

    def keeping(self, names: Collection[str]) -> Profile:
        """The facts without those that would take one of these members out of a request, or change its value."""
        drop, assign = (
            frozenset(each for each in facts if not is_kept(Fact.parse(each).member, names))
            for facts in (self.drop, self.assign)
        )
        return replace(self, drop=drop, assign=assign)

    def __or__(self, other: Profile) -> Profile:
        """The facts of both; if both have a value for a member, the other's."""
        joined: dict[str, Any] = {}
        for name in (each.name for each in fields(self)):
            one, two = getattr(self, name), getattr(other, name)
            if name in _LADDERS:
                joined[name] = max(one, two, key=_LADDERS[name].index)
            elif name == "assign" and two:
                newer = {Fact.parse(each)._replace(value="") for each in two}
                joined[name] = two | {each for each in one if Fact.parse(each)._replace(value="") not in newer}
            else:
                joined[name] = one | two if isinstance(one, frozenset) else two or one
        return Profile(**joined)

    def to_json(self) -> dict[str, Any]:
        """The facts that are set, ready for JSON."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: sorted(cast("frozenset[str]", value)) if isinstance(value, frozenset) else value
            for name, value in values.items()
            if value
        }

    @classmethod
    def from_json(cls, raw: object) -> Profile:
        """Read what `to_json` returned; anything unknown or of the wrong type is left out."""
        values: dict[str, Any] = {}
        for each in fields(cls):
            value = as_mapping(raw).get(each.name)
            if isinstance(each.default, frozenset):
                items = cast("list[object]", value) if isinstance(value, list) else []
                facts = frozenset(item for item in items if isinstance(item, str))
                values[each.name] = facts if each.name != "assign" else frozenset(filter(_has_json_value, facts))
            elif type(value) is type(each.default) and value in _LADDERS.get(each.name, (value,)):
                values[each.name] = value
        return cls(**values)


NO_FACTS = Profile()

ALONG: Mapping[str, str] = {"logprobs": "top_logprobs"}
"""Members that are dropped along with another one, as they mean nothing without it."""


def is_kept(path: str, names: Collection[str]) -> bool:
    """Return True if a member, a part of it or a member tied to it is always sent."""
    taken = {path, *path.split("."), ALONG.get(path, path)}
    return any(each in taken or each.startswith(f"{path}.") for each in names)


def _has_json_value(fact: str) -> bool:
    try:
        json.loads(Fact.parse(fact).value)
    except ValueError:
        return False
    return True


class ProfileFile:
    """Profiles in a JSON file, each under the address of its server and the name of its model.

    The file is a cache: one that is missing or cannot be understood holds no profiles, and of two processes that write
    it at the same moment one may lose a fact, which it learns again. It is replaced as a whole, so that a reader never
    finds half of it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self, base_url: str, model: str) -> Profile:
        """Read the profile that the file holds for a model."""
        return Profile.from_json(as_mapping(self._profiles().get(base_url)).get(model))

    def save(self, base_url: str, model: str, profile: Profile) -> None:
        """Add facts to those that the file now holds for this model.

        Raises:
            ConfigError: The file cannot be written, or holds something else.
        """
        if self.path.exists() and not self._stored():
            raise ConfigError(f"{str(self.path)!r} is not a file of profiles of this version; it is left as it is")
        profiles = {url: dict(as_mapping(models)) for url, models in self._profiles().items()}
        models = profiles.setdefault(base_url, {})
        models[model] = (Profile.from_json(models.get(model)) | profile).to_json()
        text = json.dumps({"version": _FILE_VERSION, "profiles": profiles}, indent=2, sort_keys=True) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, text)
        except OSError as error:
            raise ConfigError(f"the profile cannot be written to {str(self.path)!r}: {error.strerror}") from error

    def _profiles(self) -> Mapping[str, Any]:
        return as_mapping(self._stored().get("profiles"))

    def _stored(self) -> Mapping[str, Any]:
        try:
            stored = as_mapping(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError):
            return {}
        return stored if stored.get("version") == _FILE_VERSION else {}
