"""Create servers for agents, and for models without an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, cast

from agentkit import Agent
from agentkit.chat import Model, open_model
from agentkit.errors import ConfigError
from agentkit.serve.agents import AgentBackend, Deps
from agentkit.serve.gateway import GatewayBackend, Recorder
from agentkit.serve.http import Server, ServerLimits
from agentkit.serve.runs import Runs
from agentkit.serve.security import Guard
from agentkit.serve.store import MemoryStore, Store
from agentkit.sessions import Sessions

__all__ = ["app", "gateway"]


def app(
    agents: Agent[Any, Any] | Mapping[str, Agent[Any, Any]],
    *,
    token: str | Sequence[str] | None = "",
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    sessions: Sessions | None = None,
    store: Store | None = None,
    deps: Deps | None = None,
    limits: ServerLimits | None = None,
) -> Server:
    """Create an ASGI app for agents: run it with an ASGI server, or mount it in another app.

    Args:
        agents: An agent, whose name (or ``agent``) is the model name, or several agents by model name.
        token: The token that clients send, or a list of tokens; by default from the variable ``AGENTKIT_TOKEN``. None
            admits everyone who can reach the server.
        hosts: The names under which the server is reached, in addition to ``localhost`` and ``127.0.0.1``; ``["*"]``
            for any name.
        origins: The origins whose pages may call the server, such as ``https://chat.example.com``, besides its own.
        sessions: Where the conversations are stored that clients continue by name.
        store: Where runs wait for decisions and for the results of a client's tools: memory by default, `FileStore`
            for several processes and across restarts.
        deps: Returns the ``deps`` of a run, given the headers of its request.
        limits: What requests may use.

    Raises:
        ConfigError: There is no token, or an argument is invalid.
    """
    given = agents if isinstance(agents, Mapping) else {getattr(agents, "name", "") or "agent": agents}
    for name, agent in given.items():
        if not name or not isinstance(agent, Agent):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"serve.app takes an Agent, or agents by their names, not {agent!r:.80}")
        if agent.deps_type is not NoneType and deps is None:
            raise ConfigError(f"the agent {name!r} has deps: give serve.app(deps=...) a function that returns them")
    if not given:
        raise ConfigError("serve.app needs an agent to serve")
    store, limits = store or MemoryStore(), limits or ServerLimits()
    runs = Runs(store, limits.waiting_seconds)
    backends = [AgentBackend(name, agent, runs, sessions, deps) for name, agent in given.items()]
    opens = list({id(each): each for each in given.values()}.values())
    guard = Guard(token, hosts, origins)
    return Server(backends, guard=guard, limits=limits, store=store, sessions=sessions, opens=opens)


def gateway(
    models: str | Model | Mapping[str, str | Model | Sequence[str | Model]],
    *,
    token: str | Sequence[str] | None = "",
    hosts: Sequence[str] = (),
    origins: Sequence[str] = (),
    record: str | Path | None = None,
    store: Store | None = None,
    limits: ServerLimits | None = None,
) -> Server:
    """Create an ASGI app for models without an agent: clients get well-formed replies even from an odd server.

    Requests are adapted to the upstream server, its odd replies are repaired, and failures are retried.

    Args:
        models: A model, or models by the names that clients use. A list has a model and its fallbacks.
        token: See `app`.
        hosts: See `app`.
        origins: See `app`.
        record: A file to which each request and its reply are appended, one JSON object per line.
        store: Where answers to idempotency keys are stored: memory by default.
        limits: What requests may use.

    Raises:
        ConfigError: There is no token or no such model, or an argument is not what it must be.
    """
    given: Mapping[str, Any] = models if isinstance(models, Mapping) else {_name(models): models}
    recorder = None if record is None else Recorder(record)
    backends = [
        GatewayBackend(name, [_model(each) for each in _listed(several)], recorder) for name, several in given.items()
    ]
    if not backends or not all(given.values()):
        raise ConfigError("serve.gateway needs a model to serve")
    guard = Guard(token, hosts, origins)
    limits, store = limits or ServerLimits(), store or MemoryStore()
    return Server(backends, guard=guard, limits=limits, store=store, opens=backends)


def _name(model: object) -> str:
    return model if isinstance(model, str) else getattr(getattr(model, "info", None), "model", "") or "model"


def _listed(models: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", models) if isinstance(models, list | tuple) else [models]


def _model(model: Any) -> Model:
    if isinstance(model, str):
        return open_model(model)
    if isinstance(model, type) or not isinstance(model, Model):
        raise ConfigError(f'a model is a name such as "openai:gpt-5-mini" or an object with reply(), not {model!r:.80}')
    return model
