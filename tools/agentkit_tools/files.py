"""`Files`: read and, if allowed, change the files of one folder."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

from agentkit import Tool, tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.messages import ImagePart
from agentkit.tools import Approval, ToolResult, Toolset
from agentkit_tools.regex import check_pattern, matching_lines
from agentkit_tools.root import Entry, Root

__all__ = ["Edit", "Files", "matches_glob", "pdf_text"]

_TRASH = ".trash"
_MOST_LISTED = 500
_MOST_HITS = 200
_LONGEST_LINE = 400  # characters shown of a matching line
_MOST_DIFF = 8_000  # characters shown of a diff
_LARGEST_DIFF = 400_000  # characters compared for a diff
_LARGEST_BATCH = 4_000_000  # characters that one process matches
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_Line: TypeAlias = tuple[str, int, str]  # the path, the line number, and the line


class Edit(TypedDict):
    """One replacement in a file."""

    old: Annotated[str, "The exact text to replace, with enough lines around it to occur only once."]
    new: Annotated[str, "The text to put in its place; empty to delete the old text."]


class Files(Toolset):
    """Tools for the files of one folder: list, find, read and search, and with ``write=True`` change them.

    No name, link or race leads outside the folder, and names that begin with a dot are hidden.

    Args:
        root: The folder.
        write: Whether there are tools that write, edit, move and delete. Deleted files go to ``.trash`` in the folder.
        hidden: Whether names that begin with a dot, such as ``.env`` and ``.git``, may be used.
        max_bytes: The largest file that is read or written.
        requires_approval: Of the tools that change something; see `ToolOptions`.

    Raises:
        ConfigError: There is no such folder, or a limit is invalid.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        write: bool = False,
        hidden: bool = False,
        max_bytes: int = 10 * 1024 * 1024,
        requires_approval: Approval = True,
    ) -> None:
        if max_bytes < 1:
            raise ConfigError(f"Files(max_bytes={max_bytes}): a file must be allowed at least one byte")
        self._root = Root(root, hidden=hidden)
        self._max_bytes = max_bytes
        tools: list[Tool] = [
            tool(each, read_only=True, access=["private"])
            for each in (self.list_files, self.find_files, self.read_file, self.search_files)
        ]
        if write:
            shown = requires_approval is True  # the person who decides sees the change as a diff
            writing: Approval = self._shown_writing if shown else requires_approval
            editing: Approval = self._shown_editing if shown else requires_approval
            tools += [
                tool(self.write_file, requires_approval=writing),
                tool(self.edit_file, requires_approval=editing),
                tool(self.move_file, requires_approval=requires_approval),
                tool(self.delete_file, requires_approval=requires_approval),
            ]
        super().__init__(*tools)

    def _shown_writing(self, _: object, arguments: dict[str, Any]) -> str:
        """Return what a call of `write_file` would change."""
        path = arguments["path"]
        try:
            before = self._text(path, self._root.read(path, max_bytes=self._max_bytes))
        except (ToolError, ConfigError):
            before = ""  # no such file, or no text in it
        return f"write_file requires approval of every call\n{_diff(path, before, arguments['content'])}"

    def _shown_editing(self, _: object, arguments: dict[str, Any]) -> str:
        """Return what a call of `edit_file` would change."""
        path = arguments["path"]
        try:
            before = after = self._text(path, self._root.read(path, max_bytes=self._max_bytes))
            for edit in arguments["edits"]:
                after = _edited(after, edit, "this edit")
        except (ToolError, ConfigError) as error:
            return f"edit_file requires approval of every call\n{error}"
        return f"edit_file requires approval of every call\n{_diff(path, before, after)}"

    def list_files(
        self,
        path: Annotated[str, "The directory, relative to the folder; '.' for the folder itself."] = ".",
        depth: Annotated[int, "How many levels of directories to show."] = 1,
    ) -> ToolResult:
        """List the files and directories of a directory, with their sizes."""
        if depth < 1:
            raise ModelRetry("depth must be at least 1")
        entries = self._root.walk(path, depth=depth)
        return self._listed(path, [entry for entry, _ in zip(entries, range(_MOST_LISTED + 1), strict=False)])

    def find_files(
        self,
        pattern: Annotated[str, "A glob, such as '*.md', 'src/**/*.py' or '**/test_*'."],
        path: Annotated[str, "The directory to look in, relative to the folder."] = ".",
    ) -> ToolResult:
        """Find files by name. A pattern without a slash matches names in all directories."""
        matches = matches_glob(pattern)
        start = self._root.normalize(path)
        found: list[Entry] = []
        for entry in self._root.walk(path):
            below = entry.path if start == "." else entry.path[len(start) + 1 :]
            if matches(below) and not entry.is_dir:
                found.append(entry)
            if len(found) > _MOST_LISTED:
                break
        return self._listed(path, found)

    def _listed(self, path: str, entries: Sequence[Entry]) -> ToolResult:
        lines = [
            f"{entry.path}/" if entry.is_dir else f"{entry.path}  {entry.size:,} bytes, {_day(entry.modified)}"
            for entry in entries[:_MOST_LISTED]
        ]
        if len(entries) > _MOST_LISTED:
            lines.append(f"[only the first {_MOST_LISTED} are shown; look in one of the directories, or use a pattern]")
        return self._result(path, "\n".join(lines) or "(nothing found)", [entry.path for entry in entries])

    def read_file(
        self,
        path: Annotated[str, "The file, relative to the folder."],
        start_line: Annotated[int, "The first line to read, counted from 1."] = 1,
        lines: Annotated[int, "How many lines to read."] = 1000,
    ) -> ToolResult:
        """Read a file: text by lines, an image as an image, a PDF as its text."""
        if start_line < 1 or lines < 1:
            raise ModelRetry("start_line and lines are counted from 1")
        data = self._root.read(path, max_bytes=self._max_bytes)
        if data.startswith(_IMAGES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
            return self._result(path, f"[the image {path}]", files=[ImagePart.from_bytes(data)])
        text = pdf_text(path, data) if data.startswith(b"%PDF-") else self._text(path, data)
        all_lines = text.splitlines(keepends=True)
        if start_line > max(1, len(all_lines)):
            raise ModelRetry(f"{path!r} has {len(all_lines)} lines")
        end = min(len(all_lines), start_line - 1 + lines)
        shown = "".join(all_lines[start_line - 1 : end])
        if (start_line, end) != (1, len(all_lines)):
            more = f"; read on with start_line={end + 1}" if end < len(all_lines) else ""
            shown += (
                f"{'' if shown.endswith(chr(10)) else chr(10)}[lines {start_line} to {end} of {len(all_lines)}{more}]"
            )
        return self._result(path, shown or "(the file is empty)", shown)

    def search_files(
        self,
        text: Annotated[str, "The text to look for, exactly as it is written unless `regex` is true."],
        files: Annotated[str, "A glob of the files to look in, such as '*.py'."] = "*",
        case_sensitive: Annotated[bool, "Whether uppercase and lowercase letters differ."] = False,
        regex: Annotated[bool, "Whether `text` is a regular expression, without look-around."] = False,
    ) -> ToolResult:
        """Search the text of all files for a string and get the matching lines, as path:line: text."""
        if not text or "\n" in text:
            raise ModelRetry("text must be part of one line")
        found = self._matching(text, files, case_sensitive) if regex else self._containing(text, files, case_sensitive)
        hits = [
            f"{path}:{number}: {line.strip()[:_LONGEST_LINE]}"
            for (path, number, line), _ in zip(found, range(_MOST_HITS + 1), strict=False)
        ]
        if len(hits) > _MOST_HITS:
            hits[-1] = f"[only the first {_MOST_HITS} lines are shown; search for a longer text, or in fewer files]"
        verb = "matches" if regex else "contains"
        return self._result(".", "\n".join(hits) or f"no file {verb} {text!r}", hits)

    def _containing(self, text: str, files: str, case_sensitive: bool) -> Iterator[_Line]:
        for line in self._lines(files):
            if text in line[2] if case_sensitive else text.lower() in line[2].lower():
                yield line

    def _matching(self, pattern: str, files: str, case_sensitive: bool) -> Iterator[_Line]:
        check_pattern(pattern)
        for batch in self._batches(files):
            for place in matching_lines(pattern, [line for _, _, line in batch], case_sensitive=case_sensitive):
                yield batch[place]

    def _batches(self, files: str) -> Iterator[list[_Line]]:
        batch: list[_Line] = []
        size = 0
        for line in self._lines(files):
            batch.append(line)
            size += len(line[2])
            if size > _LARGEST_BATCH:
                yield batch
                batch, size = [], 0
        yield batch

    def _lines(self, files: str) -> Iterator[_Line]:
        matches = matches_glob(files)
        for entry in self._root.walk():
            if entry.is_dir or entry.size > self._max_bytes or not matches(entry.path):
                continue
            try:
                data = self._root.read(entry.path, max_bytes=self._max_bytes)
            except ToolError:
                continue  # gone or unreadable: it was found by the search, not requested by name
            if b"\0" not in data[:8192]:
                for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
                    yield entry.path, number, line

    def write_file(
        self,
        path: Annotated[str, "The file, relative to the folder. Missing directories are made."],
        content: Annotated[str, "The whole new content."],
    ) -> ToolResult:
        """Create a file, or replace all of its content. To change a part of a file, edit it instead."""
        self._write(path, content)
        return self._result(path, f"wrote {len(content.encode()):,} bytes to {path}")

    def edit_file(
        self,
        path: Annotated[str, "The file, relative to the folder."],
        edits: Annotated[list[Edit], "The replacements, made one after the other."],
    ) -> ToolResult:
        """Replace parts of a text file. All edits are made, or none if one of them does not fit."""
        before = self._text(path, self._root.read(path, max_bytes=self._max_bytes))
        after = before
        for place, edit in enumerate(edits, start=1):
            after = _edited(after, edit, f"edit {place} of {len(edits)}")
        self._write(path, after)
        return self._result(path, _diff(path, before, after))

    def move_file(
        self,
        path: Annotated[str, "The file or directory, relative to the folder."],
        new_path: Annotated[str, "Its new path, relative to the folder; nothing may be there yet."],
    ) -> ToolResult:
        """Move or rename a file or directory."""
        self._root.move(path, new_path)
        return self._result(new_path, f"moved {path} to {new_path}")

    def delete_file(self, path: Annotated[str, "The file or directory, relative to the folder."]) -> ToolResult:
        """Delete a file or directory. It goes to a trash that only the user can empty."""
        return self._result(path, f"deleted {path}", self._root.trash(path, _TRASH))

    def _text(self, path: str, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ToolError(f"{path!r} is not a text file: byte {error.start} is not UTF-8") from None

    def _write(self, path: str, content: str) -> None:
        data = content.encode()
        if len(data) > self._max_bytes:
            raise ModelRetry(f"the content has {len(data):,} bytes; at most {self._max_bytes:,} may be written")
        self._root.write(path, data)

    def _result(self, path: str, content: str, data: Any = None, files: Sequence[ImagePart] = ()) -> ToolResult:
        source = {"source": f"file:{self._root.normalize(path)}"}
        return ToolResult(content, content if data is None else data, files=files, metadata=source)


def _day(modified: float) -> str:
    return datetime.fromtimestamp(modified, UTC).date().isoformat()


def matches_glob(pattern: str) -> Callable[[str], bool]:
    """Build a test for paths: ``*`` within a name, ``**`` across directories; without a slash, by the last name."""
    parts = pattern.removeprefix("./").split("/")
    return functools.partial(_match_parts, ["**", *parts] if len(parts) == 1 else parts)


def _match_parts(parts: Sequence[str], path: str) -> bool:
    """Match with one table row per part, so that no pattern takes more than parts times names steps."""
    names = path.split("/")
    reached = [True, *[False] * len(names)]  # whether the parts so far match this many names
    for part in parts:
        if part == "**":
            for place in range(1, len(reached)):
                reached[place] = reached[place] or reached[place - 1]
        else:
            reached = [
                False,
                *(was and fnmatch.fnmatchcase(name, part) for was, name in zip(reached, names, strict=False)),
            ]
    return reached[-1]


def _edited(text: str, edit: Edit, which: str) -> str:
    old, new = edit["old"], edit["new"]
    if "\r\n" in text and "\r\n" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    count = text.count(old) if old else 0
    if count == 1:
        return text.replace(old, new)
    if not old:
        raise ModelRetry(f"{which}: `old` is empty; give the text to replace")
    if count:
        raise ModelRetry(
            f"{which}: `old` occurs {count} times; add lines around it until it occurs once. Nothing was changed"
        )
    first = next((line.strip() for line in old.splitlines() if line.strip()), "")
    near = difflib.get_close_matches(
        first[:_LONGEST_LINE], [line.strip()[:_LONGEST_LINE] for line in text.splitlines()[:5000]], n=1
    )
    hint = f"; the nearest line is {near[0]!r}" if near else ""
    raise ModelRetry(f"{which}: `old` does not occur in the file as it is written{hint}. Nothing was changed")


def _diff(path: str, before: str, after: str) -> str:
    if before == after:
        return "the edits change nothing"
    if len(before) + len(after) > _LARGEST_DIFF:  # comparing takes quadratic time
        return f"edited {path}"
    old, new = ([f"{line}\n" for line in text.splitlines()] for text in (before, after))
    return "".join(difflib.unified_diff(old, new, path, path, n=2))[:_MOST_DIFF]


def pdf_text(path: str, data: bytes) -> str:
    """Return the text of a PDF, page by page.

    Raises:
        ToolError: The PDF cannot be read, or the extra is not installed.
    """
    try:
        from pypdf import PdfReader  # noqa: PLC0415 - an extra: only who reads PDFs needs it
        from pypdf.errors import PyPdfError  # noqa: PLC0415 - see above
    except ModuleNotFoundError:
        raise ToolError(
            f"{path!r} is a PDF, and reading PDFs is not installed here (the extra agentkit[pdf])"
        ) from None
    try:
        pages = [page.extract_text() for page in PdfReader(io.BytesIO(data)).pages]
    except (PyPdfError, ValueError, KeyError, RecursionError) as error:
        raise ToolError(f"{path!r} is a PDF that cannot be read: {type(error).__name__}") from None
    return "\n".join(f"[page {number}]\n{text}" for number, text in enumerate(pages, start=1))
