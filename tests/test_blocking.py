"""Agents in code that is not async: in a script, in threads, in a notebook."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from agentkit import Agent, tool
from agentkit.chat import ChatClient, ChatRequest, Reply
from agentkit.errors import ConfigError, Overloaded
from agentkit.events import CallStarted, Emit, Event, TextDelta
from agentkit.run import SyncRunStream, call_sync
from agentkit.sessions import SQLiteSessions
from agentkit.testing import Chunks, ScriptedModel, call


class Endless:
    """A model that says a word and goes on for ever."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    async def reply(self, request: ChatRequest, emit: Emit) -> Reply:
        emit(TextDelta("one"))
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.set()
        raise AssertionError


def stream_of(agent: Agent) -> SyncRunStream[str]:
    return SyncRunStream(agent.stream("go"))


async def thread_of_the_loop() -> int:
    return threading.get_ident()


# Calling an async function.


def test_calls_share_one_event_loop_in_a_thread_that_is_kept() -> None:
    first = call_sync(thread_of_the_loop)
    with ThreadPoolExecutor(4) as threads:
        assert {*threads.map(lambda _: call_sync(thread_of_the_loop), range(20))} == {first}
    assert first != threading.get_ident()


def test_arguments_are_passed_on_and_results_come_back() -> None:
    result = call_sync(Agent(ScriptedModel(["hello"])).run, "hi", run_id="r1")
    assert (result.output, result.state.run_id) == ("hello", "r1")


@pytest.mark.anyio
async def test_it_works_inside_a_running_event_loop_as_in_a_notebook() -> None:
    agent = Agent(ScriptedModel([Chunks("Hel", "lo"), "again"]))
    with stream_of(agent) as events:
        assert list(events.text()) == ["Hel", "lo"]
    assert call_sync(agent.run, "hi").output == "again"


def test_the_function_sees_the_context_variables_of_its_caller() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    async def who() -> str:
        return user.get()

    token = user.set("ada")
    try:
        assert call_sync(who) == "ada"
    finally:
        user.reset(token)
    assert call_sync(who) == "nobody"


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), KeyboardInterrupt("from inside")], ids=repr)
def test_whatever_the_function_raises_comes_out_as_it_is_and_the_loop_goes_on(error: BaseException) -> None:
    async def fail() -> None:
        raise error

    thread = call_sync(thread_of_the_loop)
    with pytest.raises(type(error)) as caught:
        call_sync(fail)
    assert caught.value is error
    assert call_sync(thread_of_the_loop) == thread


def test_a_synchronous_call_inside_another_one_is_refused_where_it_would_wait_for_itself() -> None:
    async def outer() -> int:
        return call_sync(thread_of_the_loop)

    with pytest.raises(ConfigError, match=r"cannot be used in an async function"):
        call_sync(outer)


def test_a_tool_that_is_not_async_may_make_synchronous_calls() -> None:
    inner = Agent(ScriptedModel(["from inside"]))

    @tool
    def ask() -> str:
        """Ask another agent."""
        return call_sync(inner.run, "hi").output

    result = call_sync(Agent(ScriptedModel([call("ask"), "done"]), tools=[ask]).run, "go")
    assert result.messages[2].text == "from inside"


def test_a_session_can_be_read_without_async_code(tmp_path: Path) -> None:
    session = SQLiteSessions(tmp_path / "chat.db")["ada"]
    call_sync(Agent(ScriptedModel(["hello"])).run, "hi", session=session)
    assert [each.text for each in call_sync(session.messages)] == ["hi", "hello"]


class Counting(ThreadingHTTPServer):
    """A server that counts its connections."""

    connections = 0


class Replying(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = (
            b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}'
        )
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base
        """Nothing is written."""


@pytest.fixture
def server() -> Iterator[Counting]:
    with Counting(("127.0.0.1", 0), Replying) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_connections_stay_open_between_calls(server: Counting) -> None:
    client = ChatClient(f"http://127.0.0.1:{server.server_port}/v1", model="m")
    for _ in range(3):
        assert call_sync(Agent(client).run, "go").output == "hi"
    assert server.connections == 1
    call_sync(client.aclose)
    call_sync(Agent(client).run, "go")
    assert server.connections == 2
    call_sync(client.aclose)


# Streams.


def test_a_stream_gives_the_events_of_the_run_and_then_its_result() -> None:
    seen: list[Event] = []
    call_sync(Agent(ScriptedModel([Chunks("Hel", "lo")])).run, "go", on_event=seen.append)
    with stream_of(Agent(ScriptedModel([Chunks("Hel", "lo")]))) as events:
        assert [type(event) for event in events] == [type(event) for event in seen]
        assert events.result().output == "Hello"
    assert events.result().output == "Hello"
    assert events.state.status == "done"


def test_a_stream_can_be_read_without_a_block() -> None:
    assert list(stream_of(Agent(ScriptedModel([Chunks("a", "b")]))).text()) == ["a", "b"]
    assert stream_of(Agent(ScriptedModel(["all"]))).result().output == "all"


def test_leaving_the_block_early_waits_until_the_run_is_over() -> None:
    model = Endless()
    with stream_of(Agent(model)) as events:
        assert next(events.text()) == "one"
    assert model.ended.is_set()
    assert (events.state.status, events.result().status) == ("cancelled", "cancelled")


