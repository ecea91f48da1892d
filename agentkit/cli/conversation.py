"""One question to an agent, shown as it is answered."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, TextIO, cast

from agentkit import RunOptions, RunState
from agentkit.cli.agents import OpenAgent
from agentkit.cli.output import Display, ToolOutput
from agentkit.messages import Message
from agentkit.run import Prompt, RunResult, StandingDecision
from agentkit.sessions import StoredSession

__all__ = ["ask"]


def ask(
    opened: OpenAgent,
    prompt: Prompt | RunState | None,
    display: Display,
    *,
    history: Sequence[Message] = (),
    rules: Sequence[StandingDecision] = (),
    session: StoredSession | None = None,
) -> RunResult[Any]:
    """Run the agent once. Ctrl-C cancels this run and nothing else.

    Args:
        opened: The agent.
        prompt: The question, or a run to resume; None resumes the last one of the session.
        display: Displays what happens.
        history: The messages before a question.
        rules: Standing decisions that were made before the question.
        session: Where the conversation is saved.

    Raises:
        AgentKitError: The run failed.
        KeyboardInterrupt: It was interrupted; its end has been shown.
    """
    state = prompt if isinstance(prompt, RunState) else session.sync.state() if session and prompt is None else None
    options: RunOptions = {**opened.options_for(state), "session": session}
    if prompt is None or isinstance(prompt, RunState):
        stream = opened.agent.stream_sync(resume=prompt or True, **options)
    else:
        options["history"] = history or None
        stream = opened.agent.stream_sync(prompt, **options)
    stream.state.rules += rules
    try:
        with contextlib.redirect_stdout(cast("TextIO", ToolOutput(display))), stream:
            for event in stream:
                display.handle(event)
            return stream.result()
    except BrokenPipeError:
        raise
    except BaseException as error:
        display.close(error)
        raise
    finally:
        if stream.state.run_id:
            opened.log(stream.state)
