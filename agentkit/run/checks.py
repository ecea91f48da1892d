"""Checks the arguments of agents and runs at run time; each error is a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import NoneType
from typing import Any, cast

from agentkit.chat.events import Emit
from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError, DefinitionError
from agentkit.run.agent_tool import AgentTool
from agentkit.run.artifacts import READ_RESULT
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware
from agentkit.run.session_run import Session
from agentkit.run.spec import AgentSpec, Instructions
from agentkit.run.state import RunResult, RunState
from agentkit.tools.execute import kind_of
from agentkit.tools.tool import Tool


def check_agent(given: Mapping[str, Any]) -> tuple[Instructions, ...]:
    """Refuse arguments of an agent that have the wrong type or value; return the parts of its instructions."""
    instructions: Any = given["instructions"]
    middleware: Any = given["middleware"]
    validators: Any = given["output_validators"]
    policy, on_error = given["requires_approval"], ("report", "report_type", "raise")
    single = isinstance(instructions, str) or callable(instructions) or not isinstance(instructions, Iterable)
    parts: list[Any] = [instructions] if single else [*cast("Any", instructions)]
    wrong = [each for each in parts if not isinstance(each, str) and not callable(each)]
    layers: list[Any] = [*cast("Any", middleware)] if isinstance(middleware, Sequence) else [middleware]
    whole = isinstance(middleware, Sequence) and all(isinstance(each, Middleware) for each in layers)
    _check_types(
        ("instructions", wrong[:1], not wrong, "a string or a function"),
        ("name", given["name"], isinstance(given["name"], str), "a string"),
        ("description", given["description"], isinstance(given["description"], str), "a string"),
        ("requires_approval", policy, isinstance(policy, bool) or callable(policy), "True, False or a function"),
        ("on_tool_error", given["on_tool_error"], given["on_tool_error"] in on_error, f"one of {on_error}"),
        (
            "output_validators",
            validators,
            isinstance(validators, Sequence) and all(map(callable, cast("Sequence[object]", validators))),
            "a list of functions",
        ),
    )
    check_settings(given["settings"], given["limits"])
    if not whole:
        is_function = any(map(callable, layers))
        hint = "; @around_model, @around_tool and @around_run make one of a function" if is_function else ""
        raise ConfigError(f"middleware= takes a list of Middleware objects, not {middleware!r:.80}{hint}")
    return tuple(each for each in parts if each != "")


def check_run(prompt: object, history: object, session: object, resume: object, run_id: object) -> None:
    """Refuse options of a run that have the wrong type or value, or contradict each other."""
    is_state = isinstance(prompt, RunState | RunResult)
    _refuse(
        (is_state, "a prompt is not a state or a result: use resume=state or history=result"),
        (isinstance(resume, RunResult), "resume= takes the state of a result: resume=result.state"),
    )
    is_session = session is None or isinstance(session, Session)
    _check_types(
        ("resume", resume, isinstance(resume, RunState | bool | None), "a RunState, or True with a session"),
        ("run_id", run_id, isinstance(run_id, str), "a string"),
        ("session", session, is_session, 'one conversation, as sessions["alice"] is'),
    )
    history_given = history is not None
    _refuse(
        (history_given and session is not None, "a session has its own messages: pass session= or history=, not both"),
        (history_given and bool(resume), "a resumed run has its own messages: history= is for a new run"),
        (resume is True and session is None, "resume=True resumes the last run of a session: pass session= too"),
        (prompt is None and not resume, "the prompt is missing; only resume= works without one"),
    )


def check_settings(settings: object, limits: object) -> None:
    """Refuse settings and limits of the wrong type."""
    _check_types(
        ("settings", settings, isinstance(settings, ChatSettings | None), "a ChatSettings(...)"),
        ("limits", limits, isinstance(limits, Limits | None), "a Limits(...)"),
    )


def _refuse(*rules: tuple[bool, str]) -> None:
    """Raise the complaint of the first rule that is broken."""
    for is_broken, complaint in rules:
        if is_broken:
            raise ConfigError(complaint)


def _check_types(*arguments: tuple[str, object, bool, str]) -> None:
    """Refuse an argument of the wrong type, given its name, its value, whether it is right, and what would be."""
    for name, given, is_right, wanted in arguments:
        if not is_right:
            raise ConfigError(f"{name}= takes {wanted}, not {given!r:.80}")


def check_limits(limits: Limits, agents: Mapping[str, AgentSpec]) -> None:
    """Refuse agents that would run themselves through their tools, and limits that can never apply.

    Raises:
        DefinitionError: An agent would run itself.
        ConfigError: An agent is nested too deep, or there is no such tool and no source that may still provide it.
    """
    tools = [(agent.name, tool) for agent in agents.values() for tool in agent.tools.values()]
    for owner, tool in tools:
        for name, depth in tool.inside.items() if isinstance(tool, AgentTool) else ():
            if name and name == owner:
                raise DefinitionError(
                    f"the agent {name!r} would call itself through its tool {tool.name}: remove it, or, if another "
                    "agent of that name is meant, rename one"
                )
            if depth > limits.nested_depth:
                raise ConfigError(
                    f"Limits(nested_depth={limits.nested_depth}): the agent {name!r} is {depth} deep in the tool "
                    f"{tool.name} and could never run: raise the limit, or remove the tool"
                )
    if not isinstance(limits.calls_per_tool, Mapping) or any(agent.sources for agent in agents.values()):
        return
    names = [tool.name for _, tool in tools]
    for name in [name for name in limits.calls_per_tool if name not in (*names, READ_RESULT)]:
        near = get_close_matches(name, names, 1)
        meant = f"did you mean {near[0]!r}?" if near else f"the agent has {', '.join(names) or 'none'}"
        raise ConfigError(f"Limits(calls_per_tool=...) names {name!r}, and there is no such tool: {meant}")


def check_deps(deps: object, deps_type: object, tools: Iterable[Tool]) -> None:
    """Refuse dependencies of the wrong type for the agent or one of its tools."""
    wanted = [(getattr(each, "deps_type", None), f"tool {each.name}") for each in tools]
    for kind, who in [(None if deps_type is NoneType else deps_type, "the agent"), *wanted]:
        if isinstance(kind, type) and kind is not object and not isinstance(deps, kind):
            missing = "run(..., deps=...) is missing" if deps is None else f"deps= is {type(deps).__name__}"
            raise ConfigError(f"{who} needs deps of the type {kind.__name__}, and {missing}")


def check_observer(on_event: object) -> Emit:
    """Refuse an observer that cannot be called with an event, or that nobody would await.

    Raises:
        ConfigError: It is not callable, or it is async.
    """
    if not callable(on_event):
        raise ConfigError(f"on_event= takes a function of one event, not {on_event!r:.80}")
    if kind_of(on_event) != "plain":
        raise ConfigError("on_event= takes a function that is not async, as nothing would await it: use agent.stream()")
    return cast("Emit", on_event)
