"""Traces: what happened in a run, as lines of JSON, and as a page to look at.

``agent.run(..., on_event=Trace("run.jsonl"))`` writes one; ``agentkit view run.jsonl`` makes the page.
"""

from agentkit.trace.masking import Mask
from agentkit.trace.writer import Trace

__all__ = ["Mask", "Trace"]
