"""`Search`: full-text search over local documents, with SQLite's FTS5 and BM25."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from agentkit import tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.tools import ToolResult, Toolset
from agentkit_tools.files import matches_glob, pdf_text
from agentkit_tools.fts import match_query
from agentkit_tools.root import Entry, Root

__all__ = ["Search"]

_PASSAGE = 1_000  # characters after which a passage ends at the next line
_MOST_HITS = 20
_VERSION = 1  # of the index; an index of another version is rebuilt
_SCHEMA = """
CREATE TABLE documents (name TEXT PRIMARY KEY, size INTEGER, modified REAL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, name TEXT, line INTEGER, passage TEXT);
CREATE INDEX by_name ON passages (name);
CREATE VIRTUAL TABLE words USING fts5
    (passage, content='passages', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2');
CREATE TRIGGER added AFTER INSERT ON passages BEGIN
    INSERT INTO words (rowid, passage) VALUES (new.id, new.passage); END;
CREATE TRIGGER gone AFTER DELETE ON passages BEGIN
    INSERT INTO words (words, rowid, passage) VALUES ('delete', old.id, old.passage); END;
"""


class Search(Toolset):
    """Tools to search documents, and to read around a match.

    Before each search, the index is updated for new, changed and deleted files.

    Args:
        documents: A folder, whose text files and PDFs are searched; or strings by name.
        files: A glob of the files to search, such as ``"*.md"``.
        index: A file for the index of a folder, so that it need not be rebuilt; None for memory.
        hidden: Whether names that begin with a dot are searched.
        max_bytes: The largest file that is searched.

    Raises:
        ConfigError: There is no such folder, or the index file is something else.
    """

    def __init__(
        self,
        documents: str | Path | Mapping[str, str],
        *,
        files: str = "*",
        index: str | Path | None = None,
        hidden: bool = False,
        max_bytes: int = 2 * 1024 * 1024,
    ) -> None:
        self._texts = dict(documents) if isinstance(documents, Mapping) else None
        self._root = None if isinstance(documents, Mapping) else Root(documents, hidden=hidden)
        self._matches, self._max_bytes = matches_glob(files), max_bytes
        self._lock = threading.Lock()  # calls run in threads, and share the one connection
        try:
            self._index = sqlite3.connect(
                index or ":memory:", check_same_thread=False, isolation_level=None, timeout=10
            )
            self._close = weakref.finalize(self, self._index.close)
            self._prepare()
        except (sqlite3.Error, ToolError) as error:
            raise ConfigError(f"Search(index={str(index)!r}): {error}") from error
        reading = (self.search_documents, self.read_document)
        super().__init__(*(tool(each, read_only=True, access=["private"]) for each in reading))

    def search_documents(
        self,
        query: Annotated[str, 'Words that matter, and "phrases in quotes"; any of them may match.'],
        limit: Annotated[int, "How many passages to get."] = 8,
    ) -> ToolResult:
        """Search the documents. Gives the best passages, each with its document and line."""
        match = match_query(query)
        if not match:
            raise ModelRetry("the query has no words to search for")
        with self._transaction():
            self._update()
            found = self._index.execute(
                "SELECT name, line, snippet(words, 0, '**', '**', ' ... ', 48) FROM words"
                " JOIN passages ON passages.id = words.rowid WHERE words MATCH ? ORDER BY rank, name, line LIMIT ?",
                [match, max(1, min(limit, _MOST_HITS))],
            ).fetchall()
        shown = "\n\n".join(f"{name}, line {line}:\n{snippet.strip()}" for name, line, snippet in found)
        names = list(dict.fromkeys(name for name, _, _ in found))
        source = ", ".join(f"{self._kind}:{name}" for name in names) or self._kind
        return ToolResult(shown or "no document has any of these words", names, metadata={"source": source})

    def read_document(
        self,
        document: Annotated[str, "The document, as the search names it."],
        line: Annotated[int, "The line in the middle of what to read."] = 1,
        lines: Annotated[int, "How many lines to read."] = 80,
    ) -> ToolResult:
        """Read a part of a document, around a line that was found."""
        if lines < 1 or line < 1:
            raise ModelRetry("line and lines are counted from 1")
        everything = self._text(document).splitlines()
        start = max(0, min(line - 1 - lines // 2, len(everything) - lines))
        shown = everything[start : start + lines]
        note = f"[lines {start + 1} to {start + len(shown)} of {len(everything)} of {document}]"
        return ToolResult("\n".join([*shown, note]), shown, metadata={"source": f"{self._kind}:{document}"})

    @property
    def _kind(self) -> str:
        return "file" if self._root else "document"

    def _text(self, name: str) -> str:
        if self._root is None:
            texts = self._texts or {}
            if name not in texts:
                raise ModelRetry(f"there is no document {name!r}; use a name that the search returned")
            return texts[name]
        name = self._root.normalize(name)
        if not self._matches(name):
            raise ModelRetry(f"{name!r} is not one of the documents; use a name that the search returned")
        data = self._root.read(name, max_bytes=self._max_bytes)
        return pdf_text(name, data) if data.startswith(b"%PDF-") else data.decode(errors="replace")

    def _prepare(self) -> None:
        with self._transaction():
            (version,) = self._index.execute("PRAGMA user_version").fetchone()
            tables = {name for (name,) in self._index.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if tables and not {"documents", "passages", "words"} <= tables:
                raise ConfigError("Search(index=...): the file is another kind of database")
            if tables and version != _VERSION:
                raise ConfigError("Search(index=...): the index is of another version of agentkit; delete the file")
            if not tables:
                for statement in _SCHEMA.replace("BEGIN\n", "BEGIN ").split(";\n"):
                    self._index.execute(statement)
                self._index.execute(f"PRAGMA user_version = {_VERSION}")

    def _update(self) -> None:
        """Index what is new or changed since the last search, and remove what is gone."""
        known = {name: (size, modified) for name, size, modified in self._index.execute("SELECT * FROM documents")}
        current = {entry.path: (entry.size, entry.modified) for entry in self._entries()}
        for name in known.keys() | current.keys():
            if known.get(name) == current.get(name):
                continue
            self._index.execute("DELETE FROM passages WHERE name = ?", [name])
            self._index.execute("DELETE FROM documents WHERE name = ?", [name])
            if name in current:
                try:
                    text = self._text(name)
                except ToolError:
                    text = ""  # gone or unreadable; it is tried again when it changes
                self._index.execute("INSERT INTO documents VALUES (?, ?, ?)", [name, *current[name]])
                self._index.executemany(
                    "INSERT INTO passages (name, line, passage) VALUES (?, ?, ?)",
                    ((name, line, passage) for line, passage in _passages(text)),
                )

    def _entries(self) -> Iterator[Entry]:
        if self._root is None:
            texts = self._texts or {}
            yield from (Entry(name, is_dir=False, size=len(text), modified=0) for name, text in texts.items())
            return
        for entry in self._root.walk():
            if not entry.is_dir and entry.size <= self._max_bytes and self._matches(entry.path):
                yield entry

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._lock:
            try:
                self._index.execute("BEGIN IMMEDIATE")
                yield
            except BaseException as error:
                if self._index.in_transaction:
                    self._index.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise ToolError(f"the index cannot be used: {error}") from error
                raise
            self._index.execute("COMMIT")


def _passages(text: str) -> Iterator[tuple[int, str]]:
    """Yield the passages of a text file, each with its first line number; none for a binary file."""
    if "\0" in text[:8192]:
        return
    start, lines, size = 1, list[str](), 0
    for number, line in enumerate(text.splitlines(), start=1):
        if size >= _PASSAGE or (size >= _PASSAGE // 2 and (not line.strip() or line.startswith("#"))):
            yield start, "\n".join(lines)
            start, lines, size = number, [], 0
        lines.append(line)
        size += len(line) + 1
    if any(line.strip() for line in lines):
        yield start, "\n".join(lines)
