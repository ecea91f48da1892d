"""The difference between two runs: their figures, their steps, and their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

from agentkit.trace.timeline import Span, Timeline

__all__ = ["answer_difference", "figures", "seconds_in_words", "step_differences"]

_LINES = 2_000  # of an answer that are compared


def figures(run: Timeline) -> dict[str, str]:
    """The figures of a run, in words."""
    usage = run.usage or _sum_of(run)
    end = run.last if run.end is None else run.end
    tools: dict[str, int] = {}
    for each in run.walk():
        if each.kind == "call":
            tools[each.name] = tools.get(each.name, 0) + 1
    by_tool = ", ".join(f"{count} {name}" for name, count in sorted(tools.items()))
    cached = f" ({usage['cached_tokens']:,} cached)" if usage.get("cached_tokens") else ""
    about = "about " if usage.get("estimated_tokens") else ""
    known = usage.get("total_tokens")
    return {
        "status": f"{run.status}: {run.limit}" if run.limit else run.status,
        "time": seconds_in_words(end - run.start),
        "turns": f"{sum(each.kind == 'turn' for each in run.walk()):,}",
        "calls": f"{sum(tools.values())}{f' ({by_tool})' if tools else ''}",
        "tokens in": f"{about}{usage.get('prompt_tokens', 0):,}{cached}" if known else "unknown",
        "tokens out": f"{about}{usage.get('completion_tokens', 0):,}" if known else "unknown",
        "cost": _cost(run, usage),
    }


def _sum_of(run: Timeline) -> dict[str, Any]:
    """Return the usage of a run that has not ended."""
    total: dict[str, Any] = {}
    for turn in run.walk():
        for name, value in turn.usage.items() if turn.kind == "turn" else ():
            total[name] = (total.get(name) or 0) + (value or 0) if value is not None else total.get(name)
    return total


def _cost(run: Timeline, usage: dict[str, Any]) -> str:
    """Return what a run cost, as far as is known: a cost that was not reported is unknown, not 0."""
    turns = [each.usage.get("cost") for each in run.walk() if each.kind == "turn" and each.usage]
    cost = usage.get("cost")
    if cost is None:
        return "unknown"
    is_part = None in turns and any(each is not None for each in turns)  # otherwise it is from `Limits.price`
    return f"at least {cost:.4g}" if is_part else f"{cost:.4g}"


def seconds_in_words(seconds: float) -> str:
    """Write a duration briefly."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.0005 else "0 ms" if seconds <= 0 else "< 1 ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def step_differences(one: Timeline, other: Timeline) -> dict[int, str]:
    """Say how each step that the runs do not share differs, by the ``id`` of its span."""
    mine, theirs = _steps(one), _steps(other)
    matcher = SequenceMatcher(None, [each.key for each in mine], [each.key for each in theirs], autojunk=False)
    found: dict[int, str] = {}
    for what, i, i_end, j, j_end in matcher.get_opcodes():
        if what == "equal":
            for left, right in zip(mine[i:i_end], theirs[j:j_end], strict=True):
                if _said(left) != _said(right):
                    found[id(left)] = found[id(right)] = "other result"
            continue
        pairs = {(each.kind, each.name) for each in mine[i:i_end]} & {
            (each.kind, each.name) for each in theirs[j:j_end]
        }
        for each in (*mine[i:i_end], *theirs[j:j_end]):
            found[id(each)] = "differs" if (each.kind, each.name) in pairs else "only here"
    return found


def _steps(run: Timeline) -> list[Span]:
    return [each for each in run.walk() if each.kind != "run"]


def _said(span: Span) -> Sequence[str]:
    return [each.text for each in span.sections]


def answer_difference(one: Timeline, other: Timeline) -> Iterator[str]:
    """Yield the lines of both answers: ``- `` before those only in the first, ``+ `` before those only in the other."""
    mine, theirs = one.answer.splitlines()[:_LINES], other.answer.splitlines()[:_LINES]
    for what, i, i_end, j, j_end in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if what == "equal":
            yield from (f"  {line}" for line in mine[i:i_end])
        else:
            yield from (f"- {line}" for line in mine[i:i_end])
            yield from (f"+ {line}" for line in theirs[j:j_end])
