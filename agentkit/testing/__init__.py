"""What tests of agents stand on: models that play a script or call a function, a server that plays faults, a linter."""

from agentkit.testing.context import context
from agentkit.testing.models import Answer, FunctionModel, Pieces, ScriptedModel, call
from agentkit.testing.server import FAULTS, Fault, Server, fault, raw
from agentkit.tools.advice import Advice, check_tools

__all__ = [
    "FAULTS",
    "Advice",
    "Answer",
    "Fault",
    "FunctionModel",
    "Pieces",
    "ScriptedModel",
    "Server",
    "call",
    "check_tools",
    "context",
    "fault",
    "raw",
]
