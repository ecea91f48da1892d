"""Ready-made middleware, and what is needed to write some: ``Agent(..., middleware=[Logging(), RateLimit(5)])``."""

from agentkit.middleware.cache import Cache
from agentkit.middleware.fallback import UNAVAILABLE, Fallback, FallenBack
from agentkit.middleware.guard import Guard
from agentkit.middleware.log import Logging
from agentkit.middleware.rate import RateLimit
from agentkit.middleware.store import CacheStore, MemoryStore
from agentkit.middleware.verdict import GuardTripped
from agentkit.run.middleware import (
    Middleware,
    NextModel,
    NextRun,
    NextTool,
    ToolRequest,
    around_model,
    around_run,
    around_tool,
    model_of,
)

__all__ = [
    "UNAVAILABLE",
    "Cache",
    "CacheStore",
    "Fallback",
    "FallenBack",
    "Guard",
    "GuardTripped",
    "Logging",
    "MemoryStore",
    "Middleware",
    "NextModel",
    "NextRun",
    "NextTool",
    "RateLimit",
    "ToolRequest",
    "around_model",
    "around_run",
    "around_tool",
    "model_of",
]
