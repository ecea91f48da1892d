"""`Skills`: instructions in the format of `Agent Skills <https://agentskills.io>`_, read on demand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from agentkit import tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.tools import ToolResult, Toolset
from agentkit_tools.root import Root

__all__ = ["Skill", "Skills"]

_FILE = "SKILL.md"
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST_NAME, _LONGEST_DESCRIPTION, _MOST_SKILLS = 64, 1024, 100
_LARGEST = 1024 * 1024
_FRONT = re.compile(r"\A---[ \t]*\r?\n(?P<front>.*?)^---[ \t]*\r?\n?(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_MEMBER = re.compile(r"^(?P<key>[\w-]+):[ \t]*(?P<value>.*(?:\n(?:[ \t]+.*|(?=\n)))*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill: its name, when to use it, and its instructions."""

    name: str
    description: str
    body: str


class Skills(Toolset):
    """Tools to read skills: folders with a ``SKILL.md``, whose names and descriptions the model always sees.

    This runs nothing. To let a model run the scripts of skills, give it a `Shell` that can read the folder:
    ``Shell("project", readable=["skills"])``.

    Args:
        folder: The folder that contains the skill folders.

    Raises:
        ConfigError: There is no such folder, no skill in it, or a malformed skill.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root = Root(folder)
        self._skills = {skill.name: skill for skill in self._read_all()}
        if not self._skills:
            raise ConfigError(f"Skills: no folder in {str(folder)!r} has a {_FILE}")
        listed = "\n".join(f"- {skill.name}: {skill.description}" for skill in self._skills.values())
        read = tool(self.read_skill, read_only=True)
        read = replace(read, description=f"{read.description} There are:\n{listed}")
        super().__init__(read, tool(self.read_skill_file, read_only=True))

    @property
    def skills(self) -> Mapping[str, Skill]:
        """The skills by name."""
        return dict(self._skills)

    def read_skill(self, name: Annotated[str, "The name of the skill."]) -> ToolResult:
        """Read the instructions of a skill before you do what its description names."""
        skill = self._skill(name)
        entries = [
            entry.path for entry in self._root.walk(name) if not entry.is_dir and entry.path != f"{name}/{_FILE}"
        ]
        files = "\n".join(f"- {path.partition('/')[2]}" for path in entries)
        where = f"\n\n[Files of the skill, in {self._root.path / name}:\n{files}]" if files else ""
        return self._result(f"{name}/{_FILE}", skill.body.strip() + where)

    def read_skill_file(
        self,
        name: Annotated[str, "The name of the skill."],
        path: Annotated[str, "The file, as the skill names it."],
    ) -> ToolResult:
        """Read a file that belongs to a skill."""
        self._skill(name)
        place = self._root.normalize(f"{name}/{path}")
        return self._result(place, self._text(place))

    def _skill(self, name: str) -> Skill:
        if name not in self._skills:
            raise ModelRetry(f"there is no skill {name!r}; there are {', '.join(self._skills)}")
        return self._skills[name]

    def _text(self, path: str) -> str:
        try:
            return self._root.read(path, max_bytes=_LARGEST).decode()
        except UnicodeDecodeError:
            raise ToolError(f"{path!r} is not a text file") from None

    def _result(self, path: str, content: str) -> ToolResult:
        return ToolResult(content, content, metadata={"source": f"skill:{path}"})

    def _read_all(self) -> list[Skill]:
        found: list[Skill] = []
        for entry in self._root.walk(depth=1):
            if entry.is_dir and any(
                each.path == f"{entry.path}/{_FILE}" for each in self._root.walk(entry.path, depth=1)
            ):
                try:
                    found.append(_parse(entry.path, self._text(f"{entry.path}/{_FILE}")))
                except (ToolError, ValueError) as error:
                    raise ConfigError(f"Skills: {entry.path}/{_FILE}: {error}") from None
        if len(found) > _MOST_SKILLS:
            raise ConfigError(f"Skills: there are {len(found)} skills; a model is offered at most {_MOST_SKILLS}")
        return found


def _parse(folder: str, text: str) -> Skill:
    """Return the skill in a file; only scalar values of its front matter are read.

    Raises:
        ValueError: It is malformed; the message says how.
    """
    parts = _FRONT.match(text)
    if parts is None:
        raise ValueError("it must begin with a block of `name:` and `description:` between lines of ---")
    members = {each["key"]: _scalar(each["value"]) for each in _MEMBER.finditer(parts["front"])}
    name, description = members.get("name", ""), members.get("description", "")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"the name {name!r} must have at most {_LONGEST_NAME} lower-case letters, digits and single hyphens"
        )
    if name != folder:
        raise ValueError(f"the name {name!r} must be that of its folder")
    if not 1 <= len(description) <= _LONGEST_DESCRIPTION:
        raise ValueError(f"the description must have 1 to {_LONGEST_DESCRIPTION} characters")
    return Skill(name, description, parts["body"])


def _scalar(written: str) -> str:
    """Return a YAML scalar as text: plain, quoted, or a block; lines are joined by spaces."""
    text = " ".join(line.strip() for line in written.splitlines() if line.strip())
    text = re.sub(r"^[>|][+-]?(?: |$)", "", text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1].replace('\\"', '"').replace("''", "'")
    return re.sub(r" #.*$", "", text)
