"""Agents behind the Chat Completions API, for every client of it (extra ``agentkit[serve]``).

::

    from agentkit import serve

    app = serve.app(agent)  # an ASGI app; `agentkit serve app.py:agent` runs it

`gateway` puts a model behind the API without an agent.
"""

from agentkit.serve.apps import app, gateway
from agentkit.serve.events import events
from agentkit.serve.http import Server, ServerLimits
from agentkit.serve.store import FileStore, MemoryStore, Store

__all__ = ["FileStore", "MemoryStore", "Server", "ServerLimits", "Store", "app", "events", "gateway"]
