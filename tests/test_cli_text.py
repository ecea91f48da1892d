import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from agentkit.chat import Choice, Reply
from agentkit.cli.live import LiveDisplay, split_blocks
from agentkit.cli.load import load_tools
from agentkit.cli.output import Display, JsonDisplay, PlainDisplay
from agentkit.cli.terminal_text import call_line, exact_line, one_line, printable, shortened
from agentkit.errors import AgentKitError, ConfigError, DefinitionError
from agentkit.events import (
    AgentChanged,
    ApprovalRequested,
    CallDenied,
    CallFinished,
    CallStarted,
    Event,
    LimitWarning,
    MessageAdded,
    Origin,
    Progress,
    ReasoningDelta,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ToolChanged,
    TurnFinished,
    event_to_dict,
)
from agentkit.messages import AssistantMessage, ToolCall, UserMessage
from agentkit.run import RunState
from agentkit.tools import ToolResult
from tests.command import fresh_imports


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nÄ 日本 👍🏽", "plain\ttext\nÄ 日本 👍🏽"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("over\rwritten", "over\\u000dwritten"),
        ("line\r\nline", "line\nline"),
        ("\x00\x08\x0b\x7f\x85\x9b", "\\u0000\\u0008\\u000b\\u007f\\u0085\\u009b"),
        ("a\u202eb\u2066c\u200fd\u061c", "a\\u202eb\\u2066c\\u200fd\\u061c"),
        ("a\u200bb\ufeffc\u2028d\u00ad", "a\\u200bb\\ufeffc\\u2028d\\u00ad"),
        ("\ud800x\udfff", "\\ud800x\\udfff"),
        ("\U000e0041\U000e0100", "\\udb40\\udc41\\udb40\\udd00"),
        ("👨\u200d👩 क्\u200dष", "👨\u200d👩 क्\u200dष"),
        ("a\u200db é\u200d\u200c", "a\\u200db é\u200d\\u200c"),
        ("[red]markup[/red]", "[red]markup[/red]"),
    ],
)
def test_what_commands_a_terminal_or_cannot_be_seen_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_joiner_that_comes_in_a_piece_of_its_own_joins_what_came_before() -> None:
    assert printable("\u200d👩", after="👨") == "\u200d👩"
    assert printable("\u200d", after="a") == "\\u200d"


def test_no_character_that_is_not_printable_gets_through() -> None:
    every = "".join(chr(code) for code in range(sys.maxunicode + 1))
    left = {each for each in printable(every) if not each.isprintable()}
    controls = {each for each in left if ord(each) < 0xA0 or 0xD800 <= ord(each) < 0xE000}
    assert controls == {"\n", "\t"}


def test_a_text_can_be_put_on_one_line_and_shortened() -> None:
    assert one_line(" a\n\tb\x1b ") == "a b\\u001b"
    assert shortened("a\nb", 10) == "a b"
    assert shortened("x" * 1200, 5) == "xxxxx [... 1,200 characters]"


def test_a_name_is_shown_with_all_that_is_in_it_and_not_for_ever() -> None:
    assert exact_line("a\nb\t c  d\x1b") == "a\\u000ab\\u0009 c  d\\u001b"
    assert exact_line("x" * 10_000, 5) == "xxxxx [... 10,000 characters]"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("{}", "f()"),
        ('{"a": 1, "city": "K\\u00f6ln", "deep": {"x": [null]}}', 'f(a=1, city="Köln", deep={"x": [null]})'),
        ('{"evil\\u001b\\n": "\\u202e"}', 'f(evil\\u001b ="\\u202e")'),
        ('{"a": 1,\n', 'f({"a": 1, )'),
        ("[1]", "f([1])"),
        ("[" * 100_000, f"f({'[' * 100_000})"),
    ],
)
def test_a_call_is_shown_with_all_its_arguments(arguments: str, shown: str) -> None:
    assert call_line(ToolCall("1", "f", arguments)) == shown


def test_an_event_is_one_line_of_ascii_json_in_the_form_of_events() -> None:
    event = Progress("1", "f", float("nan"), "é\x1b\n")
    line = shown(JsonDisplay(io.StringIO()), event)
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert json.loads(line) == event_to_dict(event)


