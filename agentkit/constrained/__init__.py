"""Tool calls for chat models that cannot call tools; see `ConstrainedTools`."""

from agentkit.constrained.asking import ModelPreparing
from agentkit.constrained.model import ConstrainedTools
from agentkit.constrained.slots import PromptSlots

__all__ = ["ConstrainedTools", "ModelPreparing", "PromptSlots"]
