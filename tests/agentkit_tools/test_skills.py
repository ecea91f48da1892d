"""Skills are offered by name and read when they are needed."""

from pathlib import Path

import pytest
from agentkit_tools import Skills

from agentkit import Agent
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call

TEXT = """---
name: release-notes
description: >
  Write release notes.
  Use when a version is published.
license: MIT
metadata:
  author: somebody
---
# Release notes

Begin with what users notice.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "skills" / "release-notes"
    (place / "scripts").mkdir(parents=True)
    (place / "SKILL.md").write_text(TEXT)
    (place / "scripts" / "collect.sh").write_text("git log --oneline\n")
    (place / "logo.png").write_bytes(b"\x89PNG\xff")
    (place / "escape").symlink_to("/etc/passwd")
    (tmp_path / "skills" / "no-skill").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "skills"


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "SKILL.md").write_text(text)


def test_names_and_descriptions_are_offered_and_the_body_is_read_when_needed(folder: Path) -> None:
    skills = Skills(folder)
    offered = skills["read_skill"].description
    assert offered.endswith("- release-notes: Write release notes. Use when a version is published.")
    assert "what users notice" not in offered
    read = skills.read_skill("release-notes")
    assert read.content.startswith("# Release notes\n\nBegin with what users notice.")
    assert f"in {folder / 'release-notes'}:\n- logo.png\n- scripts/collect.sh]" in read.content
    assert read.metadata == {"source": "skill:release-notes/SKILL.md"}
    assert skills.read_skill_file("release-notes", "scripts/collect.sh").content == "git log --oneline\n"
    with pytest.raises(ModelRetry, match="there are release-notes"):
        skills.read_skill("other")


@pytest.mark.parametrize(
    "path", ["../../secret.txt", "/etc/passwd", "escape", "missing.md", "logo.png", ".env", "scripts"]
)
def test_only_texts_of_the_skill_are_read(folder: Path, path: str) -> None:
    with pytest.raises(ToolError):
        Skills(folder).read_skill_file("release-notes", path)
    with pytest.raises(ModelRetry):
        Skills(folder).read_skill_file("..", "secret.txt")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("description: Plain # a comment", "Plain"),
        ("description: 'It''s quoted: really'", "It's quoted: really"),
        ('description: "Say \\"hi\\""', 'Say "hi"'),
        ("description: |-\n  one\n  two\nlicense: MIT", "one two"),
        ("description: over\n  two lines", "over two lines"),
    ],
)
def test_descriptions_in_the_ways_that_yaml_has(tmp_path: Path, written: str, read: str) -> None:
    write(tmp_path, "a", f"---\nname: a\n{written}\n---\nbody")
    assert Skills(tmp_path).skills["a"].description == read
    assert Skills(tmp_path).skills["a"].body == "body"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# No front matter", "must begin with"),
        ("---\nname: a\n", "must begin with"),
        ("---\nname: A b\ndescription: x\n---\n", "lower-case letters"),
        ("---\ndescription: x\n---\n", "lower-case letters"),
        ("---\nname: other\ndescription: x\n---\n", "that of its folder"),
        ("---\nname: a\n---\n", "1 to 1024"),
        (f"---\nname: a\ndescription: {'x' * 1025}\n---\n", "1 to 1024"),
    ],
    ids=range(7),
)
def test_skills_that_break_the_format_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    write(tmp_path, "a", text)
    with pytest.raises(ConfigError, match=complaint):
        Skills(tmp_path)


def test_a_folder_without_skills_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has a SKILL\.md"):
        Skills(tmp_path)


@pytest.mark.anyio
async def test_in_a_run_a_skill_is_read(folder: Path) -> None:
    model = ScriptedModel([call("read_skill", name="release-notes"), "Done."])
    result = await Agent(model, tools=[Skills(folder)]).run("Write the notes.")
    assert "what users notice" in next(message.text for message in result.messages if message.role == "tool")