def test_a_loop_without_a_block_that_is_left_early_cancels_the_run() -> None:
    model = Endless()
    for _ in stream_of(Agent(model)):
        break
    assert model.ended.wait(5)


def test_a_stream_can_be_cancelled_and_sent_messages() -> None:
    @tool(timeout=None)
    async def hang() -> None:
        """Hang."""
        await anyio.sleep_forever()

    with stream_of(Agent(ScriptedModel([call("hang")]), tools=[hang])) as events:
        for event in events:
            if isinstance(event, CallStarted):
                events.send("never mind")
                events.cancel()
        result = events.result()
    assert result.status == "cancelled"
    assert [each.text for each in result.state.inbox] == ["never mind"]


def test_an_error_of_the_run_is_raised_where_it_is_read() -> None:
    with pytest.raises(Overloaded), stream_of(Agent(ScriptedModel([Overloaded("busy", status=503)]))) as events:
        raise AssertionError(list(events))


def test_an_error_of_the_reader_comes_out_as_it_is() -> None:
    model = Endless()
    with pytest.raises(KeyError, match="mine"), stream_of(Agent(model)) as events:
        for _ in events:
            raise KeyError("mine")
    assert model.ended.is_set()


def test_a_stream_is_started_once_and_has_a_short_repr() -> None:
    events = stream_of(Agent(ScriptedModel(["x"])))
    assert repr(events) == "SyncRunStream(not started, turns=0)"
    events.close()
    with events:
        events.result()
    with pytest.raises(ConfigError, match="started before"), events:
        pass
    assert repr(events) == "SyncRunStream(done, turns=1)"


# The ends of a program.

SETUP = """
import atexit, os, signal, threading
last = []  # threads to wait for after agentkit, which registers later, has closed its loop
atexit.register(lambda: [each.join(10) for each in last])
from concurrent.futures import CancelledError
import anyio
from agentkit import Agent
from agentkit.chat import ChatClient
from agentkit.errors import Interrupted
from agentkit.events import TextDelta
from agentkit.run import SyncRunStream, call_sync
from agentkit.testing import ScriptedModel, Server

class Endless:
    async def reply(self, request, emit):
        emit(TextDelta("one"))
        try:
            await anyio.sleep_forever()
        finally:
            print("over", flush=True)

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
"""

PROGRAMS = {
    "an open connection is closed": (
        """
with Server(["hello"]) as server:
    print(call_sync(Agent(ChatClient(server.url, model="m")).run, "hi").output)
""",
        "hello",
    ),
    "an open stream is cancelled": (
        """
events = SyncRunStream(Agent(Endless()).stream("go"))
print(next(events.text()))
""",
        "one over",
    ),
    "a call in another thread is cancelled": (
        """
started = threading.Event()

def work():
    try:
        call_sync(Agent(Endless()).run, "go", on_event=lambda _: started.set())
    except CancelledError:
        print("cancelled", flush=True)

last.append(threading.Thread(target=work, daemon=True))
last[0].start()
started.wait()
""",
        "over cancelled",
    ),
    "ctrl-c in a call": (
        """
async def wait():
    try:
        interrupt()
        await anyio.sleep_forever()
    finally:
        print("over")

try:
    call_sync(wait)
except KeyboardInterrupt as error:
    print(type(error).__name__)
print(call_sync(Agent(ScriptedModel(["next"])).run, "go").output)
""",
        "over KeyboardInterrupt next",
    ),
    "ctrl-c while a stream is read": (
        """
events = SyncRunStream(Agent(Endless()).stream("go"))
try:
    with events:
        for event in events:
            if isinstance(event, TextDelta):
                threading.Timer(0.1, interrupt).start()
except Interrupted as error:
    print(error.state.status)
""",
        "over cancelled",
    ),
    "ctrl-c twice, while a run does not end": (
        """
class Stubborn:
    async def reply(self, request, emit):
        emit(TextDelta("one"))
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)

try:
    for event in SyncRunStream(Agent(Stubborn()).stream("go")):
        if isinstance(event, TextDelta):
            print("reading", flush=True)
            threading.Timer(0.2, interrupt).start()
            threading.Timer(0.6, interrupt).start()
except Interrupted as error:
    print("interrupted", flush=True)
    os._exit(0)
""",
        "reading interrupted",
    ),
    "a process that is forked off has a loop of its own": (
        """
def ask():
    print(call_sync(Agent(ScriptedModel(["hello"])).run, "hi").output, flush=True)

ask()
events = SyncRunStream(Agent(Endless()).stream("go"))
next(events)
child = os.fork()
if not child:
    ask()
    try:
        events.result()
    except Exception as error:
        print(type(error).__name__, flush=True)
    del events
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
ask()
events.close()
""",
        "hello hello ConfigError 7 hello over",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there, and signals are sent in another way")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_cleanly(name: str) -> None:
    program, output = PROGRAMS[name]
    done = subprocess.run(
        # A fork beside threads is warned of from 3.12 on, for good reason; here the child starts a thread of its own.
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", SETUP + program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (output.split(), "", 0)
