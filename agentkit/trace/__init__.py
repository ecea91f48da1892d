"""Traces: what happened in a run, as lines of JSON, as an HTML page, and in words.

``agent.run(..., on_event=Trace("run.jsonl"))`` writes one; ``agentkit view run.jsonl`` makes the page.
"""

from agentkit.trace.explain import explain
from agentkit.trace.masking import Mask
from agentkit.trace.page import render_page, render_result, render_runs
from agentkit.trace.timeline import Section, Span, Timeline, read_events, timelines
from agentkit.trace.writer import Trace

__all__ = [
    "Mask",
    "Section",
    "Span",
    "Timeline",
    "Trace",
    "explain",
    "read_events",
    "render_page",
    "render_result",
    "render_runs",
    "timelines",
]
