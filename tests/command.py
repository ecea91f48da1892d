"""The command ``agentkit`` in tests: in this process, in one of its own, and on a terminal of its own."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentkit.cli import main
from tests.replay import events

OUR_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.endswith(("_API_KEY", "_BASE_URL")) and name not in ("AGENTKIT_MODEL", "NO_COLOR", "FORCE_COLOR")
}


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Stream(io.StringIO):
    """A stream that can pass for a terminal."""

    def __init__(self, text: str = "", *, tty: bool) -> None:
        super().__init__(text)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


def run(*arguments: str, stdin: str = "", tty: bool = False, **environment: str) -> Done:
    """Run the command in this process, on a terminal if ``tty`` says so (but for its standard output)."""
    given, out, err = Stream(stdin, tty=tty), Stream(tty=False), Stream(tty=tty)
    stdin_before = sys.stdin
    with environ(NO_COLOR="1", **environment), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.stdin = given
        try:
            code = main(list(arguments))
        finally:
            sys.stdin = stdin_before
    return Done(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def environ(**changes: str) -> Iterator[None]:
    """Have no keys and addresses in the environment, but these."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(OUR_ENVIRONMENT, **changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


_PATH = list(sys.path)  # before any test


@contextlib.contextmanager
def fresh_imports() -> Iterator[None]:
    """Forget what other tests and the block import from directories of theirs, and these directories."""
    path, finders = list(sys.path), dict(sys.path_importer_cache)
    sys.path[:] = _PATH
    _forget_imports()
    try:
        yield
    finally:
        _forget_imports()
        sys.path[:] = path
        sys.path_importer_cache.clear()
        sys.path_importer_cache.update(finders)


def _forget_imports() -> None:
    """Forget the modules that are neither installed nor this project's."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or sys.prefix  # built in
        ours = name.partition(".")[0] in ("agentkit", "agentkit_tools", "tests", "examples", "docs", "benchmarks")
        if not ours and not file.startswith((sys.prefix, sys.base_prefix)) and name not in ("__main__", "__mp_main__"):
            del sys.modules[name]


def process(*arguments: str, **environment: str) -> dict[str, Any]:
    """Say how to start the command as a process of its own."""
    given = {**OUR_ENVIRONMENT, **environment}
    return {
        "args": [sys.executable, "-m", "agentkit", *arguments],
        "env": given,
        "text": True,
        "stdin": subprocess.DEVNULL,
    }


def run_process(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    given = process(*arguments, **environment) | {"stdin": None}
    return subprocess.run(**given, input=stdin, capture_output=True, check=False, timeout=60)


def interrupted_at(sign: str, stream: str, *arguments: str, url: str) -> tuple[int, str, str]:
    """Send SIGINT as soon as a line of ``stream`` holds the sign; give exit code, stdout and stderr."""
    pipe = subprocess.PIPE
    with subprocess.Popen(**process(*arguments, OPENAI_BASE_URL=url), stdout=pipe, stderr=pipe) as started:
        seen = ""
        watched: Any = getattr(started, stream)
        while sign not in seen:
            line = watched.readline()
            assert line, seen
            seen += line
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=30)
    return started.returncode, (seen if stream == "stdout" else "") + out, (seen if stream == "stderr" else "") + err


PROMPT = "\x1b[?2004h"  # what prompt_toolkit sends when it begins to read


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.ours, theirs = os.openpty()
        given = process(*arguments, TERM="xterm", COLUMNS="100", PROMPT_TOOLKIT_NO_CPR="1", **environment)
        self.process = subprocess.Popen(**given | {"stdin": theirs}, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.seen = ""
        self.limit = threading.Timer(30, self.process.kill)
        self.limit.start()

    def read_until(self, sign: str) -> str:
        """Everything up to the sign, which must come."""
        while sign not in self.seen:
            assert self._read(), self.seen
        before, _, self.seen = self.seen.partition(sign)
        return before + sign

    def read_all(self) -> str:
        while self._read():
            pass
        self.limit.cancel()
        self.process.wait()
        os.close(self.ours)
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def interrupt(self) -> None:
        """Send SIGINT until it ends: `input` shows its prompt a moment before it listens."""
        for _ in range(5):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break

    def _read(self) -> bool:
        try:
            data = os.read(self.ours, 65536)
        except OSError:  # EIO: everybody has left the terminal
            return False
        self.seen += data.decode().replace("\r\n", "\n")
        return bool(data)


def calls(*names_and_arguments: tuple[str, dict[str, Any]], text: str | None = None) -> bytes:
    deltas = [
        {"index": place, "id": f"c{place}", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(names_and_arguments)
    ]
    return events({"content": text, "tool_calls": deltas}, finish_reason="tool_calls")