TOOLS = """
from dataclasses import dataclass
from agentkit import Tool, tool

@tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b

other = [Tool.from_schema("remote", "Of a server.", {"type": "object"}, lambda context, arguments: arguments)]

def shout(text: str) -> str:
    "Make it loud."
    return text.upper()

class Box:
    def open(self, key: str) -> str:
        "Open the box."
        return key

box = Box()
several = [add, shout]
number = 5
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tools.py").write_text(TOOLS, encoding="utf-8")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "inner.py").write_text(f"{TOOLS}\nimport helper", encoding="utf-8")
    (tmp_path / "my_package" / "helper.py").write_text("", encoding="utf-8")
    with fresh_imports():
        yield tmp_path


@pytest.mark.parametrize(
    ("names", "tools"),
    [
        (["my_tools"], ["add"]),
        (["my_tools.py"], ["add"]),
        (["my_tools:add"], ["add"]),
        (["my_tools:shout"], ["shout"]),
        (["my_tools:several"], ["add", "shout"]),
        (["my_tools:box.open"], ["open"]),
        (["my_tools:other"], ["remote"]),
        (["my_tools", "my_tools:add", "my_tools:several"], ["add", "shout"]),
        (["my_package/inner.py:shout"], ["shout"]),
    ],
)
def test_tools_are_found_by_module_file_and_name(place: Path, names: list[str], tools: list[str]) -> None:
    assert [tool.name for tool in load_tools(names)] == tools


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("no_such", ConfigError, "there is no module 'no_such', neither installed nor in this directory"),
        ("no_such.inner", ConfigError, "there is no module 'no_such.inner'"),
        ("no_such.py", ConfigError, "there is no file '.*no_such.py'"),
        ("my_package/", ConfigError, "there is no file"),
        ("my_tools:sum", ConfigError, "my_tools:sum: there is no 'sum' in it$"),
        ("my_tools:shuot", ConfigError, "did you mean 'shout'?"),
        ("my_tools:number", ConfigError, "my_tools:number holds a value of type int"),
        ("my_tools:", ConfigError, "names no tool after the colon: write my_tools:name"),
        (":add", ConfigError, "':add' does not name a module"),
        ("json", ConfigError, "json has no tools: decorate its functions with @tool"),
        ("my_tools:Box.open", DefinitionError, "take it from an object"),
    ],
)
def test_what_is_no_tool_is_told(place: Path, name: str, kind: type[AgentKitError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        load_tools([name])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\ndef f(:", "SyntaxError: invalid syntax .broken.py, line 2."),
        ("import sys\nsys.exit(3)", r"it called sys.exit\(3\) .broken.py, line 2."),
        ("{}['key']", "KeyError: 'key' .broken.py, line 1."),
        ("import not_installed_here", "ModuleNotFoundError: No module named 'not_installed_here'"),
        ("class E(BaseException): ...\nraise E('odd')", "E: odd .broken.py, line 2."),
        ("from agentkit import tool\n\n@tool\ndef f(*, x: type): ...", "tool 'f': parameter 'x' .*line 3."),
    ],
)
@pytest.mark.parametrize("name", ["broken", "broken.py"])
def test_a_module_that_raises_is_reported_with_its_reason_and_place(
    place: Path, source: str, reason: str, name: str
) -> None:
    (place / "broken.py").write_text(source, encoding="utf-8")
    for _ in range(2):  # it is not left behind half imported
        with pytest.raises(ConfigError, match=f"broken.* cannot be imported: {reason}"):
            load_tools([name])


def test_two_tools_of_one_name_are_told_with_where_they_come_from(place: Path) -> None:
    with pytest.raises(DefinitionError, match="two tools are named 'add', from my_tools and my_package/inner"):
        load_tools(["my_tools", "my_package/inner.py"])


def shown(display: Display, *events: Event) -> str:
    for event in events:
        display.handle(event)
    assert isinstance(display.stdout, io.StringIO)
    return display.stdout.getvalue()


def test_text_of_an_attempt_that_is_retried_is_discarded_and_never_reaches_a_pipe() -> None:
    state = RunState(messages=[UserMessage("?"), AssistantMessage("yes")], status="done", turns=1)
    message = AssistantMessage("yes")
    played = (
        RunStarted(state),
        TextDelta("no, I"),
        Retrying(1, 0.5, "the connection broke"),
        TextDelta("yes"),
        TurnFinished(1, Reply(choices=(Choice(message=message),))),
        RunFinished(state),
    )
    assert on_screen(*played)[:4] == [
        "no, I",
        "trying again in 0.5 s: the connection broke",
        "the unfinished answer above is discarded",
        "yes",
    ]
    assert shown(PlainDisplay(io.StringIO()), *played) == "yes\n"


def on_screen(*events: Event, width: int = 80) -> list[str]:
    """The lines that stay on a terminal; lines that are drawn again are left out, and so are empty ones."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False, markup=False, emoji=False)
    display = LiveDisplay(io.StringIO(), console)
    for event in events:
        display.handle(event)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip(" ⠋")]


