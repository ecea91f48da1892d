"""One question to an agent, and a conversation of many, shown as they happen."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO, Unpack, cast

import anyio

from agentkit.agent import Agent, RunOptions
from agentkit.chat.messages import AssistantMessage, Message
from agentkit.cli.approve import QUIT, list_pending, read_line, settle
from agentkit.cli.output import Show, ToolOutput
from agentkit.cli.sessions import waiting_state
from agentkit.cli.terminal_text import one_line
from agentkit.run.decisions import StandingDecision
from agentkit.run.state import RunResult, RunState
from agentkit.sessions import StoredSession

__all__ = ["ask", "converse"]


def ask(
    agent: Agent,
    question: str | RunState | None,
    show: Show,
    *,
    rules: Sequence[StandingDecision] = (),
    **options: Unpack[RunOptions],
) -> RunResult:
    """Run the agent once in an event loop of its own, so that Ctrl-C ends this run and nothing else.

    Args:
        agent: Who answers.
        question: What is asked, or a run to go on with; None for the last one of the session.
        show: Who shows it.
        rules: What was decided for good before a question.
        **options: See `RunOptions`.

    Raises:
        AgentKitError: The run failed.
        KeyboardInterrupt: It was interrupted; the end has been shown.
    """
    try:
        with contextlib.redirect_stdout(cast("TextIO", ToolOutput(show))):
            return anyio.run(_watch, agent, question, show, rules, options)
    except BrokenPipeError:
        raise
    except BaseException as error:
        show.close(error)
        raise


async def _watch(
    agent: Agent, question: str | RunState | None, show: Show, rules: Sequence[StandingDecision], options: RunOptions
) -> RunResult:
    try:
        stream = agent.stream(question, **options)
        stream.state.rules += rules
        async with stream as events:
            async for event in events:
                show.see(event)
            return await events.result()
    finally:
        with anyio.CancelScope(shield=True):
            await agent.aclose()


def converse(
    agent: Agent,
    show: Show,
    complain: Callable[[Exception], int],
    session: StoredSession | None = None,
    go_on: str = "",
) -> int:
    """Ask what is typed, line by line, until the input ends.

    Args:
        agent: Who answers.
        show: Who shows it.
        complain: Shows why an answer failed and gives the exit code for it.
        session: Where the conversation is kept. Calls that wait in it are asked about first.
        go_on: The command that goes on with its last run.

    Returns:
        On a terminal 0, otherwise 4 as soon as a call waits for a decision, or the exit code of the last answer that
        failed.

    Raises:
        KeyboardInterrupt: Ctrl-C during an answer, when nobody is there to ask on.
    """
    talk = _Conversation(agent, show, complain, sys.stdin.isatty(), session, go_on)
    if talk.at_terminal:
        _edit_lines()
    if talk.look() is not None:
        talk.hear(None)
    while not talk.left and (talk.at_terminal or talk.waiting is None):
        line = _next_line(at_terminal=talk.at_terminal)
        if line is None:
            return 0 if talk.at_terminal else talk.code
        if line.startswith("/"):
            sys.stderr.write(f"there is no command {one_line(line)}; there is {QUIT}\n")
        elif line.strip():
            talk.hear(line)
    return 0 if talk.left else 4


@dataclass
class _Conversation:
    """What is known between two answers; ``waiting`` is a run that waits for decisions."""

    agent: Agent
    show: Show
    complain: Callable[[Exception], int]
    at_terminal: bool
    session: StoredSession | None = None
    go_on: str = ""
    history: Sequence[Message] = ()
    rules: Sequence[StandingDecision] = ()
    waiting: RunState | None = None
    code: int = 0
    left: bool = False  # by /quit at a question

    def look(self) -> RunState | None:
        """The run that waits; of a session what is stored, as others may have gone on with it."""
        if self.session is not None:
            self.waiting = waiting_state(self.session)
        return self.waiting

    def hear(self, line: str | None) -> None:
        """Answer a line, or ask about what waits; an answer that fails does not end the conversation."""
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

    def _answer(self, line: str | None) -> None:
        question: str | RunState | None = line
        if (waiting := self.look()) is not None:
            if line is not None:
                waiting.add_message(line)
            question = waiting
        result = self._ask(question)
        if self.at_terminal:
            result, self.left = settle(result, self._ask)
        self.waiting = result.state if result.status == "paused" else None
        self.history, self.rules = result.messages, result.state.rules
        if (waiting := self.look()) is None:
            return
        if self.at_terminal and not self.left:
            sys.stderr.write("the calls that wait are asked about again after your next line\n")
        else:
            list_pending(waiting.pending, self.go_on, seen=self.at_terminal)

    def _ask(self, question: str | RunState | None) -> RunResult:
        if self.session is not None:
            return ask(self.agent, question, self.show, session=self.session)
        if isinstance(question, RunState):
            return ask(self.agent, question, self.show)
        return ask(self.agent, question, self.show, history=self.history, rules=self.rules)

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
    return None if (not line and not at_terminal) or line.strip() == QUIT else line.rstrip("\n")
