"""One question to an agent, and a conversation of many, shown as they happen."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import TextIO, cast

import anyio

from agentkit.agent import Agent
from agentkit.chat.messages import AssistantMessage, Message
from agentkit.cli.show import Show, ToolOutput
from agentkit.cli.text import one_line
from agentkit.run.state import RunResult, RunState

__all__ = ["ask", "converse"]

_BYE = "/quit"


def ask(agent: Agent, question: str, show: Show, *, history: Sequence[Message] = ()) -> RunResult:
    """Run the agent once in an event loop of its own, so that Ctrl-C ends this run and nothing else.

    Raises:
        AgentKitError: The run failed.
        KeyboardInterrupt: It was interrupted; the end has been shown.
    """
    try:
        with contextlib.redirect_stdout(cast("TextIO", ToolOutput(show))):
            return anyio.run(_watch, agent, question, show, history)
    except BrokenPipeError:
        raise
    except BaseException as error:
        show.close(error)
        raise


async def _watch(agent: Agent, question: str, show: Show, history: Sequence[Message]) -> RunResult:
    try:
        async with agent.stream(question, history=history) as events:
            async for event in events:
                show.see(event)
            return await events.result()
    finally:
        with anyio.CancelScope(shield=True):
            await agent.aclose()


def converse(agent: Agent, show: Show, complain: Callable[[Exception], int]) -> int:
    """Ask what is typed, line by line, until the input ends.

    Args:
        agent: Who answers.
        show: Who shows it.
        complain: Shows why an answer failed and gives the exit code for it.

    Returns:
        On a terminal 0, otherwise the exit code of the last answer that failed.

    Raises:
        KeyboardInterrupt: Ctrl-C during an answer, when nobody is there to ask on.
    """
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        _edit_lines()
    history: Sequence[Message] = ()
    code = 0
    while (line := _next_line(at_terminal=at_terminal)) is not None:
        if not line.strip():
            continue
        if line.startswith("/"):
            sys.stderr.write(f"there is no command {one_line(line)}; there is {_BYE}\n")
            continue
        try:
            history = ask(agent, line, show, history=history).transcript
        except KeyboardInterrupt:
            if not at_terminal:
                raise
            history = _what_was_done(show.state, history)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - a failed answer does not end the conversation
            code = complain(error)
            history = _what_was_done(show.state, history)
    return 0 if at_terminal else code


def _edit_lines() -> None:
    """Give `input` its line editing and history. Not at import: some versions write to the terminal then."""
    with contextlib.suppress(ImportError):  # not on Windows
        importlib.import_module("readline")


def _next_line(*, at_terminal: bool) -> str | None:
    """The next line, None at the end: Ctrl-D, Ctrl-C at the prompt, or ``/quit``."""
    try:
        line = _read(sys.stdout) if at_terminal else sys.stdin.readline()
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\n")
        return None
    return None if (not line and not at_terminal) or line.strip() == _BYE else line.rstrip("\n")


def _read(stdout: TextIO) -> str:
    if stdout.isatty():
        return input("\n> ")
    sys.stderr.write("\n> ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _what_was_done(state: RunState | None, history: Sequence[Message]) -> Sequence[Message]:
    """The history after an answer that did not come: without its question, unless tools have been called for it.

    What tools did has happened, and the model must know it.
    """
    if state is None or not state.calls:
        return history
    return (*state.messages, AssistantMessage("[The answer did not come: it failed or was interrupted.]"))
