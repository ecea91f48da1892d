"""A server on loopback for tests: it plays scripts, and fails in every way that real servers and networks do.

``python -m agentkit.testing.server FAULT`` plays one fault for any client.
"""

from agentkit.testing.server.faults import FAULTS, fault
from agentkit.testing.server.serve import Scripted, Server, raw
from agentkit.testing.server.table import TEXT, Fault
from agentkit.testing.server.wire import Request, Wire

__all__ = ["FAULTS", "TEXT", "Fault", "Request", "Scripted", "Server", "Wire", "fault", "raw"]
