"""What tests of agents stand on: models that play a script or call a function, with no network."""

from agentkit.testing.context import context
from agentkit.testing.models import Answer, FunctionModel, Pieces, ScriptedModel, call

__all__ = ["Answer", "FunctionModel", "Pieces", "ScriptedModel", "call", "context"]
