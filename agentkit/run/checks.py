"""Checks of the arguments of agents and runs at run time, with errors in sentences."""

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
    single = isinstance(instructions, str) or callable(instructions) or not isinstance(instructions, Iterable)
    given_parts: Any = (instructions,) if single else tuple(cast("Any", instructions))
    parts: tuple[Any, ...] = given_parts
    wrong = [each for each in parts if not isinstance(each, str) and not callable(each)]
    policy, middleware, limits = given["requires_approval"], given["middleware"], given["limits"]
    validators, members = _members(given["output_validators"]), _members(middleware)
    whole = members is not None and all(isinstance(each, Middleware) for each in members)
    hint = (
        "; a function becomes one by @around_model, @around_tool or @around_run"
        if any(map(callable, members or [middleware]))
        else ""
    )
    on_error = ("report", "report_type", "raise")
    refuse(
        (not wrong, expected("a string or a function", "instructions", wrong[:1])),
        *((isinstance(given[each], str), expected("a string", each, given[each])) for each in ("name", "description")),
        (
            isinstance(given["settings"], ChatSettings | None),
            expected("a ChatSettings(...)", "settings", given["settings"]),
        ),
        (isinstance(limits, Limits | None), expected("a Limits(...)", "limits", limits)),
        (
            isinstance(policy, bool) or callable(policy),
            expected("True, False or a function", "requires_approval", policy),
        ),
        (given["on_tool_error"] in on_error, expected(f"one of {on_error}", "on_tool_error", given["on_tool_error"])),
        (
            validators is not None and all(map(callable, validators)),
            expected("a list of functions", "output_validators", given["output_validators"]),
        ),
        (whole, expected("a list of Middleware objects", "middleware", middleware) + hint),
    )
    return parts


def check_run(options: Mapping[str, Any]) -> None:
    """Refuse options of a run that have the wrong type or value, or contradict each other."""
    prompt, history, session = options["prompt"], options["history"], options["session"]
    resume, run_id = options["resume"], options["run_id"]
    refuse(
        (
            not isinstance(prompt, RunState | RunResult),
            "a prompt is not a state or a result: use resume=state or history=result",
        ),
        (not isinstance(resume, RunResult), "resume= takes the state of a result: resume=result.state"),
        (isinstance(resume, RunState | bool | None), expected("a RunState, or True with a session", "resume", resume)),
        (isinstance(run_id, str), expected("a string", "run_id", run_id)),
        (
            session is None or isinstance(session, Session),
            expected('one conversation, as sessions["alice"] is', "session", session),
        ),
        (history is None or session is None, "a session has its own messages: pass session= or history=, not both"),
        (history is None or not resume, "a resumed run has its own messages: history= is for a new run"),
        (resume is not True or session is not None, "resume=True resumes the last run of a session: pass session= too"),
        (prompt is not None or bool(resume), "the prompt is missing; only resume= works without one"),
    )


def check_settings(settings: object, limits: object) -> None:
    """Refuse settings and limits of a run that are something else."""
    refuse(
        (isinstance(settings, ChatSettings | None), expected("a ChatSettings(...)", "settings", settings)),
        (isinstance(limits, Limits | None), expected("a Limits(...)", "limits", limits)),
    )


def _members(given: object) -> list[Any] | None:
    return list(cast("Any", given)) if isinstance(given, Sequence) else None


def refuse(*checks: tuple[bool, str]) -> None:
    """Raise the complaint of the first check that does not hold.

    Raises:
        ConfigError: One does not.
    """
    for right, complaint in checks:
        if not right:
            raise ConfigError(complaint)


def expected(wanted: str, name: str, given: object) -> str:
    """Return a complaint about an argument of the wrong type."""
    return f"{name}= takes {wanted}, not {given!r:.80}"


def check_limits(limits: Limits, agents: Mapping[str, AgentSpec]) -> None:
    """Refuse limits on tools that do not exist, unless sources may still provide them, and agents that cannot run."""
    for agent in agents.values():
        _check_nested(agent, limits)
    per_tool, several = limits.calls_per_tool, agents.values()
    tools = [name for agent in several for name in agent.tools]
    for name in per_tool if isinstance(per_tool, Mapping) and not any(agent.sources for agent in several) else ():
        if name not in tools and name != READ_RESULT:
            near = get_close_matches(name, tools, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"the agent has {', '.join(tools) or 'none'}"
            raise ConfigError(f"Limits(calls_per_tool=...) names {name!r}, and there is no such tool: {meant}")


def _check_nested(agent: AgentSpec, limits: Limits) -> None:
    """Refuse an agent that would run itself through its tools, and limits that let one of its tools never run.

    Raises:
        DefinitionError: It would run itself.
        ConfigError: An agent is nested too deep.
    """
    for tool in agent.tools.values():
        for name, depth in tool.inside.items() if isinstance(tool, AgentTool) else ():
            if name and name == agent.name:
                raise DefinitionError(
                    f"the agent {name!r} would call itself through its tool {tool.name}: remove it, or, if another "
                    "agent of that name is meant, rename one"
                )
            if depth > limits.nested_depth:
                raise ConfigError(
                    f"Limits(nested_depth={limits.nested_depth}): the agent {name!r} is {depth} deep in the tool "
                    f"{tool.name} and could never run: raise the limit, or remove the tool"
                )


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
        raise ConfigError(expected("a function of one event", "on_event", on_event))
    if kind_of(on_event) != "plain":
        raise ConfigError("on_event= takes a function that is not async, as nothing would await it: use agent.stream()")
    return cast("Emit", on_event)
