"""What a model gets to see of a long conversation: views of the transcript, which itself is never cut.

::

    Agent("openai:gpt-5-mini", middleware=[ClearOldResults(), Summarise(tokens=100_000), Window()])

The first is the outermost, so list the gentlest first. See docs/long-conversations.md.
"""

from agentkit.views.clear import ClearOldResults
from agentkit.views.summarise import Summarise
from agentkit.views.view import Shortened
from agentkit.views.window import Window

__all__ = ["ClearOldResults", "Shortened", "Summarise", "Window"]
