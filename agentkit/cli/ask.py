"""One question to an agent, and a conversation of many, shown as they happen."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO, cast

import anyio

from agentkit.agent import Agent
from agentkit.chat.messages import AssistantMessage, Message
from agentkit.cli.approve import list_pending, read_line, settle
from agentkit.cli.show import Show, ToolOutput
from agentkit.cli.text import one_line
from agentkit.run.decisions import Rule
from agentkit.run.state import RunResult, RunState

__all__ = ["ask", "converse"]

_BYE = "/quit"


def ask(
    agent: Agent,
    question: str | RunState,
    show: Show,
    *,
    history: Sequence[Message] = (),
    rules: Sequence[Rule] = (),
) -> RunResult:
    """Run the agent once in an event loop of its own, so that Ctrl-C ends this run and nothing else.

    Args:
        agent: Who answers.
        question: What is asked, or a run to go on with.
        show: Who shows it.
        history: The messages before a question.
        rules: What was decided for good before it.

    Raises:
        AgentKitError: The run failed.
        KeyboardInterrupt: It was interrupted; the end has been shown.
    """
    try:
        with contextlib.redirect_stdout(cast("TextIO", ToolOutput(show))):
            return anyio.run(_watch, agent, question, show, history, rules)
    except BrokenPipeError:
        raise
    except BaseException as error:
        show.close(error)
        raise


async def _watch(
    agent: Agent, question: str | RunState, show: Show, history: Sequence[Message], rules: Sequence[Rule]
) -> RunResult:
    try:
        stream = agent.stream(question, history=history)
        stream.state.rules += rules
        async with stream as events:
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
        On a terminal 0, otherwise 4 as soon as a call waits for a decision, or the exit code of the last answer that
        failed.

    Raises:
        KeyboardInterrupt: Ctrl-C during an answer, when nobody is there to ask on.
    """
    talk = _Conversation(agent, show, complain, sys.stdin.isatty())
    if talk.at_terminal:
        _edit_lines()
    while (line := _next_line(at_terminal=talk.at_terminal)) is not None:
        if line.startswith("/"):
            sys.stderr.write(f"there is no command {one_line(line)}; there is {_BYE}\n")
        elif line.strip():
            talk.hear(line)
        if talk.waiting is not None and not talk.at_terminal:
            return 4
    return 0 if talk.at_terminal else talk.code


@dataclass
class _Conversation:
    """What is known between two answers; ``waiting`` is a run that waits for decisions."""

    agent: Agent
    show: Show
    complain: Callable[[Exception], int]
    at_terminal: bool
    history: Sequence[Message] = ()
    rules: Sequence[Rule] = ()
    waiting: RunState | None = None
    code: int = 0

    def hear(self, line: str) -> None:
        """Answer a line; an answer that fails does not end the conversation."""
        try:
            self._answer(line)
        except KeyboardInterrupt:
            if not self.at_terminal:
                raise
            self._broken_off()
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - of a model, a server or a tool
            self.code = self.complain(error)
            self._broken_off()

    def _answer(self, line: str) -> None:
        if self.waiting is None:
            result = ask(self.agent, line, self.show, history=self.history, rules=self.rules)
        else:
            self.waiting.say(line)
            result = ask(self.agent, self.waiting, self.show)
        if self.at_terminal:
            result = settle(result, lambda state: ask(self.agent, state, self.show))
        self.waiting = result.state if result.status == "paused" else None
        self.history, self.rules = result.transcript, result.state.rules
        list_pending(result.pending)

    def _broken_off(self) -> None:
        """Go on without the answer. What tools did has happened, and the model must know it."""
        self.waiting, state = None, self.show.state
        if state is not None and state.calls:
            note = AssistantMessage("[The answer did not come: it failed or was interrupted.]")
            self.history, self.rules = (*state.messages, note), state.rules


def _edit_lines() -> None:
    """Give `input` its line editing and history. Not at import: some versions write to the terminal then."""
    with contextlib.suppress(ImportError):  # not on Windows
        importlib.import_module("readline")


def _next_line(*, at_terminal: bool) -> str | None:
    """The next line, None at the end: Ctrl-D, Ctrl-C at the prompt, or ``/quit``."""
    try:
        line = read_line("\n> ") if at_terminal else sys.stdin.readline()
    except (EOFError, KeyboardInterrupt):
        sys.stderr.write("\n")
        return None
    return None if (not line and not at_terminal) or line.strip() == _BYE else line.rstrip("\n")
