"""The parts of results that do not fit into their tool messages: the rest of a long text, and files.

A tool message holds text. If it is too long, it is truncated, the run's artifacts store the whole, and the model is
offered a tool to read on. Files follow in a user message after all results, as servers accept them nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, cast

from agentkit.chat.content import AudioPart, ContentPart, FilePart, ImagePart, TextPart
from agentkit.chat.messages import Message, ToolCall, UserMessage
from agentkit.errors import ModelRetry, ToolError
from agentkit.run.transcript import CONTINUES, labeled
from agentkit.tools.context import ToolContext
from agentkit.tools.result import ToolResult
from agentkit.tools.tool import Tool, tool

READ_RESULT = "read_result"
MAX_RESULT = 64 * 1024  # characters of a tool's result that the model gets to read
MAX_FILE = 16 * 1024 * 1024  # bytes or characters of one file that goes to the model
MAX_KEPT = 64 * 1024 * 1024  # characters of truncated results, in a whole run
_MOST_READ = 32 * 1024
_ATTACHED = "Attached to the result of "


def read_result(
    context: ToolContext[Any],
    call_id: Annotated[str, "The id of the call, as the truncated result names it."],
    start: Annotated[int, "The first character to read, counted from 0."],
    length: Annotated[int, "How many characters to read."] = 20_000,
) -> str:
    """Read more of a result that was truncated because it is too long."""
    whole = context.artifacts.get(call_id)
    if whole is None:
        raise ModelRetry(f"no result {call_id!r} was truncated; there are: {', '.join(context.artifacts)}")
    if not whole:
        raise ToolError(
            f"the result {call_id!r} is no longer stored, because later ones replaced it; call the tool again"
        )
    if not 0 <= start < len(whole) or length < 1:
        raise ModelRetry(f"the result has the characters 0 to {len(whole) - 1}")
    end = min(len(whole), start + min(length, _MOST_READ))
    left = f"{len(whole) - end:,} more follow, read on with start={end}" if end < len(whole) else "this is the end"
    return f"{whole[start:end]}\n[{left}]"


@functools.cache
def _reader() -> Tool:
    """Make the tool when it is needed: its schema takes a while, and most runs never truncate a result."""
    reader: Any = tool(read_result, name=READ_RESULT, thread=False, timeout=None, read_only=True)
    return cast("Tool", reader)


def with_reader(tools: Mapping[str, Tool]) -> dict[str, Tool]:
    """Return the tools of a run that has truncated a result, with one to read on."""
    return {**tools, READ_RESULT: tools.get(READ_RESULT) or _reader()}


def shown(call: ToolCall, result: ToolResult, *, readable: bool) -> tuple[str, bool]:
    """Return what the model reads of a result, and whether it is truncated; ``readable`` offers the tool to read on."""
    content = result.content
    is_marked = not result.is_error or content.startswith("Error")
    mark = "" if is_marked else "Error: "  # a tool message has no other place to say so
    if len(content) <= MAX_RESULT:
        return mark + content or "(empty)", False
    more = f"; read_result(call_id={call.id!r}, start={MAX_RESULT}) reads on" if readable else ""
    return (
        f"{mark}{content[:MAX_RESULT]}\n[truncated: the first {MAX_RESULT:,} of {len(content):,} characters{more}]",
        True,
    )


def keep(artifacts: dict[str, str], call: ToolCall, result: ToolResult) -> None:
    """Store a truncated result whole. When space runs out, only the ids of the oldest ones remain."""
    content = result.content
    if len(content) > MAX_KEPT:
        content = f"{content[:MAX_KEPT]}\n[only the first {MAX_KEPT:,} of {len(content):,} characters were stored]"
    artifacts.pop(call.id, None)
    artifacts[call.id] = content
    left = max(MAX_KEPT, len(content))
    for earlier, text in reversed(artifacts.items()):
        if not text:
            break  # it was dropped, and so were all before it
        left -= len(text)
        if left < 0:
            artifacts[earlier] = ""


def attached(results: Iterable[tuple[ToolCall, ToolResult | None]]) -> Iterator[UserMessage]:
    """The message with the files of a batch, if there are any."""
    parts: list[ContentPart] = []
    for call, result in results:
        if result is not None and result.files:
            parts.append(TextPart(f"{_ATTACHED}{call.name} ({call.id}):"))
            parts.extend(_fitting(file) for file in result.files)
    if parts:
        yield labeled(UserMessage(tuple(parts)), **{CONTINUES: True})


def is_attachment(message: Message) -> bool:
    """Return True if the message holds the files of results."""
    parts = message.content if isinstance(message, UserMessage) else None
    return isinstance(parts, tuple) and bool(parts) and _announces(parts[0])


def attached_files(message: Message) -> tuple[ContentPart, ...]:
    """The files of a message that `attached` made; of any other none."""
    parts = message.content if is_attachment(message) else ()
    return tuple(part for part in parts or () if not isinstance(part, str) and not _announces(part))


def _announces(part: ContentPart) -> bool:
    return isinstance(part, TextPart) and part.text.startswith(_ATTACHED)


def _fitting(file: ContentPart) -> ContentPart:
    match file:
        case ImagePart(url=content) | AudioPart(data=content) | FilePart(file_data=str(content)):
            size = len(content)
        case _:
            size = 0
    return file if size <= MAX_FILE else TextPart(f"[a file of {size:,} bytes, too large to be shown]")
