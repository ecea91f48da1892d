"""``agentkit chat``: a conversation in a terminal."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import typer

from agentkit import RunState, TextPart, Usage
from agentkit.chat import PROVIDERS, open_model
from agentkit.cli.agents import OpenAgent, Setup, open_agent
from agentkit.cli.approvals import QUIT, list_pending, read_line, settle
from agentkit.cli.console import NotesConsole
from agentkit.cli.conversation import ask
from agentkit.cli.errors import handle_errors, report_error
from agentkit.cli.files import write_private
from agentkit.cli.inputs import attach
from agentkit.cli.live import open_display
from agentkit.cli.logs import data_directory, is_on
from agentkit.cli.models import check_key
from agentkit.cli.options import (
    DebugOption,
    DepsOption,
    InstructionsOption,
    JsonOption,
    LimitOption,
    McpOption,
    ModelOption,
    ParameterOption,
    SchemaOption,
    SessionOption,
    TimeoutOption,
    ToolsOption,
    TraceOption,
    WithOption,
)
from agentkit.cli.output import Display, usage_text
from agentkit.cli.run import resume_command_of
from agentkit.cli.sessions import describe, message_text, open_session, waiting_state
from agentkit.cli.terminal_text import one_line, plural
from agentkit.errors import AgentKitError, ConfigError
from agentkit.messages import AssistantMessage, ContentPart, Message, ToolMessage, UserMessage
from agentkit.run import Prompt, RunResult, StandingDecision, begins_exchange, call_sync
from agentkit.sessions import StoredSession

__all__ = ["chat"]

_COMMANDS: Mapping[str, str] = {
    "/help": "list the commands",
    "/model": "show the model, or change it: /model openai:gpt-5-mini",
    "/tools": "list the tools",
    "/undo": "forget the last question and its answer",
    "/retry": "ask the last question again",
    "/edit": "change the last question and ask it again",
    "/attach": "attach a file to the next question: /attach photo.jpg",
    "/save": "save the conversation: /save talk.md, or talk.json for programs",
    "/usage": "show what the conversation has used",
    QUIT: "end the conversation; so does Ctrl-D",
}


def chat(  # noqa: PLR0913 - each is an option of the command
    agent: Annotated[str, typer.Argument(metavar="[AGENT]", help="An agent, such as app.py:agent.")] = "",
    model: ModelOption = "",
    tools: ToolsOption = None,
    with_: WithOption = None,
    mcp: McpOption = None,
    instructions: InstructionsOption = "",
    deps: DepsOption = "",
    parameters: ParameterOption = None,
    limits: LimitOption = None,
    schema: SchemaOption = "",
    timeout: TimeoutOption = None,
    session: SessionOption = None,
    trace: TraceOption = "",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Talk to a model or an agent; /help lists the commands, Ctrl-C stops an answer.

    Enter sends a message; Alt+Enter, or a backslash before Enter, starts a new line.

    \b
    agentkit chat --model ollama:qwen3 --tools tools.py --session chat.db:ada
    agentkit chat app.py:agent
    """  # noqa: D301
    with handle_errors(debug=debug):
        opened = open_agent(
            Setup(agent, model, tools, with_, instructions, deps, parameters, limits, schema, timeout, mcp)
        )
        stored = None if session is None else open_session(session)
        waiting = None if stored is None else waiting_state(stored)
        if waiting is not None:
            opened.require_tools(waiting)
        at_terminal = sys.stdin.isatty()
        if at_terminal and not as_json:
            names = opened.tools
            what = [opened.setup.agent, opened.model, f"tools: {', '.join(names)}" if names else "no tools"]
            what += [] if stored is None else [describe(stored)]
            NotesConsole().say((one_line(", ".join(filter(None, what))), "dim"))
            NotesConsole().say(("/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends", "dim"))
        conversation = _Conversation(
            opened,
            open_display(sys.stdout, as_json=as_json, streams=not opened.has_tools, trace=trace),
            functools.partial(report_error, debug=debug),
            at_terminal,
            stored,
            resume_command_of("", session),
        )
        with opened.hold():
            raise typer.Exit(conversation.run())


