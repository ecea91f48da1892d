"""What a model gets to see of a long conversation: views of the transcript, which itself is never cut.

::

    Agent("openai:gpt-5-mini", middleware=[ClearToolResults(), Summarize(tokens=100_000), Window()])

The first is the outermost, so list the gentlest first. See docs/long-conversations.md.
"""

from agentkit.compaction.base import HistoryShortened
from agentkit.compaction.clear import ClearToolResults
from agentkit.compaction.summarize import Summarize
from agentkit.compaction.window import Window

__all__ = ["ClearToolResults", "HistoryShortened", "Summarize", "Window"]
