"""Compaction: send the model only part of a long conversation. The run itself keeps every message.

::

    Agent("openai:gpt-5-mini", middleware=[Compaction([ClearToolResults(), Summarize(tokens=100_000), Window()])])

The strategies are applied in this order, so list the gentlest first. See docs/long-conversations.md.
"""

from agentkit.compaction.base import Ask, Compaction, HistoryShortened, ShorterRequest, Strategy
from agentkit.compaction.clear import ClearToolResults
from agentkit.compaction.summarize import Summarize
from agentkit.compaction.window import Window

__all__ = [
    "Ask",
    "ClearToolResults",
    "Compaction",
    "HistoryShortened",
    "ShorterRequest",
    "Strategy",
    "Summarize",
    "Window",
]
