"""The input line of a terminal: several lines, history, completion; a paste is one message."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

__all__ = ["CommandCompleter", "Editor"]


class Editor:
    """Reads what a person types. Enter sends it; Alt+Enter, or a backslash before Enter, starts another line.

    Args:
        commands: The commands that are completed, each with what it does.
        arguments: Returns the words that can follow a command; None for the path of a file.
        history: The file for earlier input, readable by its owner only; None to keep it in memory.
    """

    def __init__(
        self,
        commands: Mapping[str, str],
        arguments: Callable[[str], Iterable[str] | None] = lambda _: (),
        history: Path | None = None,
    ) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=InMemoryHistory() if history is None else _private_history(history),
            completer=CommandCompleter(commands, arguments),
            complete_while_typing=True,
            multiline=True,
            key_bindings=_bindings(),
            prompt_continuation="  ",
            reserve_space_for_menu=5,
            enable_open_in_editor=True,
        )

    def read(self, default: str = "") -> str:
        """Read a message.

        Args:
            default: The initial text.

        Raises:
            EOFError: Ctrl-D.
            KeyboardInterrupt: Ctrl-C with nothing typed.
        """
        return self._session.prompt("> ", default=default)


def _private_history(file: Path) -> History:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))


class CommandCompleter(Completer):
    """Completes a command at the beginning of a line, and its argument."""

    def __init__(self, commands: Mapping[str, str], arguments: Callable[[str], Iterable[str] | None]) -> None:
        self._commands, self._arguments = commands, arguments

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield the completions at the cursor."""
        typed = document.text_before_cursor
        if not typed.startswith("/") or "\n" in typed:
            return
        command, space, rest = typed.partition(" ")
        if not space:
            names = [name for name in self._commands if name.startswith(command)]
            yield from (Completion(name, -len(command), display_meta=self._commands[name]) for name in names)
            return
        words = self._arguments(command)
        if words is None:
            path = PathCompleter(expanduser=True)
            yield from path.get_completions(Document(rest, len(rest)), complete_event)
            return
        yield from (Completion(word, -len(rest)) for word in words if word.startswith(rest))


def _bindings() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if buffer.document.char_before_cursor == "\\" and buffer.document.is_cursor_at_the_end:
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def _(event: Any) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return keys
