"""`Shell`: run commands in a sandbox."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import anyio

from agentkit import tool
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.tools import Access, Approval, ToolContext, ToolResult, Toolset
from agentkit_tools.sandbox import Sandbox, find_bubblewrap

__all__ = ["Shell"]

_POLL = 0.05  # seconds between checks of a running command
_MOST_JOBS = 8
_LONGEST_JOB = 3600.0
_LONGEST_COMMAND = 20_000
_METADATA = {"source": "shell"}


class Shell(Toolset):
    """Tools to run commands in one folder, and to watch and stop long-running ones.

    With ``allow``, a command is one of these programs and its arguments, without a shell. Otherwise it is a shell
    command, and only allowed in the sandbox.

    Args:
        folder: The working directory of commands, and the only files of yours that they see.
        write: Whether they may change it.
        allow: The programs that may be run, by name.
        sandbox: ``"auto"`` for bubblewrap, or an error where it does not work; ``"none"`` for no sandbox at all: the
            programs in ``allow`` can then do whatever you can.
        network: Whether commands can use the machine's network, including its own services.
        environment: The variables that commands get; they get none of yours.
        readable: More files and directories that commands may read.
        timeout: Seconds that a command may take; in the background, it may take an hour.
        memory: Bytes of address space per process.
        processes: Processes and threads at once.
        max_output: Bytes of output after which a command is stopped.
        requires_approval: For running a command; see `ToolOptions`.

    Raises:
        ConfigError: There is no sandbox, no such folder, or the options contradict each other.
    """

    def __init__(  # noqa: PLR0913 - a constructor of users: each is one setting of the whole
        self,
        folder: str | Path,
        *,
        write: bool = False,
        allow: Sequence[str] | None = None,
        sandbox: Literal["auto", "none"] = "auto",
        network: bool = False,
        environment: Mapping[str, str] | None = None,
        readable: Sequence[str | Path] = (),
        timeout: float = 60,
        memory: int = 1 << 30,
        processes: int = 64,
        max_output: int = 1_000_000,
        requires_approval: Approval = True,
    ) -> None:
        if timeout <= 0 or max_output < 1:
            raise ConfigError("Shell: timeout and max_output must be above 0")
        if isinstance(allow, str) or any("/" in each or not each for each in allow or ()):
            raise ConfigError(f"Shell: allow={allow!r} must be a list of names of programs, such as ['git', 'make']")
        if sandbox == "none" and not allow:
            raise ConfigError('Shell: with sandbox="none", allow= must say which programs may be run')
        self._folder, self._allow, self._timeout, self._max_output = Path(folder), allow, timeout, max_output
        self._environment = dict(environment or {})
        self._bubblewrap = find_bubblewrap() if sandbox != "none" else ""
        inside = Sandbox(
            folder=self._folder,
            write=write,
            readable=[Path(each) for each in readable],
            network=network,
            environment=self._environment,
            memory=memory,
            processes=processes,
        )
        self._sandbox = None if sandbox == "none" else inside
        self._jobs: dict[str, _Job] = {}
        weakref.finalize(self, _stop_all, self._jobs)
        run = self.run_command if allow is None else self.run_program
        connected = network or sandbox == "none"
        output: list[Access] = ["private", "untrusted"] if connected else ["private"]
        sent: list[Access] = ["outside"] if connected else []
        super().__init__(
            tool(run, requires_approval=requires_approval, timeout=timeout + 10, access=[*output, *sent]),
            tool(self.poll_command, timeout=timeout + 10, access=output),
            tool(self.stop_command, access=output),
        )

    async def run_command(
        self,
        context: ToolContext[Any],
        command: Annotated[str, "The command line, for /bin/sh."],
        background: Annotated[bool, "Start it and go on; for what takes long, or never ends."] = False,
    ) -> ToolResult:
        """Run a shell command in the project folder, and get its output and exit status."""
        if not command.strip() or "\0" in command or len(command) > _LONGEST_COMMAND:
            raise ModelRetry(f"a command has 1 to {_LONGEST_COMMAND} characters, and no NUL")
        return await self._run(context, ["/bin/sh", "-c", command], background=background)

    async def run_program(
        self,
        context: ToolContext[Any],
        arguments: Annotated[list[str], "The program and its arguments, one by one, as no shell reads them."],
        background: Annotated[bool, "Start it and go on; for what takes long, or never ends."] = False,
    ) -> ToolResult:
        """Run a program in the project folder, and get its output and exit status."""
        if not arguments or arguments[0] not in (self._allow or ()):
            raise ModelRetry(f"only these programs may be run: {', '.join(self._allow or ())}")
        if any("\0" in each for each in arguments) or sum(map(len, arguments)) > _LONGEST_COMMAND:
            raise ModelRetry(f"the arguments have at most {_LONGEST_COMMAND} characters, and no NUL")
        return await self._run(context, arguments, background=background)

    async def poll_command(
        self,
        context: ToolContext[Any],
        command_id: Annotated[str, "The id of the command, as its start gave it."],
        wait: Annotated[float, "Seconds to wait for it to end; 0 to look and go on."] = 0,
    ) -> ToolResult:
        """See the new output of a command in the background, and whether it still runs."""
        job = self._job(command_id)
        await self._watch(context, job, min(max(wait, 0), self._timeout))
        return self._report(command_id, job)

    async def stop_command(
        self, command_id: Annotated[str, "The id of the command, as its start gave it."]
    ) -> ToolResult:
        """Stop a command in the background, and see the rest of its output."""
        job = self._job(command_id)
        job.stop()
        return self._report(command_id, job)

    async def _run(self, context: ToolContext[Any], arguments: Sequence[str], *, background: bool) -> ToolResult:
        if background and len(self._jobs) >= _MOST_JOBS:
            raise ToolError(f"{_MOST_JOBS} commands are already in the background, the maximum: stop one first")
        job = self._start(arguments, _LONGEST_JOB if background else self._timeout)
        if background:
            command_id = secrets.token_hex(4)
            self._jobs[command_id] = job
            return ToolResult(
                f"started; poll_command(command_id={command_id!r}) shows its output", command_id, metadata=_METADATA
            )
        try:
            await self._watch(context, job, self._timeout)
        finally:
            job.stop(late=True)
        return self._report("", job)

    def _start(self, arguments: Sequence[str], seconds: float) -> _Job:
        environment: dict[str, str] = {}
        if self._sandbox:
            arguments, folder = self._sandbox.command(self._bubblewrap, arguments, seconds=seconds), Path("/")
        else:
            folder = self._folder
            environment = {
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                **self._environment,
            }
        try:
            return _Job(arguments, folder, environment, seconds, self._max_output)
        except OSError as error:
            raise ToolError(f"the command cannot be started: {os.strerror(error.errno or 0)}") from None

    async def _watch(self, context: ToolContext[Any], job: _Job, seconds: float) -> None:
        """Wait until a command ends or its time is up, and report what it writes."""
        end = time.monotonic() + seconds
        seen = job.size
        while job.runs and time.monotonic() < end:
            await anyio.sleep(_POLL)
            if job.size > seen:
                context.progress(None, job.between(seen, min(job.size, seen + 2000)))
                seen = job.size

    def _job(self, command_id: str) -> _Job:
        if command_id not in self._jobs:
            raise ModelRetry(
                f"no command {command_id!r} is in the background; there are {', '.join(self._jobs) or 'none'}"
            )
        return self._jobs[command_id]

    def _report(self, command_id: str, job: _Job) -> ToolResult:
        output, status = job.new_output(), job.status
        if status is None:
            end = "[still running]"
        elif job.flooded:
            end = f"[stopped: it wrote more than {self._max_output:,} bytes]"
        elif job.late:
            end = f"[stopped: it took longer than {job.seconds:g} seconds; what takes long can run in the background]"
        else:
            end = f"[exit status {status}]" if status >= 0 else f"[ended by {_signal_name(-status)}]"
        if status is not None:
            self._jobs.pop(command_id, None)
        failed = status not in (None, 0)
        return ToolResult(
            f"{output.rstrip()}\n{end}".strip(), output, is_error=failed, metadata={**_METADATA, "status": status}
        )


class _Job:
    """A running command. Its output goes to an unnamed file, so that nothing has to read it meanwhile."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float, max_output: int
    ) -> None:
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the command is known
        weakref.finalize(self, self._output.close)
        self._read, self._max_output = 0, max_output
        self._deadline = time.monotonic() + seconds
        self.seconds, self.flooded, self.late = seconds, False, False
        self._process = subprocess.Popen(  # noqa: S603 - a list that the sandbox or the list of programs bounds
            arguments,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def size(self) -> int:
        """Bytes of output so far."""
        return os.fstat(self._output.fileno()).st_size

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        if self._process.poll() is None:
            self.flooded = self.size > self._max_output
            if self.flooded:
                self.stop()
            elif time.monotonic() > self._deadline:
                self.stop(late=True)
        return self._process.poll()

    @property
    def runs(self) -> bool:
        """True if it is still running."""
        return self.status is None

    def stop(self, *, late: bool = False) -> None:
        """Kill it and everything it started, unless it has ended."""
        if self._process.poll() is None:
            self.late = late
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def new_output(self) -> str:
        """Return the new output."""
        start, self._read = self._read, min(self.size, self._max_output)
        return self.between(start, self._read)

    def between(self, start: int, end: int) -> str:
        """Return a part of the output."""
        return os.pread(self._output.fileno(), end - start, start).decode(errors="replace")


def _stop_all(jobs: Mapping[str, _Job]) -> None:
    for job in jobs.values():
        job.stop()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
