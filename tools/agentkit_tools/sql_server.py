"""Server databases through SQLAlchemy: PostgreSQL, MySQL and MariaDB."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from agentkit.errors import ConfigError, ToolError
from agentkit_tools.sql import Rows

try:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
except ModuleNotFoundError as error:
    raise ConfigError("Sql: databases other than SQLite need the extra agentkit[sql], and a driver") from error

__all__ = ["ServerDatabase", "check_statement"]

_BEGIN = {  # make a transaction read-only, and bound its statements in milliseconds
    "postgresql": (
        "SET TRANSACTION READ ONLY",
        ["SET LOCAL statement_timeout = {milliseconds}", "SET LOCAL idle_in_transaction_session_timeout = 60000"],
    ),
    "mysql": ("SET TRANSACTION READ ONLY", ["SET SESSION max_execution_time = {milliseconds}"]),
    "mariadb": ("SET TRANSACTION READ ONLY", ["SET SESSION max_statement_time = {seconds}"]),
}


class ServerDatabase:
    """A database server.

    Each query runs in a read-only transaction that is rolled back afterwards; the server refuses to write in it. That
    does not bound server functions that write elsewhere: use an account with minimal permissions.

    Args:
        url: A SQLAlchemy URL.
        timeout: Seconds for a statement.

    Raises:
        ConfigError: The URL or its driver cannot be used, or such databases have no read-only transactions.
    """

    explain = "EXPLAIN"

    def __init__(self, url: str, timeout: float) -> None:
        try:
            self._engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise ConfigError(f"Sql: the database's URL cannot be used: {error}") from None
        self._kind, self._timeout = self._engine.dialect.name, timeout
        if self._kind not in _BEGIN:
            raise ConfigError(
                f"Sql: {self._kind} is not one of {', '.join(_BEGIN)} and SQLite, which can be read safely"
            )
        self.source = f"sql:{self._engine.url.host or 'local'}/{self._engine.url.database or ''}"

    def schema(self) -> Sequence[tuple[str, str]]:
        """The tables and views, each with its columns."""
        try:
            look = sqlalchemy.inspect(self._engine)
            names = [*look.get_table_names(), *look.get_view_names()]
            return [(name, f"{name} ({self._columns(look, name)})") for name in names]
        except SQLAlchemyError as error:
            raise ToolError(f"the database says: {_said(error)}") from None

    def _columns(self, look: sqlalchemy.Inspector, name: str) -> str:
        keys = look.get_pk_constraint(name)["constrained_columns"]
        columns = [
            f"{each['name']} {each['type']}{'' if each.get('nullable', True) else ' NOT NULL'}"
            + (" PRIMARY KEY" if [each["name"]] == keys else "")
            for each in look.get_columns(name)
        ]
        columns += [
            f"FOREIGN KEY ({', '.join(each['constrained_columns'])}) REFERENCES {each['referred_table']}"
            f" ({', '.join(each['referred_columns'])})"
            for each in look.get_foreign_keys(name)
        ]
        return ", ".join(columns)

    def run(self, statement: str, *, write: bool, most: int) -> Rows:
        """Run one statement.

        Raises:
            ToolError: The database refuses it.
        """
        check_statement(statement, write=write)
        try:
            with self._transaction(write=write) as connection:
                # The driver gets the statement unchanged, without parameters, so that '%' and ':name' have no meaning.
                result = connection.exec_driver_sql(statement.replace("%", "%%"), ())
                if not result.returns_rows:
                    return Rows([], [], result.rowcount)
                rows = [tuple(row) for row in result.fetchmany(most + 1)]
                return Rows(list(result.keys()), rows)
        except SQLAlchemyError as error:
            raise ToolError(f"the database says: {_said(error)}") from None

    @contextmanager
    def _transaction(self, *, write: bool) -> Generator[sqlalchemy.Connection]:
        read_only, limits = _BEGIN[self._kind]
        with self._engine.connect() as connection:
            if not write:
                connection.exec_driver_sql(read_only)
            for each in limits:
                milliseconds = int(self._timeout * 1000)
                connection.exec_driver_sql(each.format(milliseconds=milliseconds, seconds=self._timeout))
            yield connection
            if write:
                connection.commit()
            else:
                connection.rollback()


# A read-only transaction allows some statements that reach outside the database, such as COPY ... TO PROGRAM.
_COMMENTS = r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*"
_QUERY = re.compile(rf"{_COMMENTS}(?:explain\s)?{_COMMENTS}(?:select|with|values|table)\b", re.IGNORECASE | re.DOTALL)
_TO_FILE = re.compile(r"\binto\b.*\b(?:outfile|dumpfile)\b", re.IGNORECASE | re.DOTALL)


def check_statement(statement: str, *, write: bool) -> None:
    """Refuse dangerous statements that a read-only transaction allows.

    Raises:
        ToolError: It is more than one statement, or is not a query where only queries are allowed.
    """
    if ";" in statement.strip().rstrip(";"):  # the first could end the transaction; one in quotes is refused as well
        raise ToolError("only one statement can be run at a time, without a ';' in it")
    if not write and not _QUERY.match(statement):
        raise ToolError("only a query is allowed here, that begins with SELECT, WITH, VALUES or TABLE")
    if not write and _TO_FILE.search(statement):
        raise ToolError("a query cannot write its result to a file of the server")


def _said(error: SQLAlchemyError) -> str:
    text = str(error.orig) if isinstance(error, DBAPIError) and error.orig else str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__
