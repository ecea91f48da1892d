"""Ready-made tools. Each is a `Toolset` that is created with what it may access.

::

    from agentkit import Agent
    from agentkit_tools import Clock, Files

    Agent("openai:gpt-5-mini", tools=[Files("notes", write=True), Clock("Europe/Paris")])

Importing one never imports the dependencies of another. Calls that change something need approval unless you say
otherwise. The metadata of every result names its source: ``{"source": "file:notes/today.md"}``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentkit_tools.ask import Ask
    from agentkit_tools.calculator import Calculator
    from agentkit_tools.clock import Clock
    from agentkit_tools.files import Files
    from agentkit_tools.http import Http
    from agentkit_tools.memory import Memory
    from agentkit_tools.openapi import OpenApi
    from agentkit_tools.python import Python
    from agentkit_tools.random import Random
    from agentkit_tools.search import Search
    from agentkit_tools.shell import Shell
    from agentkit_tools.skills import Skills
    from agentkit_tools.sql import Sql
    from agentkit_tools.todo import Todo

__all__ = [
    "Ask",
    "Calculator",
    "Clock",
    "Files",
    "Http",
    "Memory",
    "OpenApi",
    "Python",
    "Random",
    "Search",
    "Shell",
    "Skills",
    "Sql",
    "Todo",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'agentkit_tools' has no toolset {name!r}; there are {', '.join(__all__)}")
    return getattr(importlib.import_module(f"agentkit_tools.{name.lower()}"), name)
