"""Serve agents over the Chat Completions API, for any of its clients (extra ``agentkit[serve]``).

::

    from agentkit import serve

    serve.run(serve.app(agent))  # the same as `agentkit serve app.py:agent`

`gateway` serves a model without an agent.
"""

from agentkit.errors import ConfigError

try:
    from agentkit.serve.apps import app, gateway
    from agentkit.serve.events import events
    from agentkit.serve.http import Server, ServerLimits
    from agentkit.serve.process import run
    from agentkit.serve.store import FileStore, MemoryStore, Store
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "starlette":
        raise
    raise ConfigError("agentkit.serve needs starlette: pip install 'agentkit[serve]'") from error

__all__ = ["FileStore", "MemoryStore", "Server", "ServerLimits", "Store", "app", "events", "gateway", "run"]