def test_a_terminal_shows_the_answer_of_a_model_that_does_not_stream() -> None:
    state = RunState(messages=[UserMessage("?"), AssistantMessage("yes")], status="done", turns=1)
    reply = Reply(choices=(Choice(message=AssistantMessage("yes")),))
    assert on_screen(RunStarted(state), TurnFinished(1, reply), RunFinished(state))[0] == "yes"


def test_a_run_that_was_done_before_it_was_resumed_shows_its_answer() -> None:
    state = RunState(messages=[UserMessage("?"), AssistantMessage("yes")], status="done", turns=1)
    assert shown(PlainDisplay(io.StringIO()), RunStarted(state), RunFinished(state)) == "yes\n"
    assert on_screen(RunStarted(state), RunFinished(state))[0] == "yes"


def test_without_tools_a_pipe_gets_the_text_as_it_comes() -> None:
    state = RunState(messages=[UserMessage("?"), AssistantMessage("a\x1b b")], status="done", turns=1)
    display = PlainDisplay(io.StringIO(), streams=True)
    assert shown(display, RunStarted(state), TextDelta("a\x1b")) == "a\\u001b"
    assert shown(display, TextDelta(" b"), RunFinished(state)) == "a\\u001b b\n"


def test_a_terminal_shows_reasoning_calls_and_what_tools_print_in_lines_of_their_own() -> None:
    state = RunState(messages=[UserMessage("?")], status="failed", turns=1)
    call, other = ToolCall("1", "f", "{}"), ToolCall("2", "g", '{"a": "\\u001b"}')
    lines = on_screen(
        RunStarted(state),
        ReasoningDelta("hm\x1b"),
        TextDelta("**Let** me\x1b see"),
        CallStarted(call),
        CallStarted(other),
        Progress("1", "f", 0.5, "far\x1b"),
        CallFinished(other, ToolResult("bad\x1b", is_error=True), 0.25),
        CallFinished(call, ToolResult(" "), 1.25),
    )
    assert lines == [
        "  hm\\u001b",
        "Let me\\u001b see",
        '✗ g(a="\\u001b")  0.2 s',
        "  → bad\\u001b",
        "✓ f()  1.2 s",
        "  → (nothing)",
    ]


def test_what_an_agent_in_a_tool_says_is_not_the_answer_and_its_calls_are_shown_with_their_path() -> None:
    def inner(event: Event) -> Event:
        object.__setattr__(event, "origin", Origin("r", "inner", ("outer",), 1, 0.0))
        return event

    state = RunState(messages=[UserMessage("?"), AssistantMessage("yes")], status="done")
    nested = RunState(messages=[UserMessage("secret")], status="done")
    call = ToolCall("1", "f", "{}")
    played = (
        RunStarted(state),
        inner(RunStarted(nested)),
        inner(TextDelta("within")),
        inner(CallStarted(call)),
        inner(CallFinished(call, ToolResult("1"), 0.25)),
        inner(RunFinished(nested)),
        RunFinished(state),
    )
    display = PlainDisplay(io.StringIO())
    assert shown(display, *played) == "yes\n"
    assert display.state is state
    assert on_screen(*played) == ["✓ outer > f()  0.2 s", "  → 1", "yes"]