@dataclass
class _Conversation:
    """A conversation; ``waiting`` is a run that waits for decisions."""

    opened: OpenAgent
    display: Display
    report_error: Callable[[Exception], int]
    at_terminal: bool
    session: StoredSession | None
    resume_command: str
    history: Sequence[Message] = ()
    rules: Sequence[StandingDecision] = ()
    waiting: RunState | None = None
    attached: list[ContentPart] = field(default_factory=list[ContentPart])
    usage: Usage = field(default_factory=Usage)
    code: int = 0
    ended: bool = False

    def run(self) -> int:
        """Answer what is typed until the input ends.

        Returns:
            On a terminal 0, otherwise 4 as soon as a call waits for a decision, or the exit code of the last answer
            that failed.

        Raises:
            KeyboardInterrupt: Ctrl-C during an answer, when there is no terminal on which to continue.
        """
        read = self._reader()
        if self.find_waiting() is not None:
            self.respond(None)
        while not self.ended and (self.at_terminal or self.waiting is None):
            try:
                line = read("")
            except (EOFError, KeyboardInterrupt):
                sys.stderr.write("\n")
                return 0 if self.at_terminal else self.code
            if not (line or self.at_terminal):
                return self.code
            if line.startswith("/"):
                self._command(line.strip(), read)
            elif line.strip():
                self.respond(self._with_attachments(line.rstrip("\n")))
        return 0 if self.at_terminal else self.code if self.ended else 4

    def _reader(self) -> Callable[[str], str]:
        """Return the function that reads a message; its argument is the initial text."""
        if not self.at_terminal:
            return lambda _: sys.stdin.readline()
        if not sys.stdout.isatty():
            return lambda default: read_line("\n> ") or default
        from agentkit.cli.prompt import Editor  # noqa: PLC0415 - only a terminal needs it, and it takes its time

        def words(command: str) -> Sequence[str] | None:
            return [f"{name}:" for name in PROVIDERS] if command == "/model" else None

        editor = Editor(_COMMANDS, words, data_directory() / "chat-history" if is_on() else None)

        def read(default: str) -> str:
            sys.stdout.write("\n")
            return editor.read(default)

        return read

    def find_waiting(self) -> RunState | None:
        """Find the run that waits. In a session it is the stored one, because others may have resumed it."""
        if self.session is not None:
            self.waiting = waiting_state(self.session)
        return self.waiting

    def respond(self, prompt: Prompt | None) -> None:
        """Answer a question, or ask about waiting calls. A failed answer does not end the conversation."""
        try:
            self._answer(prompt)
        except KeyboardInterrupt:
            if not self.at_terminal:
                raise
            self._recover()
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - of a model, a server or a tool
            self.code = self.report_error(error)
            self._recover()

    def _answer(self, prompt: Prompt | None) -> None:
        asked: Prompt | RunState | None = prompt
        if (waiting := self.find_waiting()) is not None:
            if prompt is not None:
                waiting.add_message(prompt)
            asked = waiting
        result = self._ask(asked)
        if self.at_terminal:
            result, self.ended = settle(result, self._ask)
        self.waiting = result.state if result.status == "paused" else None
        self.history, self.rules = result.messages, result.state.rules
        self.usage += result.usage
        if (waiting := self.find_waiting()) is None:
            return
        if self.at_terminal and not self.ended:
            sys.stderr.write("you will be asked about the waiting calls again after your next line\n")
        else:
            list_pending(waiting, self.resume_command, seen=self.at_terminal)

    def _ask(self, prompt: Prompt | RunState | None) -> RunResult[object]:
        if self.session is not None:
            return ask(self.opened, prompt, self.display, session=self.session)
        if isinstance(prompt, RunState):
            return ask(self.opened, prompt, self.display)
        return ask(self.opened, prompt, self.display, history=self.history, rules=self.rules)

    def _recover(self) -> None:
        """Keep what was shown and what tools did, because it has happened and the model must know about it."""
        self.waiting, state = None, self.display.state
        if state is None:
            return
        self.usage += state.usage
        self.history, self.rules = tuple(state.messages), state.rules
        if self.history and isinstance(self.history[-1], ToolMessage):
            note = AssistantMessage("[The answer did not come: it failed or was interrupted.]")
            self.history = (*self.history, note)

    # Commands.

    def _command(self, line: str, read: Callable[[str], str]) -> None:
        name, _, argument = line.partition(" ")
        argument = argument.strip()
        try:
            match name:
                case "/quit":
                    self.ended = True
                case "/help":
                    self._say(*(f"{command:<10}{what}" for command, what in _COMMANDS.items()))
                case "/model":
                    self._change_model(argument)
                case "/tools":
                    self._say(*(self.opened.tools or ["no tools"]))
                case "/usage":
                    self._say(usage_text(self.usage))
                case "/attach":
                    self.attached.append(attach(argument))
                    self._say(f"attached to the next question: {plural(len(self.attached), 'file')}")
                case "/save":
                    self._save(argument)
                case "/undo" | "/retry" | "/edit":
                    self._again(name, read)
                case _:
                    self._say(f"there is no command {name}; /help lists them")
        except (AgentKitError, OSError) as error:
            self.code = self.report_error(error)

    def _say(self, *lines: str) -> None:
        for line in lines:
            NotesConsole().say(one_line(line) if not line.startswith("/") else line)

    def _with_attachments(self, text: str) -> Prompt:
        parts, self.attached = self.attached, []
        return [TextPart(text), *parts] if parts else text

    def _change_model(self, name: str) -> None:
        if name:
            model = open_model(name)
            check_key(model)
            self.opened.options["model"], self.opened.model = model, name
        self._say(f"the model is {self.opened.model}")

    def _again(self, command: str, read: Callable[[str], str]) -> None:
        """Forget the last exchange, and ask its question again if the command says so."""
        messages = self.history if self.session is None else call_sync(self.session.messages)
        places = [at for at, each in enumerate(messages) if isinstance(each, UserMessage) and begins_exchange(each)]
        if not places:
            self._say("there is no question yet")
            return
        last = messages[places[-1]]
        content: Prompt = last.content if isinstance(last.content, str) else list(last.content or ())
        if command == "/edit":
            content = read(last.text).rstrip("\n")
            if not content.strip():
                self._say("nothing was changed")
                return
        self.history, self.waiting = tuple(messages[: places[-1]]), None
        if self.session is not None:
            self._branch(places[-1])
        if command == "/undo":
            self._say(f"forgotten: {last.text}")
        else:
            self.respond(content)

    def _branch(self, messages: int) -> None:
        """Continue in a copy of the session without its last messages."""
        assert self.session is not None  # noqa: S101 - of the caller
        old = self.session
        stem, _, number = old.name.rpartition("-")
        name = f"{stem}-{int(number) + 1}" if stem and number.isdigit() else f"{old.name}-2"
        self.session = call_sync(old.branch, name, messages=messages)
        self.resume_command = self.resume_command.replace(one_line(old.name), one_line(name))
        self._say(f"the conversation continues in session {name!r}; {old.name!r} is as it was")

    def _save(self, file: str) -> None:
        if not file:
            raise ConfigError("say where: /save talk.md, or talk.json for programs")
        messages = self.history if self.session is None else call_sync(self.session.messages)
        if file.endswith(".json"):
            text = json.dumps([each.to_wire() for each in messages], indent=2, ensure_ascii=False)
        else:
            text = "\n".join(message_text(number, each, messages) for number, each in enumerate(messages))
        write_private(file, f"{text}\n", "conversation")
        self._say(f"saved {plural(len(messages), 'message')} in {file}")
