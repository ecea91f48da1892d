"""Ready-made middleware, and what you need to write your own: ``Agent(..., middleware=[Logging(), RateLimit(5)])``."""

from agentkit.middleware.cache import Cache, CacheStore, MemoryStore
from agentkit.middleware.eager import Eager
from agentkit.middleware.fallback import UNAVAILABLE, Fallback, ModelFallback
from agentkit.middleware.guard import Guard, GuardTripped
from agentkit.middleware.logging import Logging
from agentkit.middleware.rate_limit import RateLimit
from agentkit.run import (
    Middleware,
    ModelTurn,
    NextModel,
    NextRun,
    NextTool,
    Run,
    ToolRequest,
    around_model,
    around_run,
    around_tool,
)

__all__ = [
    "UNAVAILABLE",
    "Cache",
    "CacheStore",
    "Eager",
    "Fallback",
    "Guard",
    "GuardTripped",
    "Logging",
    "MemoryStore",
    "Middleware",
    "ModelFallback",
    "ModelTurn",
    "NextModel",
    "NextRun",
    "NextTool",
    "RateLimit",
    "Run",
    "ToolRequest",
    "around_model",
    "around_run",
    "around_tool",
]
