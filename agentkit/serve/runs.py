"""Runs that wait: for the results of a client's tools, or for the decisions of a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentkit import RunState
from agentkit.errors import StateError
from agentkit.messages import AssistantMessage, ToolMessage
from agentkit.serve.conversation import CallPlace
from agentkit.serve.errors import ApiError
from agentkit.serve.store import Store

__all__ = ["Runs", "WaitingRun", "give_results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRun:
    """A run that waits.

    Attributes:
        model: The name of the agent.
        body: The request that it belongs to, without its messages.
        prefix: The number of the run's messages that came from the request.
        session: The session that holds the state; empty if it is here.
        state: The state; None if a session holds it.
    """

    model: str
    body: Mapping[str, Any]
    prefix: int = 0
    session: str = ""
    state: RunState | None = None


class Runs:
    """The runs that wait; each belongs to its token.

    Args:
        store: Where they are.
        seconds: How long they wait.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store, self._seconds = store, seconds

    async def save(self, owner: str, run_id: str, run: WaitingRun) -> None:
        """Store a run."""
        members = {"model": run.model, "body": run.body, "prefix": run.prefix, "session": run.session}
        state = None if run.state is None else run.state.to_json()
        await self._store.put(_key(owner, run_id), json.dumps({**members, "state": state}), self._seconds)

    async def load(self, owner: str, run_id: str) -> WaitingRun | None:
        """Return a run; None if there is none."""
        return _read(await self._store.get(_key(owner, run_id)))

    async def take(self, owner: str, run_id: str) -> WaitingRun | None:
        """Return a run and remove it: of several requests that continue it, only one gets it."""
        return _read(await self._store.take(_key(owner, run_id)))


def _key(owner: str, run_id: str) -> str:
    return f"run:{owner}:{run_id}"


def _read(stored: str | None) -> WaitingRun | None:
    if stored is None:
        return None
    try:
        members: dict[str, Any] = json.loads(stored)
        members["state"] = None if members["state"] is None else RunState.load(members["state"])
        return WaitingRun(**members)
    except (StateError, ValueError, LookupError, TypeError) as error:
        raise ApiError(500, "A stored run cannot be read.", code="run_damaged") from error


def give_results(state: RunState, results: Mapping[CallPlace, ToolMessage]) -> bool:
    """Give a waiting run the results of the client's calls.

    Returns:
        Whether the run waits for exactly these; if not, nothing has changed.
    """
    reply = next((each for each in reversed(state.messages) if isinstance(each, AssistantMessage)), None)
    calls = reply.tool_calls if reply else ()
    waiting = {each.id for each in state.pending if each.external and not each.path}
    found = {
        calls[at.place].id: result.text
        for at, result in results.items()
        if at.turn == state.turns and at.place < len(calls) and calls[at.place].id in waiting
    }
    if len(found) < len(results):
        return False
    for id_, text in found.items():
        state.answer(id_, text)
    return True
