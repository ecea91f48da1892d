"""`Sql`: query a database, and with ``write=True`` change it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote

from agentkit import Tool, tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.tools import Access, Approval, ToolResult, Toolset

__all__ = ["Sql"]

_MOST_TABLES = 200
_LARGEST_VALUE = 10_000_000  # bytes of a value that SQLite creates
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_NEVER = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA}
_FUNCTIONS_OUT = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"}


class Rows:
    """The result of a statement.

    Attributes:
        columns: The names of the columns; empty for a statement that returns no rows.
        rows: As many as requested, and one more if there are more.
        changed: How many rows a statement changed; -1 if that is not known.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], changed: int = -1) -> None:
        self.columns, self.rows, self.changed = columns, rows, changed


class _Database(Protocol):
    """A kind of database."""

    source: str

    def run(self, statement: str, *, write: bool, most: int) -> Rows: ...
    def schema(self) -> Sequence[tuple[str, str]]:
        """The tables and views, each with its definition."""
        ...

    explain: str  # the prefix that explains a statement


class Sql(Toolset):
    """Tools to see the tables of a database, query it, explain a query, and with ``write=True`` to change it.

    Queries run on a connection that cannot write, as enforced by the database itself.

    Args:
        database: A SQLite file, or a URL of SQLAlchemy for PostgreSQL, MySQL or MariaDB (extra ``sql``, and a driver).
        write: Whether there is a tool that changes data.
        tables: The tables and views to describe; None for all. This is not a protection: use the database's
            permissions.
        timeout: Seconds that a statement may take.
        most_rows: Most rows of a result.
        longest_cell: Characters shown of a value.
        requires_approval: For the tool that changes data; see `ToolOptions`.

    Raises:
        ConfigError: The database cannot be opened, or not safely.
    """

    def __init__(
        self,
        database: str | Path,
        *,
        write: bool = False,
        tables: Sequence[str] | None = None,
        timeout: float = 10,
        most_rows: int = 100,
        longest_cell: int = 500,
        requires_approval: Approval = True,
    ) -> None:
        if timeout <= 0 or most_rows < 1 or longest_cell < 1:
            raise ConfigError("Sql: timeout, most_rows and longest_cell must be above 0")
        self._database = _open(database, timeout)
        self._tables, self._most_rows, self._longest_cell = tables, most_rows, longest_cell
        reading = (self.show_tables, self.query_database, self.explain_query)
        access: list[Access] = ["private"]
        made: list[Tool] = [tool(each, read_only=True, timeout=timeout + 10, access=access) for each in reading]
        if write:
            made.append(
                tool(self.change_database, requires_approval=requires_approval, timeout=timeout + 10, access=access)
            )
        super().__init__(*made)

    def show_tables(
        self, names: Annotated[list[str] | None, "The tables to show; leave it out for all of them."] = None
    ) -> ToolResult:
        """Show the tables and views of the database with their columns. Do this before you write a query."""
        known = [(name, text) for name, text in self._database.schema() if self._tables is None or name in self._tables]
        missing = [name for name in names or [] if name not in [each for each, _ in known]]
        if missing:
            raise ModelRetry(f"there is no table {missing[0]!r}; there are {', '.join(name for name, _ in known)}")
        shown = [text for name, text in known if not names or name in names]
        more = f"\n[{len(shown) - _MOST_TABLES} more]" if len(shown) > _MOST_TABLES else ""
        return self._result(
            "\n".join(shown[:_MOST_TABLES]) + more or "there are no tables", [name for name, _ in known]
        )

    def query_database(self, query: Annotated[str, "One SELECT statement."]) -> ToolResult:
        """Run a query that reads. Ask for the columns and rows that you need: long results are truncated."""
        return self._table(self._database.run(query, write=False, most=self._most_rows))

    def explain_query(self, query: Annotated[str, "One SELECT statement."]) -> ToolResult:
        """Show how the database would run a query, to find out why it is slow. The query does not run."""
        return self._table(self._database.run(f"{self._database.explain} {query}", write=False, most=self._most_rows))

    def change_database(self, statement: Annotated[str, "One statement that changes data or tables."]) -> ToolResult:
        """Run one INSERT, UPDATE, DELETE, CREATE, ALTER or DROP statement."""
        done = self._database.run(statement, write=True, most=self._most_rows)
        if done.columns:
            return self._table(done)
        return self._result(f"done; {done.changed} rows changed" if done.changed >= 0 else "done", done.changed)

    def _table(self, found: Rows) -> ToolResult:
        rows = found.rows[: self._most_rows]
        lines = [" | ".join(found.columns), *(" | ".join(map(self._cell, row)) for row in rows)]
        if len(found.rows) > self._most_rows:
            lines.append(f"[only the first {self._most_rows} rows are shown; use LIMIT and OFFSET, or aggregate]")
        elif not rows:
            lines.append("[no rows]")
        return self._result("\n".join(lines), [dict(zip(found.columns, row, strict=True)) for row in rows])

    def _cell(self, value: object) -> str:
        if value is None:
            return "NULL"
        text = f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
        text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        if len(text) <= self._longest_cell:
            return text
        return f"{text[: self._longest_cell]}... ({len(text):,} characters)"

    def _result(self, content: str, data: object) -> ToolResult:
        return ToolResult(content, data, metadata={"source": self._database.source})


