"""Clients that nobody here wrote talk to a served agent: each is a script in ``clients`` that must not fail."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit import Agent, serve, tool
from agentkit.chat import ChatRequest
from agentkit.testing import Answer, Chunks, FunctionModel, call
from tests.serve.asgi import TOKEN
from tests.serve.test_sockets import running

CLIENTS = Path(__file__).parent / "clients"
BUILD = Path(__file__).parents[2] / "build" / "clients"
SCRIPTS = sorted(each.name for each in CLIENTS.glob("with_*"))


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def answer(request: ChatRequest) -> Answer:
    """Use the agent's tool and that of the client, if there is one, and then answer."""
    results = [each.text for each in request.messages if each.role == "tool"]
    brought = [each.name for each in request.tools if each.name == "weather"]
    if brought and "sunny" not in results:
        return [call("add", a=1, b=2), call("weather", city="Paris")]
    if brought:
        return "It is sunny."
    if request.settings.response_format or any(each.name == "final_answer" for each in request.tools):
        return json.dumps({"city": "Paris"})
    return Chunks("Hello ", "world.")


@pytest.fixture
def address() -> Iterator[str]:
    app = serve.app(Agent(FunctionModel(answer), tools=[add]), token=TOKEN)
    with running(app) as where:
        yield where


def run_client(script: str, address: str, *expected: str) -> None:
    """Run a script; it is given what to expect: an answer to "hi", a question about the weather, part of its answer."""
    program, path = BUILD / "bin" / "python", CLIENTS / script
    if script.endswith(".mjs"):  # node looks for packages next to the script
        program, path = BUILD / "bin" / "node", BUILD / script
        path.write_text((CLIENTS / script).read_text())
    done = subprocess.run(
        [str(program), str(path), f"{address}/v1", TOKEN, *expected],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},  # it would look for another one on the network
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_client_that_nobody_here_wrote(script: str, address: str) -> None:
    run_client(script, address, "Hello world.", "What is the weather?", "It is sunny.")


CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,positive_data_acceptance,missing_required_header,"
    "unsupported_method,use_after_free,ensure_resource_availability,ignored_auth"
)


@pytest.mark.parametrize(
    "options",
    [
        ["--include-path", "/v1/chat/completions", "--phases", "coverage,fuzzing"],
        ["--include-path", "/openai/chat/completions", "--phases", "fuzzing"],  # the same code
        ["--exclude-path-regex", "completions$", "--phases", "examples,coverage,fuzzing,stateful"],
    ],
    ids=["v1", "openai", "rest"],
)
def test_what_a_fuzzer_sends_gets_what_the_openapi_document_says(options: list[str], address: str) -> None:
    done = subprocess.run(
        [
            *(str(BUILD / "bin" / "schemathesis"), "run", f"{address}/openapi.json"),
            *("--header", f"Authorization: Bearer {TOKEN}", "--seed", "1", "--continue-on-failure"),
            *("--max-examples", "15", "--checks", CHECKS, *options),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=BUILD,
    )
    assert done.returncode == 0, done.stdout[-5000:]
