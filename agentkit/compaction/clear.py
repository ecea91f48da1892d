"""`ClearToolResults`: replace each old tool result by a short note."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from agentkit.chat import ChatRequest
from agentkit.compaction.base import Ask, ShorterRequest, Strategy, check_least
from agentkit.compaction.layout import cleared, is_of_results
from agentkit.messages import AssistantMessage, Message, TextPart, ToolMessage, UserMessage

__all__ = ["ClearToolResults"]

_SHORT = 400  # characters: shorter results are left alone
_CHUNK = 5  # results that are cleared together, unless `keep` is larger
_CLEARED = "[cleared; call the tool again if needed]"


@dataclass(slots=True)
class _Batch:
    """The calls of one reply: the names of the tools, the places of the results, and the message with their files."""

    names: dict[str, str]
    results: list[int]
    files: UserMessage | None = None


class ClearToolResults(Strategy):
    """Sends the newest tool results as they are, and a short note in place of each older one.

    Results are cleared several at a time, so that requests begin with the same bytes in between, for the sake of prompt
    caches. Short results stay, and so do all that the model has not answered yet. The images, sound and files of a
    reply's calls are cleared with the last of their results.

    Args:
        keep: The least number of results that stay.
        exclude: Names of tools whose results are never cleared.

    Raises:
        ConfigError: ``keep`` is negative.
    """

    def __init__(self, *, keep: int = 5, exclude: Collection[str] = ()) -> None:
        check_least("ClearToolResults", keep=(keep, 0))
        super().__init__()
        self._keep, self._chunk = keep, max(keep, _CHUNK)
        self._exclude = frozenset([exclude] if isinstance(exclude, str) else exclude)

    async def shorten(self, request: ChatRequest, budget: float, ask: Ask) -> ShorterRequest | None:  # noqa: ARG002, D102
        messages = list(request.messages)
        batches = list(_batches(messages))
        left = self._how_many(batches, messages)
        changed = 0
        for batch in batches:
            for place in batch.results[:left]:
                changed += self._clear(messages, place, batch)
            left -= len(batch.results)
            if left >= 0 and batch.files is not None and not self._exclude & set(batch.names.values()):
                announcement = next(iter(batch.files.content), None)
                text = announcement.text if isinstance(announcement, TextPart) else ""
                messages[batch.results[-1] + 1] = cleared(batch.files, (TextPart(f"{text} {_CLEARED}"),))
                changed += 1
            if left <= 0:
                break
        return ShorterRequest(messages=messages, left_out=changed) if changed else None

    def _how_many(self, batches: Sequence[_Batch], messages: Sequence[Message]) -> int:
        """Return the number of results that are old enough: a multiple of a chunk, so that it rarely changes."""
        counts = [len(batch.results) for batch in batches]
        last = batches[-1] if batches else None
        unread = last is not None and not any(
            isinstance(each, AssistantMessage) for each in messages[max(last.results, default=0) :]
        )
        read = sum(counts[:-1]) if unread else sum(counts)
        return max(0, min(sum(counts) - self._keep, read)) // self._chunk * self._chunk

    def _clear(self, messages: list[Message], place: int, batch: _Batch) -> bool:
        result = messages[place]
        if not isinstance(result, ToolMessage) or len(result.text) <= _SHORT:
            return False
        name = batch.names.get(result.tool_call_id, "a tool")
        if name in self._exclude:
            return False
        note = f"[cleared: this result of {name} had {len(result.text):,} characters; call the tool again if needed]"
        messages[place] = cleared(result, note)
        return True


def _batches(messages: Sequence[Message]) -> Iterator[_Batch]:
    batch: _Batch | None = None
    for place, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            if batch is not None:
                yield batch
            calls = message.tool_calls
            batch = _Batch({call.id: call.name for call in calls}, []) if calls else None
        elif batch is not None and isinstance(message, ToolMessage):
            batch.results.append(place)
        elif batch is not None and isinstance(message, UserMessage) and is_of_results(message, messages[place - 1]):
            batch.files = message
    if batch is not None:
        yield batch
