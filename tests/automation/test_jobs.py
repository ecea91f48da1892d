"""Automations: functions whose steps are recorded."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest
from pydantic import BaseModel

from agentkit import Agent, ModelError, ToolContext, tool
from agentkit.automation import automation, gather, idempotency_key, map_runs, step
from agentkit.chat import ChatRequest
from agentkit.errors import ConfigError, DefinitionError, SessionBusy, SessionError, StateError, ToolError
from agentkit.run import PlainJournal, Slot, SlotKind, call_sync
from agentkit.sessions import MemorySessions, SQLiteSessions
from agentkit.testing import Answer, FunctionModel, call

pytestmark = pytest.mark.anyio
T = TypeVar("T")


class Invoice(BaseModel):
    sender: str
    cents: int
    due: date


@dataclass
class Draft:
    to: str
    text: str


DONE: list[str] = []
FAIL: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()
    FAIL.clear()


def act(what: str) -> None:
    DONE.append(what)
    if what in FAIL:
        raise OSError(f"{what} failed")


@step
async def read(name: str) -> Invoice:
    act(f"read {name}")
    return Invoice(sender=name, cents=4900, due=date(2026, 12, 1))


@step
def draft(invoice: Invoice) -> Draft:
    act(f"draft {invoice.sender}")
    return Draft(invoice.sender, f"due {invoice.due:%d.%m.}")


@step
async def send(letter: Draft) -> str:
    act(f"send {letter.to}")
    return f"sent to {letter.to}: {letter.text}"


@automation
async def answer(name: str) -> str:
    return await send(await draft(await read(name)))


async def test_a_job_returns_what_its_steps_make_and_is_not_done_twice() -> None:
    job = answer.job(MemorySessions(), "ada")
    assert await job.status() == ""
    for _ in range(2):
        result = await job.run("Ada")
        assert (result.status, result.output) == ("done", "sent to Ada: due 01.12.")
    assert DONE == ["read Ada", "draft Ada", "send Ada"]
    assert await job.status() == "done"


async def test_a_job_that_failed_continues_after_the_last_finished_step_in_another_process(tmp_path: Path) -> None:
    FAIL.add("send Ada")
    with pytest.raises(OSError, match="send Ada failed"):
        await answer.job(SQLiteSessions(tmp_path / "work.db"), "ada").run("Ada")
    FAIL.clear()
    job = answer.job(SQLiteSessions(tmp_path / "work.db"), "ada")
    assert await job.status() == "failed"
    assert (await job.resume()).output == "sent to Ada: due 01.12."
    assert DONE == ["read Ada", "draft Ada", "send Ada", "send Ada"]


async def test_jobs_of_two_names_are_apart() -> None:
    sessions = MemorySessions()
    await answer.job(sessions, "one").run("Ada")
    await answer.job(sessions, "two").run("Ada")
    assert DONE.count("read Ada") == 2


@step
async def handle(name: str) -> str:
    invoice = await read(name)
    for _ in range(5 - len(name)):
        await anyio.lowlevel.checkpoint()
    return await send(await draft(invoice))


@automation
async def answer_all(names: list[str]) -> list[str]:
    return await gather(*[handle(each) for each in names], concurrency=3)


async def test_steps_at_the_same_time_have_the_same_places_however_they_overlap() -> None:
    sessions = MemorySessions()
    names = ["A", "Bo", "Cas", "Dora", "Emily"]
    FAIL.update(["draft Bo", "send Dora"])
    with pytest.raises(ExceptionGroup, match="several steps failed"):
        await answer_all.job(sessions, "all").run(names)
    assert sorted(each for each in DONE if each.startswith("send")) == ["send A", "send Cas", "send Dora", "send Emily"]
    FAIL.clear()
    DONE.clear()
    result = await answer_all.job(sessions, "all").run(names)
    assert result.output == [f"sent to {name}: due 01.12." for name in names]
    assert sorted(DONE) == ["draft Bo", "send Bo", "send Dora"]


async def test_steps_may_be_started_in_a_task_group() -> None:
    sessions = MemorySessions()

    @automation
    async def program() -> None:
        async with anyio.create_task_group() as group:
            for name in ("Ada", "Bob"):
                group.start_soon(handle, name)
        act("end")

    FAIL.add("end")
    with pytest.raises(OSError, match="end failed"):
        await program.job(sessions, "x").run()
    FAIL.clear()
    await program.job(sessions, "x").run()
    assert (DONE.count("send Ada"), DONE.count("send Bob")) == (1, 1)


async def test_one_failure_among_several_is_raised_as_it_is() -> None:
    FAIL.add("read B")
    with pytest.raises(OSError, match="read B failed"):
        await answer_all.job(MemorySessions(), "all").run(["A", "B", "C"])
    assert "send C" in DONE


async def test_values_are_json_and_the_same_in_both_lives(tmp_path: Path) -> None:
    seen: list[object] = []

    @step
    async def pair() -> tuple[date, Path]:
        return date(2026, 11, 29), Path("a/b")

    @step
    async def loose() -> Any:
        return {"when": date(2026, 11, 29), "who": ("Ada",)}

    @automation
    async def values(day: date, *names: str, **more: int) -> None:
        seen.append((day, names, more, await pair(), await loose()))
        act("end")

    FAIL.add("end")
    job = values.job(SQLiteSessions(tmp_path / "work.db"), "x")
    with pytest.raises(OSError, match="end failed"):
        await job.run(date(2026, 1, 2), "a", "b", n=1)
    FAIL.clear()
    assert (await job.resume()).output is None
    assert seen[0] == seen[1]
    assert seen[0] == (
        date(2026, 1, 2),
        ("a", "b"),
        {"n": 1},
        (date(2026, 11, 29), Path("a/b")),
        {"when": "2026-11-29", "who": ["Ada"]},
    )


async def test_a_key_is_the_same_in_each_try_and_differs_between_steps() -> None:
    keys: list[str] = []

    @step
    async def pay(amount: int) -> str:
        keys.append(idempotency_key())
        act("pay")
        return f"{amount} is paid"

    @automation
    async def payments() -> None:
        await pay(1)
        await pay(1)

    FAIL.add("pay")
    job = payments.job(MemorySessions(), "today")
    with pytest.raises(OSError, match="pay failed"):
        await job.run()
    FAIL.clear()
    await job.run()
    assert keys == ["payments/today:step:1", "payments/today:step:1", "payments/today:step:2"]
    with pytest.raises(ConfigError, match="outside a step"):
        idempotency_key()


# A program that has changed.


async def begun(sessions: MemorySessions) -> None:
    @automation(name="changing")
    async def old() -> None:
        await read("Ada")
        await draft(Invoice(sender="Ada", cents=1, due=date(2026, 1, 1)))
        act("end")

    FAIL.add("end")
    with pytest.raises(OSError, match="end failed"):
        await old.job(sessions, "x").run()
    DONE.clear()


async def other_order() -> None:
    await draft(Invoice(sender="Ada", cents=1, due=date(2026, 1, 1)))
    await read("Ada")


async def other_arguments() -> None:
    await read("Bob")


async def fewer_steps() -> None:
    await read("Ada")


async def together() -> None:
    await gather(read("Bob"), read("Ada"))


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        (other_order, "step 1 of the job 'changing/x' was read when it ran, and is draft now: the program has changed"),
        (other_arguments, "step 1 of the job 'changing/x' was called with other arguments when read ran"),
        (fewer_steps, "has done step draft, but the program ended without calling it"),
        (together, "step [12] of the job 'changing/x' was"),
    ],
)
async def test_a_program_that_has_changed_is_refused_and_runs_nothing(
    program: Callable[[], Awaitable[None]], complaint: str
) -> None:
    sessions = MemorySessions()
    await begun(sessions)
    with pytest.raises((StateError, ExceptionGroup)) as caught:
        await automation(program, name="changing").job(sessions, "x").run()  # type: ignore[arg-type]
    errors = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else [caught.value]
    assert [each for each in errors if pytest.raises(StateError, match=complaint).matches(each)]
    assert DONE == []


async def test_a_job_keeps_its_arguments() -> None:
    sessions = MemorySessions()
    await answer.job(sessions, "x").run("Ada")
    with pytest.raises(ConfigError, match=r'started with other arguments \(\{"name":"Ada"\}\)'):
        await answer.job(sessions, "x").run("Bob")


async def test_an_inner_step_belongs_to_the_call_of_its_outer_one() -> None:
    sessions = MemorySessions()

    @step
    async def inner() -> str:
        return "inner"

    @step
    async def outer(name: str) -> None:
        await inner()
        act(name)

    async def program() -> None:
        await outer("old" if FAIL else "new")

    FAIL.add("old")
    with pytest.raises(OSError, match="old failed"):
        await automation(program).job(sessions, "x").run()
    FAIL.clear()
    with pytest.raises(StateError, match=r"step 1\.1 of the job 'program/x' was called with other arguments"):
        await automation(program).job(sessions, "x").run()
    assert DONE == ["old"]


# Mistakes, each in one sentence.


async def test_a_step_outside_of_a_job_is_refused_and_its_function_can_be_tested() -> None:
    with pytest.raises(ConfigError, match="step read is called outside a job"):
        await read("Ada")
    assert (await read.function("Ada")).sender == "Ada"


async def test_a_step_in_a_task_of_its_own_or_in_a_thread_is_refused() -> None:
    async def plain(name: str) -> None:
        await read(name)

    @automation
    async def tasks() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(plain, "Ada")

    @step
    def threaded() -> None:
        _ = read("Ada")

    @automation
    async def threads() -> None:
        await threaded()

    for each in (tasks, threads):
        with pytest.raises((DefinitionError, ExceptionGroup)) as caught:
            await each.job(MemorySessions(), "x").run()
        error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
        assert "step read is called in its own task" in str(error)
    assert DONE == []


async def test_a_program_does_not_continue_after_a_failed_step_unless_a_step_catches_it() -> None:
    @automation
    async def stubborn() -> None:
        try:
            await read("Ada")
        except OSError:
            await read("Bob")

    @step
    async def try_to_read(name: str) -> str:
        try:
            return (await read(name)).sender
        except OSError as error:
            return str(error)

    @automation
    async def careful() -> list[str]:
        return [await try_to_read("Ada"), await try_to_read("Bob")]

    FAIL.add("read Ada")
    with pytest.raises(DefinitionError, match="step read is called after step read failed"):
        await stubborn.job(MemorySessions(), "x").run()
    assert (await careful.job(MemorySessions(), "x").run()).output == ["read Ada failed", "Bob"]


class Connection:
    pass


async def returns_nothing_readable() -> list[Any]:
    return [Connection()]


async def takes(thing: Any) -> None:
    pass


async def returns_another_type() -> int:
    return "seven"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("call_step", "complaint"),
    [
        (step(returns_nothing_readable), "step returns_nothing_readable returned a list, which cannot be"),
        (lambda: step(takes)(Connection()), "step takes: the argument 'thing' is a Connection, which cannot be"),
        (lambda: step(takes)(iter([1])), "it can be read only once"),
        (lambda: step(takes)(b"\xff"), "the argument 'thing' is a bytes"),
        (step(returns_another_type), "step returns_another_type returned a str, which cannot be recorded"),
    ],
    ids=["value", "argument", "iterator", "bytes", "type"],
)
async def test_what_json_cannot_hold_is_named(call_step: Callable[[], Awaitable[Any]], complaint: str) -> None:
    @automation
    async def program() -> None:
        await call_step()

    with pytest.raises(DefinitionError, match=complaint):
        await program.job(MemorySessions(), "x").run()


async def test_an_argument_of_another_type_is_refused_in_one_sentence_and_the_job_can_still_be_started() -> None:
    @automation
    async def order(counts: dict[str, int], note: str = "") -> int:
        return sum(counts.values())

    sessions = MemorySessions()
    wrong: Any = {"tea": "many"}
    with pytest.raises(DefinitionError) as caught:
        await order.job(sessions, "x").run(wrong)
    assert str(caught.value) == (
        "automation order: the argument counts['tea'] is not of its type dict[str, int]: "
        "Input should be a valid integer, unable to parse string as an integer"
    )
    assert (await order.job(sessions, "x").run({"tea": 2})).output == 2


async def hidden(thing: Any) -> None:
    pass


hidden.__annotations__["thing"] = "Nowhere"


async def test_a_type_that_is_defined_nowhere_is_named_when_the_step_is_called() -> None:
    @automation
    async def program() -> None:
        await step(hidden)("thing")

    with pytest.raises(DefinitionError, match="step hidden: 'Nowhere' in its annotations is not known in its module"):
        await program.job(MemorySessions(), "x").run()


async def opens() -> Connection:
    return Connection()


def many() -> Any:
    yield 1


NAMELESS: Any = lambda: 1  # noqa: E731 - it is to have no name
SYNC: Any = draft.function


@pytest.mark.parametrize(
    ("define", "complaint"),
    [
        (lambda: step(opens), "step opens returns Connection, which cannot be recorded as JSON"),
        (lambda: step(lambda: 1), r"needs a name to be recorded under: step\(\.\.\., name=\.\.\.\)"),
        (lambda: step(many), "step many is a generator: return a list"),
        (lambda: step(Agent(FunctionModel(lambda _: "")), name=""), "needs a name to be recorded under"),
        (lambda: step(7), "@step takes a function, not 7"),  # type: ignore[call-overload]
        (lambda: automation(NAMELESS), "needs a name"),
        (lambda: automation(many), "automation many is a generator"),
        (lambda: automation(SYNC), "automation draft must be an async function"),
        (lambda: automation(opens), "automation opens returns Connection"),
    ],
    ids=["opens", "lambda", "generator", "agent", "seven", "lambda-automation", "many", "sync", "open-automation"],
)
def test_what_cannot_be_a_step_or_an_automation_is_named_where_it_is_written(
    define: Callable[[], object], complaint: str
) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        define()


async def test_a_call_that_was_not_awaited_is_no_argument() -> None:
    @automation
    async def program() -> None:
        forgotten = read("Ada")
        try:
            await draft(forgotten)  # type: ignore[arg-type]
        finally:
            forgotten.close()

    complaint = "step draft: the argument 'invoice' is a coroutine that was not awaited: write `await` before it"
    with pytest.raises(DefinitionError, match=complaint):
        await program.job(MemorySessions(), "x").run()


async def test_a_job_needs_a_name_and_sessions() -> None:
    called: Any = answer
    with pytest.raises(ConfigError, match=r"an automation runs as a job: answer\.job\(sessions, name\)\.run"):
        called("Ada")
    with pytest.raises(ConfigError, match="a job needs a name"):
        answer.job(MemorySessions(), "")
    with pytest.raises(ConfigError, match="sessions= takes all sessions"):
        answer.job("work.db", "x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'answer/x' was never started"):
        await answer.job(MemorySessions(), "x").resume()
    with pytest.raises(ConfigError, match="concurrency=0"):
        await gather(concurrency=0)


async def test_a_file_that_is_damaged_and_a_session_that_is_no_job_are_named(tmp_path: Path) -> None:
    path = tmp_path / "work.db"
    await anyio.Path(path).write_bytes(b"not a database" * 100)
    with pytest.raises(SessionError, match="it is not a SQLite database"):
        await answer.job(SQLiteSessions(path), "x").run("Ada")
    sessions = MemorySessions()
    await sessions["answer/x"].seed([{"role": "user", "content": "hello"}])
    with pytest.raises(StateError, match="session 'answer/x' does not hold a job"):
        await answer.job(sessions, "x").run("Ada")
    assert DONE == []


async def test_a_job_runs_once_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "work.db"

    @step
    async def again() -> None:
        with pytest.raises(SessionBusy, match="the job 'program/x' is already running, perhaps in another process"):
            await program.job(SQLiteSessions(path), "x").run()

    @automation
    async def program() -> None:
        await again()

    assert (await program.job(SQLiteSessions(path), "x").run()).status == "done"


def test_a_job_runs_in_code_that_is_not_async() -> None:
    assert call_sync(answer.job(MemorySessions(), "x").run, "Ada").output.startswith("sent to Ada")


async def test_another_journal_may_record_the_steps_too() -> None:
    class Engine(PlainJournal):
        def __init__(self) -> None:
            self.kept: dict[str, Any] = {}

        def reserve(self, key: str, kind: SlotKind) -> Slot:
            assert kind == "step"
            engine = self

            class Recording:
                async def run(self, effect: Callable[[], Awaitable[T]]) -> T:
                    if key not in engine.kept:
                        engine.kept[key] = await effect()
                    kept: T = engine.kept[key]
                    return kept

            return Recording()

    engine = Engine()
    await answer.job(MemorySessions(), "x", journal=engine).run("Ada")
    assert list(engine.kept) == ["answer/x:step:1", "answer/x:step:2", "answer/x:step:3"]
    DONE.clear()
    result = await answer.job(MemorySessions(), "x", journal=engine).run("Ada")
    assert (result.output, DONE) == ("sent to Ada: due 01.12.", [])
    assert json.loads(engine.kept["answer/x:step:1"])["step"] == "read"


async def test_map_runs_is_a_step_like_any_other_and_continues_too() -> None:
    sessions = MemorySessions()
    down = True

    def reply(request: ChatRequest) -> Answer:
        if down and request.messages[-1].text == "b":
            raise ModelError("down")
        return request.messages[-1].text.upper()

    agent = Agent(FunctionModel(reply), name="upper")

    @step
    async def all_of(prompts: list[str]) -> list[str]:
        return [each.output for each in await map_runs(agent, prompts, sessions=sessions)]

    @automation
    async def program() -> list[str]:
        return await all_of(["a", "b"])

    with pytest.raises(ModelError, match="down"):
        await program.job(sessions, "x").run()
    down = False
    assert (await program.job(sessions, "x").run()).output == ["A", "B"]
    assert isinstance(agent.model, FunctionModel)
    assert [each.messages[-1].text for each in agent.model.requests] == ["a", "b", "b"]


# Tools.


@tool(requires_approval=lambda _, arguments: arguments["cents"] > 1000)
async def refund(order: int, cents: int) -> str:
    """Pay money back."""
    act(f"refund {order}")
    if cents > 10_000:
        raise ToolError("too much")
    return f"refunded {cents}"


refund_step = step(refund)


@automation
async def refunds(cents: list[int]) -> list[str]:
    results = await gather(*[refund_step(order=place, cents=each) for place, each in enumerate(cents)])
    return [each.content for each in results]


async def test_a_tool_that_requires_approval_pauses_the_job_after_its_siblings_are_done() -> None:
    sessions = MemorySessions()
    paused = await refunds.job(sessions, "x").run([100, 2000, 200, 3000])
    assert paused.status == "paused"
    assert sorted(DONE) == ["refund 0", "refund 2"]
    assert [(each.id, each.name, dict(each.arguments)) for each in paused.pending] == [
        ("2", "refund", {"order": 1, "cents": 2000}),
        ("4", "refund", {"order": 3, "cents": 3000}),
    ]
    with pytest.raises(StateError, match="waits for decisions about refund, refund"):
        _ = paused.output
    job = refunds.job(sessions, "x")
    assert await job.status() == "paused"
    await job.approve("2", by="Ada")
    with pytest.raises(StateError, match="no call '2' of the job 'refunds/x' waits for a decision; waiting: '4'"):
        await job.approve("2")
    assert [each.id for each in (await job.resume()).pending] == ["4"]
    await job.deny("4", "too much")
    assert (await job.resume()).output == [
        "refunded 100",
        "refunded 2000",
        "refunded 200",
        "Error: not run: a person refused this call: too much",
    ]
    assert sorted(DONE) == ["refund 0", "refund 1", "refund 2"]


async def test_a_decision_may_change_the_arguments_or_bring_the_result() -> None:
    job = refunds.job(MemorySessions(), "x")
    await job.run([2000, 3000, 99_000])
    await job.approve("1", arguments={"order": 0, "cents": 500})
    await job.answer("2", "done by hand")
    await job.approve("3")
    assert (await job.resume()).output == ["refunded 500", "done by hand", "Error: too much"]


async def test_steps_that_could_not_start_before_the_job_paused_run_after_the_decision() -> None:
    @automation
    async def program() -> list[str]:
        calls = [refund_step(order=order, cents=2000) for order in (1, 2)]
        return [each.content for each in await gather(*calls, concurrency=1)]

    job = program.job(MemorySessions(), "x")
    for place in ("1", "2"):
        assert [each.id for each in (await job.run()).pending] == [place]
        await job.approve(place)
    assert (await job.run()).output == ["refunded 2000", "refunded 2000"]


async def test_a_decision_that_json_cannot_hold_is_refused() -> None:
    job = refunds.job(MemorySessions(), "x")
    await job.run([2000])
    with pytest.raises(DefinitionError, match="the answer to '1': the argument 'value' is a Connection"):
        await job.answer("1", Connection())
    with pytest.raises(DefinitionError, match="the approval of '1': the argument 'order' is a Connection"):
        await job.approve("1", arguments={"order": Connection()})
    assert [each.id for each in await job.pending()] == ["1"]


async def test_a_failure_next_to_a_call_that_waits_is_raised_and_the_call_still_waits() -> None:
    @automation
    async def program() -> None:
        await gather(refund_step(order=1, cents=2000), read("Ada"))

    job = program.job(MemorySessions(), "x")
    FAIL.add("read Ada")
    with pytest.raises(OSError, match="read Ada failed"):
        await job.run()
    assert [each.id for each in await job.pending()] == ["1"]
    FAIL.clear()
    await job.approve("1")
    assert (await job.run()).status == "done"


async def test_a_refusal_holds_even_if_the_tool_does_not_ask_any_more() -> None:
    sessions = MemorySessions()
    await refunds.job(sessions, "x").run([2000])
    await refunds.job(sessions, "x").deny("1")
    freed = step(tool(refund, requires_approval=lambda _, arguments: arguments["cents"] > 5000))

    async def changed(cents: list[int]) -> list[str]:
        return [(await freed(order=0, cents=each)).content for each in cents]

    result = await automation(changed, name="refunds").job(sessions, "x").run([2000])
    assert result.output == ["Error: not run: a person refused this call"]
    assert DONE == []


async def test_a_tool_receives_its_dependencies_and_a_key() -> None:
    @tool
    async def note(context: ToolContext[Connection], text: str) -> str:
        """Note something."""
        assert isinstance(context.deps, Connection)
        return f"{text} {context.idempotency_key}"

    noted = step(note, deps=Connection())

    @automation
    async def program() -> str:
        return (await noted(text="hi")).content

    assert (await program.job(MemorySessions(), "x").run()).output == "hi program/x:step:1"
    with pytest.raises(
        DefinitionError, match=r"tool note needs deps of the type Connection: step\(tool, deps=\.\.\.\)"
    ):
        step(note)


async def test_a_decision_holds_only_for_the_call_that_a_person_saw() -> None:
    sessions = MemorySessions()
    await refunds.job(sessions, "x").run([2000])
    await refunds.job(sessions, "x").approve("1")

    async def changed(cents: list[int]) -> None:
        await refund_step(order=7, cents=9000)

    with pytest.raises(StateError, match="step 1 of the job 'refunds/x' was called with other arguments"):
        await automation(changed, name="refunds").job(sessions, "x").run([2000])
    assert DONE == []


# Agents.


@tool
async def look_up(name: str) -> str:
    """Look somebody up."""
    act(f"look up {name}")
    return "a customer"


@tool(requires_approval=True)
async def write_to(name: str) -> str:
    """Write to somebody."""
    act(f"write to {name}")
    return "written"


def clerk_answers(request: ChatRequest) -> Answer:
    name = request.messages[0].text
    turn = sum(each.role == "assistant" for each in request.messages)
    act(f"turn {turn} of {name}")
    return ([call("look_up", name=name, id="l")], [call("write_to", name=name, id="w")], f"wrote to {name}")[turn]


clerk = step(Agent(FunctionModel(clerk_answers), tools=[look_up, write_to], name="clerk"))


@automation
async def letters(names: list[str]) -> list[str]:
    return [each.output for each in await gather(*[clerk(name) for name in names])]


async def test_an_agent_in_a_job_resumes_where_it_stood_and_its_approvals_pause_the_job() -> None:
    sessions = MemorySessions()
    FAIL.add("turn 1 of Ada")
    with pytest.raises(OSError, match="turn 1 of Ada failed"):
        await letters.job(sessions, "x").run(["Ada", "Bob"])
    FAIL.clear()
    paused = await letters.job(sessions, "x").resume()
    assert [(each.id, each.path, dict(each.arguments)) for each in paused.pending] == [
        ("1/w", ("clerk",), {"name": "Ada"}),
        ("2/w", ("clerk",), {"name": "Bob"}),
    ]
    await letters.job(sessions, "x").approve("1/w")
    await letters.job(sessions, "x").deny("2/w", "not him")
    result = await letters.job(sessions, "x").resume()
    assert result.output == ["wrote to Ada", "wrote to Bob"]
    assert [DONE.count(f"look up {name}") for name in ("Ada", "Bob")] == [1, 1]
    assert (DONE.count("write to Ada"), DONE.count("write to Bob")) == (1, 0)
    assert DONE.count("turn 1 of Ada") == 2, "only the turn that failed is asked again"


async def test_the_result_of_an_agent_is_whole_when_the_job_runs_again() -> None:
    agent = step(Agent(FunctionModel(lambda _: '{"value": 7}'), output_type=int, name="count"))
    seen: list[object] = []

    @automation
    async def program() -> int:
        result = await agent("how many?")
        seen.append((result.output, result.status, result.usage, [each.to_wire() for each in result.messages]))
        act("end")
        return result.output

    FAIL.add("end")
    job = program.job(MemorySessions(), "x")
    with pytest.raises(OSError, match="end failed"):
        await job.run()
    FAIL.clear()
    assert (await job.run()).output == 7
    assert seen[0] == seen[1]


async def test_another_prompt_for_a_run_that_has_begun_is_refused() -> None:
    async def program() -> None:
        await clerk("Bob" if not FAIL else "Ada")

    job = automation(program).job(MemorySessions(), "x")
    FAIL.add("turn 1 of Ada")
    with pytest.raises(OSError, match="failed"):
        await job.run()
    FAIL.clear()
    with pytest.raises(StateError, match="step 1 of the job 'program/x' was called with other arguments"):
        await job.run()
    assert "turn 0 of Bob" not in DONE
