"""Ready-made middleware, and what is needed to write some: ``Agent(..., middleware=[Logging(), RateLimit(5)])``."""

from agentkit.middleware.cache import Cache, CacheStore, MemoryStore
from agentkit.middleware.fallback import UNAVAILABLE, Fallback, ModelFallback
from agentkit.middleware.guard import Guard, GuardTripped
from agentkit.middleware.logging import Logging
from agentkit.middleware.rate_limit import RateLimit
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
    "Guard",
    "GuardTripped",
    "Logging",
    "MemoryStore",
    "Middleware",
    "ModelFallback",
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
