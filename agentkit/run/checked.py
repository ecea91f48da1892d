"""What an agent and a run are given, checked in words, as type checkers are not everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import cast

from agentkit.chat.settings import ChatSettings
from agentkit.errors import ConfigError
from agentkit.run.limits import Limits
from agentkit.run.middleware import Middleware
from agentkit.run.session_run import Session
from agentkit.run.state import RunResult, RunState

__all__ = ["check_agent", "check_names", "check_options"]


def check_agent(
    *,
    words: Mapping[str, object],
    settings: object,
    limits: object,
    requires_approval: object,
    middleware: object,
    on_tool_error: object,
) -> None:
    """Check the arguments of an `Agent`.

    Raises:
        ConfigError: One of them cannot be what it is given for.
    """
    given = cast("Sequence[object]", middleware) if isinstance(middleware, Sequence) else [middleware]
    whole = isinstance(middleware, Sequence) and all(isinstance(each, Middleware) for each in given)
    hint = "; a function becomes one by @around_model, @around_tool or @around_run" if any(map(callable, given)) else ""
    _refuse(
        *((isinstance(each, str), f"{name} is a text, not {each!r:.80}") for name, each in words.items()),
        (isinstance(settings, ChatSettings | None), f"settings is a ChatSettings(...), not {settings!r:.80}"),
        (isinstance(limits, Limits | None), f"limits is a Limits(...), not {limits!r:.80}"),
        (
            isinstance(requires_approval, bool) or callable(requires_approval),
            f"requires_approval is True, False or a function, not {requires_approval!r:.80}",
        ),
        (whole, f"middleware is a list of Middleware objects, not {middleware!r:.80}{hint}"),
        (on_tool_error in ("report", "raise"), f'on_tool_error is "report" or "raise", not {on_tool_error!r}'),
    )


def check_options(prompt: object, options: Mapping[str, object]) -> None:
    """Check what a run is given beside its question.

    Raises:
        ConfigError: It cannot be what it is given for, or does not go together.
    """
    settings, limits, run_id, session = (options.get(each) for each in ("settings", "limits", "run_id", "session"))
    history = options.get("history") is not None
    kept = session is None or isinstance(session, Session)
    _refuse(
        (not isinstance(prompt, RunResult), "go on with result.state, or ask on with history=result"),
        (isinstance(settings, ChatSettings | None), f"settings is a ChatSettings(...), not {settings!r:.80}"),
        (isinstance(limits, Limits | None), f"limits is a Limits(...), not {limits!r:.80}"),
        (isinstance(run_id, str | None), f"run_id is a text, not {run_id!r:.80}"),
        (kept, f'session is one conversation, as sessions["alice"] is, not {session!r:.80}'),
        (
            not (history and session),
            "a session has its messages: give session= or history=, not both",
        ),
        (not (history and isinstance(prompt, RunState)), "a state has its messages: history= is for a question only"),
    )


def check_names(limits: Limits, tools: Iterable[str]) -> None:
    """Check that the limits are those of tools that there are.

    Raises:
        ConfigError: ``calls_per_tool`` names another.
    """
    known = list(tools)
    for name in limits.calls_per_tool if isinstance(limits.calls_per_tool, Mapping) else ():
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"the agent has {', '.join(known) or 'none'}"
            raise ConfigError(f"Limits(calls_per_tool=...) names {name!r}, and there is no such tool: {meant}")


def _refuse(*checks: tuple[bool, str]) -> None:
    for right, complaint in checks:
        if not right:
            raise ConfigError(complaint)
