"""One question to an agent, and a conversation of many, shown as they happen."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO, cast

import anyio

from agentkit import Agent, Limits, RunOptions
from agentkit.cli.approvals import QUIT, list_pending, read_line, settle
from agentkit.cli.output import Display, ToolOutput
from agentkit.cli.sessions import waiting_state
from agentkit.cli.terminal_text import one_line
from agentkit.messages import AssistantMessage, Message
from agentkit.run import RunResult, RunState, StandingDecision
from agentkit.sessions import StoredSession

__all__ = ["ask", "converse"]


def ask(
    agent: Agent,
    prompt: str | RunState | None,
    display: Display,
    *,
    history: Sequence[Message] = (),
    rules: Sequence[StandingDecision] = (),
    session: StoredSession | None = None,
    limits: Limits | None = None,
) -> RunResult[str]:
    """Run the agent once in an event loop of its own, so that Ctrl-C ends this run and nothing else.

    Args:
        agent: The agent.
        prompt: The question, or a run to resume; None resumes the last one of the session.
        display: Displays what happens.
        history: The messages before a question.
        rules: Decisions for good that were made before a question.
        session: Where the conversation is saved.
        limits: Limits of this run instead of the agent's.

    Raises:
        AgentKitError: The run failed.
        KeyboardInterrupt: It was interrupted; its end has been shown.
    """

    async def main() -> RunResult[str]:
        try:
            options: RunOptions = {}
            if session is not None:
                options["session"] = session
            if limits is not None:
                options["limits"] = limits
            if history:
                options["history"] = history
            if isinstance(prompt, str):
                stream = agent.stream(prompt, **options)
            else:
                stream = agent.stream(resume=prompt or True, **options)
            stream.state.rules += rules
            async with stream as events:
                async for event in events:
                    display.handle(event)
                return await events.result()
        finally:
            with anyio.CancelScope(shield=True):
                await agent.aclose()

    try:
        with contextlib.redirect_stdout(cast("TextIO", ToolOutput(display))):
            return anyio.run(main)
    except BrokenPipeError:
        raise
    except BaseException as error:
        display.close(error)
        raise


def converse(
    agent: Agent,
    display: Display,
    report_error: Callable[[Exception], int],
    session: StoredSession | None = None,
    resume_command: str = "",
) -> int:
    """Answer what is typed, line by line, until the input ends.

    Args:
        agent: The agent.
        display: Displays what happens.
        report_error: Prints why an answer failed and returns the exit code for it.
        session: Where the conversation is saved. Calls that wait in it are asked about first.
        resume_command: The command that resumes its last run.

    Returns:
        On a terminal 0, otherwise 4 as soon as a call waits for a decision, or the exit code of the last answer that
        failed.

    Raises:
        KeyboardInterrupt: Ctrl-C during an answer, when there is no terminal on which to continue.
    """
    talk = _Conversation(agent, display, report_error, sys.stdin.isatty(), session, resume_command)
    if talk.at_terminal:
        with contextlib.suppress(ImportError):  # not on Windows; not at import, as some versions write to the terminal
            importlib.import_module("readline")  # gives `input` its line editing and history
    if talk.find_waiting() is not None:
        talk.respond(None)
    while not talk.has_quit and (talk.at_terminal or talk.waiting is None):
        try:
            line = read_line("\n> ") if talk.at_terminal else sys.stdin.readline()
        except (EOFError, KeyboardInterrupt):
            sys.stderr.write("\n")
            return 0 if talk.at_terminal else talk.code
        if line.strip() == QUIT or not (line or talk.at_terminal):
            return 0 if talk.at_terminal else talk.code
        if line.startswith("/"):
            sys.stderr.write(f"there is no command {one_line(line)}; there is {QUIT}\n")
        elif line.strip():
            talk.respond(line.rstrip("\n"))
    return 0 if talk.has_quit else 4


@dataclass
class _Conversation:
    """A conversation between two answers; ``waiting`` is a run that waits for decisions."""

    agent: Agent
    display: Display
    report_error: Callable[[Exception], int]
    at_terminal: bool
    session: StoredSession | None = None
    resume_command: str = ""
    history: Sequence[Message] = ()
    rules: Sequence[StandingDecision] = ()
    waiting: RunState | None = None
    code: int = 0
    has_quit: bool = False  # by /quit at a question about a call

    def find_waiting(self) -> RunState | None:
        """Find the run that waits; in a session it is the stored one, as others may have resumed it."""
        if self.session is not None:
            self.waiting = waiting_state(self.session)
        return self.waiting

    def respond(self, line: str | None) -> None:
        """Answer a line, or ask about what waits; an answer that fails does not end the conversation."""
        try:
            self._answer(line)
        except KeyboardInterrupt:
            if not self.at_terminal:
                raise
            self._recover()
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - of a model, a server or a tool
            self.code = self.report_error(error)
            self._recover()

    def _answer(self, line: str | None) -> None:
        prompt: str | RunState | None = line
        if (waiting := self.find_waiting()) is not None:
            if line is not None:
                waiting.add_message(line)
            prompt = waiting
        result = self._ask(prompt)
        if self.at_terminal:
            result, self.has_quit = settle(result, self._ask)
        self.waiting = result.state if result.status == "paused" else None
        self.history, self.rules = result.messages, result.state.rules
        if (waiting := self.find_waiting()) is None:
            return
        if self.at_terminal and not self.has_quit:
            sys.stderr.write("you will be asked about the waiting calls again after your next line\n")
        else:
            list_pending(waiting, self.resume_command, seen=self.at_terminal)

    def _ask(self, prompt: str | RunState | None) -> RunResult[str]:
        if self.session is not None:
            return ask(self.agent, prompt, self.display, session=self.session)
        if isinstance(prompt, RunState):
            return ask(self.agent, prompt, self.display)
        return ask(self.agent, prompt, self.display, history=self.history, rules=self.rules)

    def _recover(self) -> None:
        """Continue without the answer. What tools did has happened, and the model must know it."""
        self.waiting, state = None, self.display.state
        if state is not None and state.calls:
            note = AssistantMessage("[The answer did not come: it failed or was interrupted.]")
            self.history, self.rules = (*state.messages, note), state.rules
