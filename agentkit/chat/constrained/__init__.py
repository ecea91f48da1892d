"""Tool calls from chat models that know no tools; see `ConstrainedTools`."""

from agentkit.chat.constrained.model import ConstrainedTools

__all__ = ["ConstrainedTools"]
