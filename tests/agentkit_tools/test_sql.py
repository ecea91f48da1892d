"""A database to ask: what only reads cannot write, whatever it says."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from agentkit_tools import Sql
from agentkit_tools.sql_server import check_statement

from agentkit import Agent
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call, lint_tools

WRITES = [
    "INSERT INTO person VALUES (9, 'Eve', 1)",
    "UPDATE person SET name = 'Eve'",
    "DELETE FROM person",
    "DROP TABLE person",
    "CREATE TABLE more (id)",
    "CREATE TEMP TABLE more (id)",
    "CREATE VIRTUAL TABLE more USING fts5 (x)",
    "ALTER TABLE person ADD COLUMN evil",
    "REPLACE INTO person VALUES (1, 'Eve', 1)",
    "WITH x AS (SELECT 1) INSERT INTO person SELECT 9, 'Eve', 1 FROM x",
    "WITH x AS (SELECT 1) DELETE FROM person RETURNING *",
    "EXPLAIN DELETE FROM person",
    "SELECT 1; DELETE FROM person",
    "SELECT 1;\nDROP TABLE person;",
    "/* SELECT */ DELETE FROM person",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT x",
    "VACUUM",
    "VACUUM INTO '/tmp/stolen.db'",
    "REINDEX",
    "ANALYZE",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "ATTACH DATABASE '/tmp/other.db' AS other",
    "DETACH DATABASE main",
    "SELECT load_extension('/tmp/evil.so')",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT readfile('/etc/passwd')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT * FROM pragma_query_only",
    "SELECT * FROM pragma_database_list",
    "",
    "SELECT",
    "nonsense",
    "SELECT * FROM nothing",
    "SELECT '\0'",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    place = tmp_path / "people.db"
    with sqlite3.connect(place) as database:
        database.executescript(
            "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL, boss INTEGER REFERENCES person);"
            "INSERT INTO person VALUES (1, 'Ada', NULL), (2, 'Bob', 1), (3, 'Cy|d\nE', 1);"
            "CREATE VIEW bosses AS SELECT DISTINCT boss FROM person;"
        )
    database.close()
    return place


def contents(file: Path) -> list[Any]:
    with sqlite3.connect(file) as database:
        found = [*database.execute("SELECT * FROM person"), *database.execute("SELECT name, sql FROM sqlite_schema")]
    database.close()
    return found


def test_a_model_could_not_misread_the_tools(file: Path) -> None:
    assert lint_tools([Sql(file, write=True)]) == []


def test_the_tables_are_shown_with_their_columns(file: Path) -> None:
    shown = Sql(file).show_tables()
    assert shown.data == ["person", "bosses"]
    assert "CREATE TABLE person (id INTEGER PRIMARY KEY" in shown.content
    assert shown.metadata == {"source": "sql:people.db"}
    assert Sql(file).show_tables(["bosses"]).content.startswith("CREATE VIEW bosses")
    with pytest.raises(ModelRetry, match="no table 'people'; there are person, bosses"):
        Sql(file).show_tables(["people"])
    assert Sql(file, tables=["person"]).show_tables().data == ["person"]


def test_rows_are_shown_one_a_line(file: Path) -> None:
    found = Sql(file).query_database("SELECT id, name, boss FROM person ORDER BY id")
    assert found.content == "id | name | boss\n1 | Ada | NULL\n2 | Bob | 1\n3 | Cy|d\\nE | 1"
    assert found.data[0] == {"id": 1, "name": "Ada", "boss": None}
    assert Sql(file).query_database("SELECT * FROM person WHERE id > 9;").content == "id | name | boss\n[no rows]"
    assert Sql(file).query_database("SELECT x'00ff' AS bytes").content == "bytes\n<2 bytes>"
    assert (
        Sql(file)
        .query_database(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 3) SELECT sum(i) AS s FROM n"
        )
        .content
        == "s\n6"
    )
    assert "SCAN" in Sql(file).explain_query("SELECT * FROM person WHERE name = 'Ada'").content


def test_long_results_and_long_values_are_truncated(file: Path) -> None:
    asked = Sql(file, most_rows=2, longest_cell=5)
    found = asked.query_database("SELECT printf('%.*c', 9, 'x') AS x FROM person")
    assert found.content.splitlines() == [
        "x",
        "xxxxx... (9 characters)",
        "xxxxx... (9 characters)",
        "[only the first 2 rows are shown; use LIMIT and OFFSET, or aggregate]",
    ]


@pytest.mark.parametrize("statement", WRITES)
def test_nothing_that_is_read_writes(file: Path, statement: str) -> None:
    before, files = contents(file), sorted(path.name for path in file.parent.iterdir())
    for asked in (Sql(file), Sql(file, write=True)):
        with pytest.raises(ToolError) as caught:
            asked.query_database(statement)
        assert str(caught.value)
    assert contents(file) == before
    assert sorted(path.name for path in file.parent.iterdir()) == files


@pytest.mark.parametrize(
    "statement",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        f"SELECT count(*) FROM {', '.join(f'person p{number}' for number in range(17))}",
    ],
)
def test_endless_statements_are_stopped(file: Path, statement: str) -> None:
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"longer than 0\.2 seconds"):
        Sql(file, timeout=0.2).query_database(statement)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "value", ["zeroblob(1000000000)", "replace(hex(zeroblob(4000000)), '0', 'xxxx')", "hex(zeroblob(9000000))"]
)
def test_values_that_would_fill_the_memory_are_refused(file: Path, value: str) -> None:
    with pytest.raises(ToolError, match="too big"):
        Sql(file).query_database(f"SELECT length({value})")


def test_writing_is_a_tool_of_its_own_that_waits(file: Path) -> None:
    assert "change_database" not in Sql(file)
    asked = Sql(file, write=True)
    assert asked["change_database"].requires_approval is True
    assert asked.change_database("UPDATE person SET boss = 2 WHERE boss = 1").content == "done; 2 rows changed"
    assert asked.change_database("INSERT INTO person VALUES (4, 'Flo', 2) RETURNING id").content == "id\n4"
    assert asked.change_database("CREATE TABLE more (id)").content.startswith("done")
    assert asked.query_database("SELECT count(*) AS n FROM person WHERE boss = 2").data == [{"n": 3}]


@pytest.mark.parametrize(
    "statement",
    [
        "VACUUM INTO '{folder}/stolen.db'",
        "ATTACH DATABASE '{folder}/other.db' AS other",
        "PRAGMA writable_schema = ON",
        "SELECT load_extension('evil')",
        "DELETE FROM person; DROP TABLE person",
    ],
)
def test_even_what_may_write_reaches_no_other_file(file: Path, statement: str) -> None:
    before = contents(file)
    with pytest.raises(ToolError):
        Sql(file, write=True).change_database(statement.format(folder=file.parent))
    assert contents(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["people.db"]


def test_a_file_name_cannot_change_how_the_database_is_opened(tmp_path: Path, file: Path) -> None:
    odd = tmp_path / "x?mode=rwc&y.db"
    odd.write_bytes(file.read_bytes())
    with pytest.raises(ToolError):
        Sql(odd).query_database("DELETE FROM person")
    assert Sql(odd).query_database("SELECT count(*) AS n FROM person").data == [{"n": 3}]


def test_what_cannot_be_opened_is_refused(tmp_path: Path, file: Path) -> None:
    (tmp_path / "text.db").write_text("no database" * 100)
    refused: list[tuple[str | Path, str]] = [
        (tmp_path / "missing.db", "there is no database"),
        (tmp_path / "text.db", "cannot be opened"),
        ("mssql+pyodbc://host/db", "cannot be used|not one of"),
        ("nonsense://host/db", "cannot be used"),
    ]
    for database, complaint in refused:
        with pytest.raises(ConfigError, match=complaint):
            Sql(database)
    with pytest.raises(ConfigError, match="must be above 0"):
        Sql(file, timeout=0)
    assert Sql(f"sqlite:///{file}").show_tables().data == ["person", "bosses"]


@pytest.mark.anyio
async def test_in_a_run_asking_is_free_and_changing_waits(file: Path) -> None:
    reading = call("query_database", query="SELECT name FROM person WHERE id = 1")
    model = ScriptedModel([[reading, call("change_database", statement="DELETE FROM person")]])
    paused = await Agent(model, tools=[Sql(file, write=True)]).run("Clean up.")
    assert [each.name for each in paused.pending] == ["change_database"]
    assert len(contents(file)) == 5


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM person",
        "COPY person TO PROGRAM 'true'",
        "EXPLAIN ANALYZE DELETE FROM person",
        "SELECT 1; DELETE FROM person",
        "COMMIT",
        "SET TRANSACTION READ WRITE",
        "/* SELECT */ DROP TABLE person",
        "-- SELECT\nDROP TABLE person",
        "selection",
        "SELECT * FROM person INTO OUTFILE '/tmp/x'",
        "SELECT 1 into\ndumpfile '/tmp/x'",
        "",
    ],
)
def test_of_a_server_only_queries_are_asked(statement: str) -> None:
    with pytest.raises(ToolError):
        check_statement(statement, write=False)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1;",
        " -- a comment\n select 1",
        "/* a */ (SELECT 1) UNION (SELECT 2)",
        "with x as (select 1) select * from x",
    ],
)
def test_queries_pass(statement: str) -> None:
    check_statement(statement, write=False)
    check_statement(f"EXPLAIN {statement}", write=False)


if "AGENTKIT_SQL_URL" in os.environ:  # a real server, such as postgresql+psycopg://postgres@127.0.0.1/postgres

    def test_a_server_refuses_to_write_where_only_reading_was_allowed() -> None:
        asked = Sql(os.environ["AGENTKIT_SQL_URL"], write=True, timeout=2)
        asked.change_database("DROP TABLE IF EXISTS agentkit_person")
        asked.change_database("CREATE TABLE agentkit_person (id int PRIMARY KEY, name text)")
        done = asked.change_database("INSERT INTO agentkit_person VALUES (1, '50% :x')")
        assert done.content == "done; 1 rows changed"
        assert "agentkit_person (id INTEGER NOT NULL PRIMARY KEY" in asked.show_tables(["agentkit_person"]).content
        found = asked.query_database("SELECT name FROM agentkit_person WHERE name LIKE '50%'")
        assert found.data == [{"name": "50% :x"}]
        assert "agentkit_person" in asked.explain_query("SELECT * FROM agentkit_person").content
        for statement in (
            "DELETE FROM agentkit_person",
            "WITH x AS (DELETE FROM agentkit_person RETURNING *) SELECT * FROM x",
            "SELECT * INTO agentkit_more FROM agentkit_person",
            "COPY agentkit_person TO PROGRAM 'true'",
            "SELECT nonsense",
        ):
            with pytest.raises(ToolError):
                asked.query_database(statement)
        with pytest.raises(ToolError, match="timeout"):
            asked.query_database("SELECT pg_sleep(30)")
        assert asked.query_database("SELECT count(*) AS n FROM agentkit_person").data == [{"n": 1}]
        asked.change_database("DROP TABLE agentkit_person")
