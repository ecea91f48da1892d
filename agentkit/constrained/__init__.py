"""Tool calls from chat models that know no tools; see `ConstrainedTools`."""

from agentkit.constrained.model import ConstrainedTools

__all__ = ["ConstrainedTools"]
