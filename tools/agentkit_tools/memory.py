"""`Memory`: short notes in a file that outlive conversations."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from agentkit import tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.tools import Approval, ToolResult, Toolset
from agentkit_tools.fts import match_query

__all__ = ["Memory", "Note"]

_LONGEST = 2_000  # characters of a note
_MOST_RECALLED = 20
_APPLICATION = 0x616B6D31  # "akm1": marks a SQLite file as one of ours
_SCHEMA = """
CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT NOT NULL UNIQUE, created TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (note, content='notes', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER added AFTER INSERT ON notes BEGIN INSERT INTO words (rowid, note) VALUES (new.id, new.note); END;
CREATE TRIGGER gone AFTER DELETE ON notes
    BEGIN INSERT INTO words (words, rowid, note) VALUES ('delete', old.id, old.note); END;
"""


@dataclass(frozen=True, slots=True)
class Note:
    """One note.

    Attributes:
        id: Its number; numbers are never reused.
        text: The note.
        created: When it was made.
    """

    id: int
    text: str
    created: datetime


class Memory(Toolset):
    """Tools to remember a note, recall notes and forget one; the notes are in a SQLite file that processes may share.

    A note reappears in later conversations, whoever made the model write it. If an agent reads content from strangers,
    have each note reviewed with ``requires_approval=True``.

    Args:
        file: The file; created on first use.
        most_notes: The most notes.
        requires_approval: For ``remember`` and ``forget``; see `ToolOptions`.

    Raises:
        ConfigError: A limit is invalid.
    """

    def __init__(self, file: str | Path, *, most_notes: int = 1000, requires_approval: Approval = False) -> None:
        if most_notes < 1:
            raise ConfigError(f"Memory(most_notes={most_notes}) must be at least 1")
        self._file = Path(file)
        self._most_notes = most_notes
        writing = [tool(each, requires_approval=requires_approval) for each in (self.remember, self.forget)]
        super().__init__(tool(self.recall, read_only=True, access=["private"]), *writing)

    def remember(
        self, note: Annotated[str, "One fact in a sentence that can be understood without this conversation."]
    ) -> ToolResult:
        """Keep a fact for later conversations, such as what the user prefers."""
        text = note.strip()
        if not 1 <= len(text) <= _LONGEST:
            raise ModelRetry(f"a note has 1 to {_LONGEST} characters; this one has {len(text)}")
        with self._open() as notes:
            known = notes.execute("SELECT id FROM notes WHERE note = ?", [text]).fetchone()
            if known is not None:
                return self._result(f"this is note {known[0]} already", known[0])
            (count,) = notes.execute("SELECT count(*) FROM notes").fetchone()
            if count >= self._most_notes:
                raise ToolError(f"there are already {count} notes, the maximum: forget some that no longer matter")
            now = datetime.now(UTC).isoformat(timespec="seconds")
            new = notes.execute("INSERT INTO notes (note, created) VALUES (?, ?)", [text, now]).lastrowid
        return self._result(f"noted as note {new}", new)

    def recall(
        self,
        about: Annotated[str, "Words that the notes may contain; empty for the newest notes."] = "",
    ) -> ToolResult:
        """Look up what was kept in earlier conversations."""
        found = self.notes(about)
        lines = [f"{note.id} ({note.created:%Y-%m-%d}): {note.text}" for note in found]
        return self._result("\n".join(lines) or "no notes were found", [note.text for note in found])

    def forget(self, note_id: Annotated[int, "The number of the note, as recall shows it."]) -> ToolResult:
        """Delete a note that is wrong or no longer matters."""
        with self._open() as notes:
            if notes.execute("DELETE FROM notes WHERE id = ?", [note_id]).rowcount == 0:
                raise ModelRetry(f"there is no note {note_id}; recall shows the numbers")
        return self._result(f"forgot note {note_id}", note_id)

    def notes(self, about: str = "", *, most: int = _MOST_RECALLED) -> Sequence[Note]:
        """Return the notes that match the words best, or the newest ones; for a program or a user interface."""
        query = match_query(about)
        if about.strip() and not query:
            return []
        with self._open() as notes:
            if query:
                found = notes.execute(
                    "SELECT id, notes.note, created FROM words JOIN notes ON id = words.rowid WHERE words MATCH ?"
                    " ORDER BY rank, id DESC LIMIT ?",
                    [query, most],
                )
            else:
                found = notes.execute("SELECT id, note, created FROM notes ORDER BY id DESC LIMIT ?", [most])
            return [Note(number, text, datetime.fromisoformat(created)) for number, text, created in found]

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """Open the file in a transaction, on a new connection each time, because calls run in different threads."""
        try:
            with closing(sqlite3.connect(self._file, isolation_level=None, timeout=10)) as notes:
                notes.execute("BEGIN IMMEDIATE")
                self._prepare(notes)
                yield notes
                notes.execute("COMMIT")
        except sqlite3.Error as error:
            raise ToolError(f"the notes cannot be used: {error}") from error

    def _prepare(self, notes: sqlite3.Connection) -> None:
        (application,) = notes.execute("PRAGMA application_id").fetchone()
        if application == _APPLICATION:
            return
        if application or notes.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise ToolError(f"{self._file.name} is another kind of database; give Memory its own file")
        for statement in _SCHEMA.replace("BEGIN INSERT", "BEGIN\0INSERT").split(";\n"):
            notes.execute(statement.replace("\0", " "))
        notes.execute(f"PRAGMA application_id = {_APPLICATION}")

    def _result(self, content: str, data: object) -> ToolResult:
        return ToolResult(content, data, metadata={"source": f"memory:{self._file.name}"})
