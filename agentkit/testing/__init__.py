"""Tools for testing agents: models that play a script or call a function, a server that plays faults, a linter."""

from agentkit.lint import LintWarning, lint_tools
from agentkit.testing.context import context
from agentkit.testing.models import Answer, Chunks, FunctionModel, ScriptedModel, call
from agentkit.testing.server import FAULTS, Fault, Server, fault, raw

__all__ = [
    "FAULTS",
    "Answer",
    "Chunks",
    "Fault",
    "FunctionModel",
    "LintWarning",
    "ScriptedModel",
    "Server",
    "call",
    "context",
    "fault",
    "lint_tools",
    "raw",
]
