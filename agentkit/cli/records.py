"""Files of extracted objects, as JSON Lines or CSV; a later command can add to them."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from pydantic_core import to_jsonable_python

from agentkit import TypedOutput
from agentkit.errors import ConfigError
from agentkit.extract import Extraction
from agentkit.tools import leaf_schemas, member_schemas

__all__ = ["RecordFile", "json_line"]

_FILE, _OUTPUT, _CONFIDENCE = "file", "output", "confidence"


class _Format(Protocol):
    header: str

    def format(self, file: str, extraction: Extraction[Any]) -> str:
        """Write the record of a file."""
        ...

    def files(self, text: str) -> set[str]:
        """Read which files have a record.

        Raises:
            Exception: They are not such records.
        """
        ...


def json_line(file: str, extraction: Extraction[Any]) -> str:
    """Write the object of a file as a line of JSON: ``{"file": ..., "output": ...}``."""
    record = {_FILE: file, _OUTPUT: to_jsonable_python(extraction.output, fallback=str)}
    confidence = _confidence(extraction)
    record |= {} if confidence is None else {_CONFIDENCE: confidence}
    return json.dumps(record, ensure_ascii=False) + "\n"


class _JsonLines:
    header = ""

    def format(self, file: str, extraction: Extraction[Any]) -> str:
        """Write a line."""
        return json_line(file, extraction)

    def files(self, text: str) -> set[str]:
        """Read the files of the lines."""
        return {str(json.loads(line)[_FILE]) for line in text.splitlines() if line.strip()}


class _Table:
    """A table with a column for the file and one for each member of the output. A list has a row for each item.

    Nested values are JSON. An output that is not an object has one column.
    """

    def __init__(self, output_type: Any) -> None:
        self._members = list(dict.fromkeys(_members(output_type)))
        self._columns = [_FILE if _FILE not in self._members else f"_{_FILE}", *self._members]
        if getattr(output_type, "confidence", False):
            self._columns.append(_CONFIDENCE)
        self.header = _rows([self._columns])

    def format(self, file: str, extraction: Extraction[Any]) -> str:
        """Write the rows."""
        output = to_jsonable_python(extraction.output, fallback=str)
        end = [_confidence(extraction)] if len(self._columns) > len(self._members) + 1 else []
        return _rows([[file, *map(_cell, self._values(each)), *end] for each in _listed(output)])

    def files(self, text: str) -> set[str]:
        """Read the files of the rows."""
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if header != self._columns:
            raise ValueError(f"its columns are {', '.join(header)}, not {', '.join(self._columns)}")
        return {row[0] for row in rows if row}

    def _values(self, item: Any) -> list[Any]:
        if isinstance(item, dict) and cast("dict[str, Any]", item).keys() <= set(self._members):
            return [cast("dict[str, Any]", item).get(name) for name in self._members]
        if item is not None and _OUTPUT not in self._members:
            raise ConfigError(
                f"an output is not an object with only {', '.join(self._members)}: write a .jsonl instead"
            )
        return [item if name == _OUTPUT else None for name in self._members]


def _members(output_type: Any) -> Iterator[str]:
    """Return the members of an output, or of the items of a list; a single name for anything that is not an object."""
    is_function = any(map(inspect.isroutine, _listed(output_type)))  # its return value can be anything
    output = output_type if hasattr(output_type, "value_type") else TypedOutput[Any](output_type)
    value_type = output.value_type
    schema = value_type.schema
    leaves = leaf_schemas(schema, schema)
    if value_type.wrapped:
        leaves = member_schemas(leaves, "value", schema)
    for leaf in leaves:
        for each in member_schemas([leaf], 0, schema) if "items" in leaf else [leaf]:
            if each.get("type") != "null":
                yield from ([] if is_function else each.get("properties")) or [_OUTPUT]


def _listed(value: object) -> list[Any]:
    return [*cast("list[object]", value)] if isinstance(value, list) else [value]


def _rows(rows: Sequence[Sequence[Any]]) -> str:
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\n").writerows(rows)
    return made.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value


def _confidence(extraction: Extraction[Any]) -> float | None:
    return extraction.result.confidence if extraction.result is not None else None


class RecordFile:
    """A file of records, each written at once and as a whole. Existing records stay.

    Args:
        path: A name that ends in ``.jsonl`` or ``.csv``.
        output_type: The type of the objects.

    Attributes:
        files: The files that have a record.

    Raises:
        ConfigError: The file cannot be written, or holds something else.
    """

    def __init__(self, path: str, output_type: Any) -> None:
        if not path.endswith((".csv", ".jsonl")):
            raise ConfigError(f"--out {path!r}: the name must end in .jsonl or .csv, which selects the format")
        self._format: _Format = _Table(output_type) if path.endswith(".csv") else _JsonLines()
        self._path = Path(path)
        try:
            self._write("")  # fail before any work is done if it cannot be written
            text = self._path.read_bytes().decode()
            kept = _whole(text, quotes=path.endswith(".csv"))
            self.files = self._format.files(kept) if kept else set[str]()
            if kept != text:
                os.truncate(path, len(kept.encode()))
            self._write("" if kept else self._format.header)
        except OSError as error:
            raise ConfigError(f"--out {path!r} cannot be written: {error.strerror}") from None
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"--out {path!r} holds something else ({error}): name another file") from None

    def add(self, file: str, extraction: Extraction[Any]) -> None:
        """Add the record of a file."""
        self._write(self._format.format(file, extraction))

    def _write(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)


def _whole(text: str, *, quotes: bool) -> str:
    """Return the text without a partial record at its end, where an earlier command was interrupted."""
    end = text.rfind("\n") + 1
    while quotes and text.count('"', 0, end) % 2:
        end = text.rfind("\n", 0, end - 1) + 1
    return text[:end]