def _open(database: str | Path, timeout: float) -> _Database:
    text = str(database)
    if "://" not in text:
        return _SQLite(Path(database), timeout)
    if text.startswith("sqlite:///"):
        return _SQLite(Path(text.removeprefix("sqlite:///")), timeout)
    from agentkit_tools.sql_server import ServerDatabase  # noqa: PLC0415 - an extra: SQLite needs none

    return ServerDatabase(text, timeout)


class _SQLite:
    """A SQLite file. Each statement gets its own connection, which can do only what that statement may."""

    explain = "EXPLAIN QUERY PLAN"

    def __init__(self, file: Path, timeout: float) -> None:
        if not file.is_file():
            raise ConfigError(f"Sql: there is no database {str(file)!r}")
        self._file, self._timeout = file.resolve(), timeout
        self.source = f"sql:{file.name}"
        try:
            self.schema()
        except ToolError as error:
            raise ConfigError(f"Sql: {str(file)!r} cannot be opened: {error}") from None

    def schema(self) -> Sequence[tuple[str, str]]:
        statement = "SELECT name, sql FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        found = self.run(statement, write=False, most=10_000)
        return [(str(name), f"{sql};") for name, sql in found.rows if sql]

    def run(self, statement: str, *, write: bool, most: int) -> Rows:
        deadline = time.monotonic() + self._timeout
        try:
            with self._connection(write=write) as connection:
                connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
                connection.set_authorizer(_authorizer(write=write))
                cursor = connection.execute(statement)
                rows = cursor.fetchmany(most + 1)
                columns = [each[0] for each in cursor.description or []]
                if not write and not columns:
                    raise ToolError("only SELECT is allowed here")
                changed = cursor.rowcount
                if write:
                    cursor.fetchall()  # RETURNING both reads and changes
                    connection.execute("COMMIT") if connection.in_transaction else None
                return Rows(columns, rows, changed)
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":
                raise ToolError(f"the statement took longer than {self._timeout:g} seconds and was stopped") from None
            raise ToolError(f"the database says: {error}") from None
        except sqlite3.DatabaseError as error:
            if str(error) == "not authorized" or "prohibited" in str(error):
                what = "this statement is not allowed" if write else "only SELECT is allowed here"
                raise ToolError(f"{what} ({error})") from None
            raise ToolError(f"the database says: {error}") from None
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise ToolError(f"the database says: {error}") from None  # two statements, or a NUL in one

    @contextmanager
    def _connection(self, *, write: bool) -> Generator[sqlite3.Connection]:
        uri = f"file:{quote(str(self._file))}?mode={'rw' if write else 'ro'}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=self._timeout)) as connection:
            if not write:
                connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGEST_VALUE)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            yield connection


def _authorizer(*, write: bool) -> Callable[..., int]:
    def allow(action: int, *names: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            allowed = (names[1] or "").lower() not in _FUNCTIONS_OUT
        else:
            allowed = action not in _NEVER if write else action in _READING
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return allow
