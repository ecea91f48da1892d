"""Conversations that are stored between runs: in a SQLite file, or in memory.

::

    from agentkit import Agent
    from agentkit.sessions import SQLiteSessions

    sessions = SQLiteSessions("chat.db")
    await Agent("openai:gpt-5-mini").run("I am Ada.", session=sessions["ada"])
"""

from agentkit.sessions.base import SearchHit, SessionInfo, Sessions, StoredSession, SyncSession, SyncSessions
from agentkit.sessions.memory import MemorySessions
from agentkit.sessions.sqlite import SQLiteSessions

__all__ = [
    "MemorySessions",
    "SQLiteSessions",
    "SearchHit",
    "SessionInfo",
    "Sessions",
    "StoredSession",
    "SyncSession",
    "SyncSessions",
]
