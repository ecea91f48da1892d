"""Conversations that are kept between runs: in a SQLite file, or in memory.

::

    from agentkit import Agent
    from agentkit.sessions import SQLiteSessions

    sessions = SQLiteSessions("chat.db")
    await Agent("openai:gpt-5-mini").run("I am Ada.", session=sessions["ada"])
"""

from agentkit.sessions.base import Found, SessionInfo, Sessions, StoredSession
from agentkit.sessions.memory import MemorySessions
from agentkit.sessions.sqlite import SQLiteSessions

__all__ = ["Found", "MemorySessions", "SQLiteSessions", "SessionInfo", "Sessions", "StoredSession"]
