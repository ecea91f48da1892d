"""The pages are true: their code runs, prints what they say, and they leave nothing out.

The python blocks of a page run in order, in one namespace. No page has a network: every provider that can be pointed
elsewhere by its variable is pointed at a server on loopback. What that server answers stands in the page, invisible to
its readers, before the block that asks: ``<!-- answers: ["text", [{"tool": {"argument": 1}}], {"status": 503}] -->``;
an answer with ``choices`` is sent as it is.

``# -> text`` in a block is a line that it prints; a function ``test_...`` in a block is run. A block that cannot run
has ``<!-- not run: reason -->`` before it, and is counted below.
"""

import ast
import inspect
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest

import agentkit
import agentkit.errors
import agentkit.testing
from agentkit import ChatSettings, Limits
from agentkit.chat import PROVIDERS, Provider
from tests.command import run

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
NOT_RUN: list[str] = []  # "page:line" of each block that does not run

# README is read as plain text too, so what its model answers stands here.
README_ANSWERS: list[list[Any]] = [
    [[{"calculate": {"a": 17, "operation": "times", "b": 23}}], "17 times 23 is 391."],
    ["17 times 23 is 391.", "195.5."],
]


@dataclass
class Block:
    page: str
    line: int
    code: str
    answers: list[Any] = field(default_factory=list[Any])
    not_run: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def prints(self) -> list[str]:
        return [line.rstrip() for line in re.findall(r"# -> ?(.*)$", self.code, re.MULTILINE)]


def blocks_of(path: Path) -> list[Block]:
    """The python blocks of a page, each with the comments that stand before it."""
    text, blocks, notes = path.read_text(encoding="utf-8"), list[Block](), dict[str, str]()
    pattern = r"<!-- (answers|not run): (?P<note>.*?) -->|^```(?P<kind>\w*)\n(?P<code>.*?)^```$"
    for found in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
        if found[1]:
            notes[found[1]] = found["note"]
        elif found["kind"] == "python":
            line = text.count("\n", 0, found.start("code")) + 1
            answers = json.loads(notes.get("answers", "[]"))
            blocks.append(Block(path.name, line, found["code"], answers, notes.get("not run", "")))
            notes = {}
    return blocks


class Stage(ThreadingHTTPServer):
    """A Chat Completions server that gives the answers of the block that runs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StageHandler)
        self.answers: list[Any] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class StageHandler(BaseHTTPRequestHandler):
    server: Stage

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer: Any = {"status": 400, "message": "the page gives no answer to this request: add it to `answers`"}
        if self.server.answers:
            answer = self.server.answers.pop(0)
        if isinstance(answer, dict) and "status" in answer:
            self.send(answer["status"], "application/json", json.dumps({"error": answer}))
            return
        if isinstance(answer, dict) and "choices" in answer:
            self.send(200, "application/json", json.dumps(answer))
            return
        message, reason = message_of(answer)
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            self.send(200, "application/json", json.dumps({"id": "r", "choices": [choice], "usage": USAGE}))
            return
        words = re.findall(r"\S+\s*", message["content"] or "")
        deltas = [*({"content": word} for word in words), {**message, "content": None}]
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": USAGE})
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        self.send(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]))

    def send(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body.encode())))
        self.send_header("retry-after", "0")
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


USAGE = {"prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50}


def message_of(answer: Any) -> tuple[dict[str, Any], str]:
    if isinstance(answer, str):
        return {"role": "assistant", "content": answer}, "stop"
    calls: list[dict[str, Any]] = []
    for index, call in enumerate(answer):
        ((name, arguments),) = call.items()
        function = {"name": name, "arguments": json.dumps(arguments)}
        calls.append({"index": index, "id": f"call_{index}", "type": "function", "function": function})
    return {"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls"


@contextmanager
def stage() -> Iterator[Stage]:
    with Stage() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


def run_block(block: Block, namespace: dict[str, Any]) -> None:
    source = "\n" * (block.line - 1) + block.code  # so that a traceback names the line of the page
    code: Any = compile(source, block.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    async def main() -> None:
        await eval(code, namespace)

    if code.co_flags & inspect.CO_COROUTINE:
        anyio.run(main)
    else:
        exec(code, namespace)
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            test = namespace[node.name]
            anyio.run(test) if inspect.iscoroutinefunction(test) else test()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with stage() as server:
        for provider in PROVIDERS.values():
            monkeypatch.delenv(provider.key_variable or "-", raising=False)
            if provider.base_url_variable:
                monkeypatch.setenv(provider.base_url_variable, server.url)
        answers = iter(README_ANSWERS if page.name == "README.md" else [])
        for block in blocks_of(page):
            if block.not_run:
                continue
            server.answers = list(block.answers or next(answers, []))
            run_block(block, namespace)
            assert not server.answers, f"{block.place}: the block did not ask for {server.answers}"
            printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
            assert not block.prints or printed == block.prints, block.place


def test_every_block_runs_apart_from_those_that_are_counted() -> None:
    assert [block.place for page in PAGES for block in blocks_of(page) if block.not_run] == NOT_RUN


def anchors_of(path: Path) -> set[str]:
    """What GitHub makes of the headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name} links to {target}"
        assert ROOT in path.parents, f"{page.name} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors_of(path), f"{page.name} links to {target}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in DOCS]
    assert [page for page in pages if page != "index.md" and f"]({page})" not in index] == []


def test_each_control_of_the_security_page_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`]+\.py)::(\w+)`", page)
    assert len(named) > 40
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")] == []


def mentioned(name: str, text: str) -> bool:
    """Whether the name stands in code: a code block, or a span between backticks."""
    return any(
        re.search(rf"\b{re.escape(name)}\b", code) for code in re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    )


@pytest.mark.parametrize("module", [agentkit, agentkit.testing], ids=lambda module: module.__name__)
def test_every_public_name_is_in_some_page(module: Any) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS if page.name != "architecture.md")
    assert [name for name in module.__all__ if not mentioned(name, text)] == []


def test_every_error_setting_and_limit_is_in_its_page() -> None:
    text = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    names = [*agentkit.errors.__all__, *(each.name for each in fields(ChatSettings))]
    assert [name for name in names if not mentioned(name, text)] == []
    limits = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert [each.name for each in fields(Limits) if f"| `{each.name}` |" not in limits] == []


def test_the_table_of_providers_is_the_table_of_the_code() -> None:
    def row(provider: Provider) -> str:
        key = f"`{provider.key_variable}`" if provider.key_variable else "none"
        variables = filter(None, (provider.base_url_variable, provider.host_variable))
        base = ", ".join(f"`{variable}`" for variable in variables) or "none"
        return f"| `{provider.name}` | `{provider.base_url}` | {key} | {base} |"

    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `[\w.]+` \| `http.*$", text, re.MULTILINE)
    assert rows == [row(provider) for provider in PROVIDERS.values()]


def commands() -> set[tuple[str, ...]]:
    """The commands of agentkit that pages tell their readers to type."""
    lines = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    typed = re.findall(r"(?:^ *|`)(?:\.venv/bin/)?agentkit ((?:[a-z]+ ?)+)", lines, re.MULTILINE)
    return {tuple(each.split())[: 2 if each.startswith("models") else 1] for each in typed}


@pytest.mark.parametrize("command", sorted(commands()), ids=" ".join)
def test_a_command_that_a_page_names_exists(command: tuple[str, ...]) -> None:
    done = run(*command, "--help", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in command)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_nobody_is_told_to_install_the_name_from_the_public_index(page: Path) -> None:
    assert not re.search(r"pip install ['\"]?agentkit\b", page.read_text(encoding="utf-8"))