@pytest.mark.parametrize("width", [20, 80, 120])
def test_long_words_emoji_and_right_to_left_text_fit_the_screen(width: int) -> None:
    text = (
        f"{'x' * 300} 👨\u200d👩\u200d👧 {'日本' * 80} \u05e9\u05dc\u05d5\u05dd [link](https://example.com/{'y' * 90})"
    )
    state = RunState(messages=[UserMessage("?"), AssistantMessage(text)], status="done")
    lines = on_screen(RunStarted(state), TextDelta(text), RunFinished(state), width=width)
    assert max(cell_len(line) for line in lines) <= width
    assert "https://example.com/" in "".join(lines)


@pytest.mark.parametrize(
    ("text", "complete", "rest"),
    [
        ("one", "", "one"),
        ("one\n\n", "", "one\n\n"),
        ("one\n\ntwo", "one\n\n", "two"),
        ("one\n\n  more", "", "one\n\n  more"),
        ("```py\na\n\nb", "", "```py\na\n\nb"),
        ("```py\na\n\nb\n```\n\nc", "```py\na\n\nb\n```\n\n", "c"),
        ("~~~~\n```\n\n~~~~\n\nx", "~~~~\n```\n\n~~~~\n\n", "x"),
    ],
)
def test_markdown_is_printed_block_by_block(text: str, complete: str, rest: str) -> None:
    assert split_blocks(text) == (complete, rest)


def test_what_happens_beside_the_answer_is_a_line_each_and_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    told = (
        ApprovalRequested(ToolCall("1", "f", "{}"), "shown when it is asked about or listed"),
        LimitWarning("seconds", 48.5, 60),
        LimitWarning("turns", 1, 1),
        ToolChanged("f\x1b", "changed"),
        AgentChanged("a", "b\x1b"),
        MessageAdded(UserMessage("and\nhurry\x1b")),
    )
    assert shown(PlainDisplay(io.StringIO()), *told) == ""
    assert capsys.readouterr().err.splitlines() == [
        "near the limit of seconds: 48.5 of 60 are used",
        "the tool f\\u001b was changed since the run was saved",
        "handed off to b\\u001b",
        "added: and hurry\\u001b",
    ]


def test_a_run_that_an_unexpected_error_ends_is_told_once_with_the_error() -> None:
    state = RunState(messages=[UserMessage("?")])
    display = JsonDisplay(io.StringIO())
    display.handle(RunStarted(state))
    state.status = "failed"
    display.handle(RunFinished(state))
    display.close(KeyError("x"))
    display.close(KeyError("y"))
    records = [json.loads(line) for line in shown(display).splitlines()]
    assert [record["event"] for record in records] == ["RunStarted", "RunFinished"]
    assert records[1]["error"] == {"type": "KeyError", "message": "'x'"}


def test_a_terminal_gets_only_colors_that_can_be_read_on_a_light_and_on_a_dark_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "COLORTERM", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-16color")
    answer = """# Title

1. A [link](https://example.com) and `code`.

| a | b |
|---|---|
| 1 | 2 |

> Quoted.

```python
def f(x: int = 3) -> str:  # why
    return "text" if x else <b>
```
"""
    terminal, call = Terminal(), ToolCall("1", "f", "{}")
    state = RunState(messages=[UserMessage("?"), AssistantMessage(answer)], status="limited", limit="turns", turns=1)
    display = LiveDisplay(terminal)
    for event in (
        RunStarted(state),
        TextDelta("no\n\n"),
        Retrying(1, 0.5, "the connection broke"),
        CallStarted(call),
        CallFinished(call, ToolResult("bad", is_error=True), 0.25),
        CallDenied(call, "no"),
        TextDelta(answer),
        TurnFinished(1, Reply(choices=(Choice(message=AssistantMessage(answer)),))),
        RunFinished(state),
    ):
        display.handle(event)
    styles = {int(code) for codes in re.findall(r"\x1b\[([\d;]*)m", terminal.getvalue()) for code in codes.split(";")}
    assert {31, 32, 35} <= styles, "red, green and magenta"
    assert styles & {30, 33, 34, 36, 37, *range(40, 48), *range(90, 108)} == set(), "the others, and backgrounds"
