"""Every fault, streamed and not, over each client: what may come of it, and what must hold whatever comes.

A fault is played in two ways: for ever, to a client that tries once; and once, after a call that was made and before an
ordinary answer, to a client that tries twice. What holds for every run is in `play.check`.

The clients are our own connection pool and a caller's client of each library. How connections fail, and deadlines, is
played over all of them, streamed and not: over our own on asyncio and trio, while for the others these take turns. What
is only in the bytes of an answer is the same however it arrives: there our own pool and a caller's httpx client take
turns as well (see `rows`). What is about memory is played with small limits, and once with the limits that everybody
has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product, repeat
from typing import Any, TypeAlias

import httpx2
import pytest

from agentkit.chat import ChatClient, ChatRequest, RetryPolicy
from agentkit.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    DeadlineExceeded,
    IncompleteReply,
    InvalidReply,
    ModelError,
    Overloaded,
    QuotaExceeded,
    RateLimited,
)
from agentkit.messages import UserMessage
from agentkit.testing import FAULTS, call
from agentkit.testing.server import TEXT, Request, Scripted
from agentkit.testing.server.table import events, fine
from agentkit.testing.server.wire import answer_of, head
from tests.conformance.server import Server as InMemory
from tests.faults.play import (
    AMPLE,
    CLIENTS,
    FULL,
    QUICK,
    QUICK_WHOLE,
    SMALL,
    Outcome,
    certificate,
    play,
)

pytestmark = pytest.mark.anyio

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@dataclass(frozen=True)
class Expected:
    """What may come of a fault.

    Attributes:
        ends: The texts and errors a run may end with.
        streamed: The same when streaming was asked for, if it differs.
        again: Whether a second try follows a failed one.
        shown: Whether text was shown when it is streamed, so that no second try follows there.
        waits: Whether it is a deadline that ends it, so that the deadlines are short.
        large: Whether it is about memory.
    """

    ends: tuple[str | type[ModelError], ...]
    streamed: tuple[str | type[ModelError], ...] = ()
    again: bool = True
    shown: bool = False
    waits: bool = False
    large: bool = False


def fails(*ends: str | type[ModelError], **more: Any) -> Expected:
    return Expected(ends, **more)


FINE = Expected((TEXT,))
BROKEN = fails(ConnectionFailed)
LATE = fails(DeadlineExceeded, waits=True)
STALLED = fails(DeadlineExceeded, waits=True, again=False)  # the server had begun to answer: it may still be at it

EXPECTED: Mapping[str, Expected] = {
    "refused": fails(ConnectionFailed),
    "syn_blackhole": LATE,
    "reset_before_status": BROKEN,
    "closed_before_status": BROKEN,
    "reset_mid_headers": BROKEN,
    "closed_mid_headers": BROKEN,
    "headers_never": LATE,
    "headers_slowly": LATE,
    "headers_huge": BROKEN,
    "chunk_size_bad": fails(ConnectionFailed),
    "chunk_cut": BROKEN,
    "chunk_last_missing": fails(ConnectionFailed, streamed=(TEXT,), shown=True),
    "length_too_long": fails(ConnectionFailed, streamed=(TEXT,), shown=True),
    "length_too_short": fails(InvalidReply, streamed=(IncompleteReply,), shown=True),
    "length_and_chunked": fails(TEXT, ConnectionFailed),
    "informational_noise": FINE,
    "redirect_loop": fails(BadRequest, again=False),
    "redirect_private": fails(BadRequest, again=False),
    "redirect_downgrade": fails(BadRequest, again=False),
    "redirect_other_host": fails(BadRequest, again=False),
    "keep_alive_closed": FINE,
    "keep_alive_reset": FINE,
    "keep_alive_broken": FINE,
    "tls_cut": fails(ConnectionFailed, InvalidReply, IncompleteReply, shown=True),
    "status_408": fails(BadRequest),
    "status_409": fails(BadRequest),
    "rate_limited_ms": fails(RateLimited),
    "rate_limited_seconds": fails(RateLimited),
    "rate_limited_date": fails(RateLimited),
    "rate_limited_garbage": fails(RateLimited),
    "rate_limited_negative": fails(RateLimited),
    "rate_limited_endless": fails(RateLimited),
    "rate_limited_huge": fails(RateLimited, again=False),
    "quota_exceeded": fails(QuotaExceeded, again=False),
    "status_500": fails(Overloaded),
    "status_502": fails(Overloaded),
    "status_503": fails(Overloaded),
    "status_504": fails(Overloaded),
    "status_529": fails(Overloaded),
    "unauthorized": fails(AuthenticationFailed, again=False),
    "too_large": fails(BadRequest, ContextTooLong, again=False),
    "context_too_long": fails(ContextTooLong, again=False),
    "html_200": fails(InvalidReply),
    "empty_200": fails(InvalidReply),
    "wrong_content_type": FINE,
    "error_200": fails(Overloaded),
    "error_text_200": fails(Overloaded),
    "choices_empty": fails(InvalidReply),
    "choices_null": fails(InvalidReply),
    "message_null": fails(InvalidReply),
    "fields_odd": FINE,
    "json_cut": fails(InvalidReply),
    "gzip_bomb": fails(InvalidReply, large=True),
    "deflate_bomb": fails(InvalidReply, large=True),
    "brotli_bomb": fails(InvalidReply, again=False, large=True),
    "zstd_bomb": fails(InvalidReply, again=False, large=True),
    "gzip_unasked": fails(TEXT, InvalidReply),
    "encoding_wrong": fails(TEXT, InvalidReply),
    "single_bytes": FINE,
    "line_ends_mixed": FINE,
    "byte_order_mark": FINE,
    "noise": FINE,
    "data_many_lines": FINE,
    "no_space": FINE,
    "no_done": FINE,
    "done_unended": FINE,
    "data_after_done": FINE,
    "eof_at_once": fails(InvalidReply, IncompleteReply),
    "eof_after_role": fails(IncompleteReply),
    "eof_after_text": fails(IncompleteReply, shown=True),
    "eof_in_event": fails(IncompleteReply, shown=True),
    "eof_after_call": fails(IncompleteReply),
    "eof_after_empty_reason": fails(IncompleteReply),
    "reset_after_text": fails(ConnectionFailed, shown=True),
    "line_50_mb": fails(InvalidReply, large=True),
    "event_50_mb": fails(InvalidReply, large=True),
    "endless": fails(InvalidReply, shown=True, large=True),
    "endless_comments": fails(InvalidReply, large=True),
    "endless_empty": fails(InvalidReply, large=True),
    "slow_loris": STALLED,
    "slow_events": STALLED,
    "stall": fails(DeadlineExceeded, shown=True, waits=True),
    "stall_at_once": STALLED,
    "stall_in_call": STALLED,
    "stall_after_done": fails(TEXT, waits=True),
    "stall_after_reason": Expected((TEXT,), waits=True),
    "event_broken": fails("It is end.", IncompleteReply, shown=True),
    "event_broken_last": fails(IncompleteReply, shown=True),
    "event_broken_in_call": fails(IncompleteReply, InvalidReply),
    "event_text": FINE,
    "error_event": fails(Overloaded),
    "error_in_stream": fails(Overloaded),
    "error_after_text": fails(Overloaded, shown=True),
    "error_after_call": fails(Overloaded),
    "error_as_reason": fails(InvalidReply),
    "utf8_invalid": fails("a\ufffdb"),
    "nul": fails("a\ufffdb", "a\x00b", "ab"),
    "surrogate_alone": fails("a\ufffdb"),
    "surrogates_apart": fails("a\ufffd\ufffdb", "a\U0001f388b"),
}

ONE, TWO = [("pay", 1)], [("pay", 1), ("pay", 2)]
NOTHING: list[tuple[str, Any]] = []

DONE: Mapping[str, tuple[list[tuple[str, Any]], ...]] = {  # what the tools may have done
    "ids_equal": (TWO,),
    "id_null": (ONE,),
    "id_empty": (ONE,),
    "id_number": (ONE,),
    "id_1_mb": (ONE,),
    "id_odd": (ONE,),
    "indexes_equal": (TWO,),
    "indexes_missing": (TWO,),
    "indexes_with_gaps": (TWO,),
    "indexes_backwards": (TWO,),
    "calls_interleaved": (TWO,),
    "name_split": (ONE,),
    "name_repeated": (ONE,),
    "name_late": (ONE,),
    "id_everywhere": (ONE,),
    "id_new_everywhere": (ONE,),
    "arguments_empty": (NOTHING,),
    "arguments_null": (NOTHING,),
    "arguments_array": (NOTHING,),
    "arguments_cut": (NOTHING,),
    "arguments_wrong_type": (NOTHING,),
    "arguments_object": (ONE,),
    "arguments_twice": (ONE,),
    "arguments_keys_twice": (NOTHING, [("pay", 2)]),
    "arguments_nan": (NOTHING,),
    "arguments_1e999": (NOTHING,),
    "arguments_2_70": ([("pay", 2**70)],),
    "arguments_digits": (NOTHING,),
    "arguments_surrogate": (NOTHING, ONE),
    "arguments_deep": (NOTHING,),
    "arguments_10_mb": ([("note", 10_000_000)],),
    "name_unknown": (NOTHING,),
    "name_near": (NOTHING, ONE),
    "name_odd": (NOTHING, ONE),
    "name_long": (NOTHING,),
    "name_unknown_beside_good": (ONE,),
    "calls_with_stop": (ONE,),
    "text_with_calls": (ONE,),
    "function_call": (ONE,),
    "length_with_call": (NOTHING,),
    "length_in_call": (NOTHING,),
    "filter_with_call": (NOTHING,),
    "calls_128": ([("pay", amount) for amount in range(128)],),
}


def check_end(outcome: Outcome, ends: tuple[str | type[ModelError], ...]) -> None:
    assert (outcome.text if outcome.error is None else type(outcome.error)) in ends, outcome.error


Row: TypeAlias = tuple[str, str, bool, str]  # fault, client, streamed, backend
PLACES = {name: place for place, name in enumerate(FAULTS)}


def rows(names: Iterable[str]) -> list[Row]:
    """All combinations that are played."""
    every = product(names, CLIENTS, (True, False), ("asyncio", "trio"))
    return [row for row in every if is_possible(row) and (is_ours_to_carry(row) or is_its_turn(row))]


def is_possible(row: Row) -> bool:
    """Our own pool trusts no certificate that is made for a test."""
    return row[:2] != ("tls_cut", "own")


def is_of_transport(name: str) -> bool:
    """Whether the library and the event loop take part in it: how a connection and HTTP fail, and deadlines."""
    return FAULTS[name].number <= 16 or (name in EXPECTED and EXPECTED[name].waits)


def is_ours_to_carry(row: Row) -> bool:
    """Whether it is how our own pool, on each event loop, bears what a connection does."""
    return row[1] == "own" and is_of_transport(row[0])


def is_its_turn(row: Row) -> bool:
    """Our own pool has streams on asyncio and the rest on trio, a client of httpx the other way round; then they swap.

    A caller's httpx2 client is of the same library as our pool: only its connections differ. What takes long to send is
    sent to our pool alone.
    """
    name, library, stream, backend = row
    if (library == "httpx2" and not is_of_transport(name)) or (library == "httpx" and name == "arguments_10_mb"):
        return False
    swapped = (library == "httpx") != (PLACES[name] % 2 == 1)
    return swapped != (stream == (backend == "asyncio"))


def played(names: Iterable[str]) -> pytest.MarkDecorator:
    ids = {True: "stream", False: "whole"}
    params = [pytest.param(*row, id=f"{row[0]}-{row[1]}-{ids[row[2]]}-{row[3]}") for row in rows(names)]
    return pytest.mark.parametrize(("name", "library", "stream", "anyio_backend"), params)


def test_every_fault_has_its_row() -> None:
    assert {*EXPECTED, *DONE, "name_missing", "calls_missing"} == set(FAULTS)


def test_every_fault_is_played_in_both_modes_over_both_libraries() -> None:
    played = {row[:3] for row in rows(FAULTS)}
    assert {(name, stream) for name, _, stream in played} == set(product(FAULTS, (True, False)))
    assert {name for name, library, _ in played if library == "httpx"} == set(FAULTS) - {"arguments_10_mb"}
    assert {row[1:] for row in rows(FAULTS)} == set(product(CLIENTS, (True, False), ("asyncio", "trio")))


@played(EXPECTED)
async def test_a_fault_ends_in_its_error_or_in_what_the_server_finished(
    name: str, library: str, stream: bool, anyio_backend: str
) -> None:
    tls = certificate()[0] if name == "tls_cut" else None
    size = None
    if EXPECTED[name].large:
        size = FULL if (library, stream) == ("own", True) else SMALL
    await check_fault(name, library=library, stream=stream, tls=tls, size=size)


async def check_fault(name: str, *, stream: bool, **client: Any) -> None:
    quick = QUICK if stream else QUICK_WHOLE
    fault, expected = FAULTS[name], EXPECTED[name]
    ends = (expected.streamed if stream else ()) or expected.ends
    options: dict[str, Any] = {"stream": stream, "deadlines": quick if expected.waits else AMPLE, **client}
    outcome = await play(repeat(fault), **options)
    check_end(outcome, ends)
    assert outcome.did == []
    assert len(outcome.requests) == (fault.listen is None)
    if fault.listen is not None or (expected.waits and not stream):  # the wait for a second try costs time
        return
    paid: list[Scripted] = [] if expected.waits else [call("pay", amount=1)]
    outcome = await play([*paid, fault, "good"], tries=2, **options)
    final = not expected.again or (stream and expected.shown)
    check_end(outcome, ends if final else ("good", *(end for end in ends if isinstance(end, str))))
    assert outcome.did == ONE * len(paid)
    assert len(outcome.requests) <= 2 + len(paid)


@played(DONE)
async def test_of_odd_calls_those_run_that_were_meant_and_each_once(
    name: str, library: str, stream: bool, anyio_backend: str
) -> None:
    outcome = await play([FAULTS[name], "done"], stream=stream, library=library)
    check_end(outcome, ("done",))
    assert sorted(outcome.did) in [sorted(did) for did in DONE[name]]
    assert len(outcome.requests) == 2


@played(["name_missing"])
async def test_a_call_without_a_name_is_no_answer(name: str, library: str, stream: bool, anyio_backend: str) -> None:
    outcome = await play([FAULTS[name], "done"], stream=stream, tries=2, library=library)
    check_end(outcome, ("done",))
    assert outcome.did == []


@played(["calls_missing"])
async def test_text_that_says_it_has_calls_is_text(name: str, library: str, stream: bool, anyio_backend: str) -> None:
    outcome = await play([FAULTS[name]], stream=stream, library=library)
    check_end(outcome, (TEXT,))


@both
@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if isinstance(expected.ends[0], str)])
async def test_what_was_read_from_an_odd_answer_can_be_sent_again(name: str, stream: bool) -> None:
    quick = QUICK if stream else QUICK_WHOLE
    deadlines = quick if EXPECTED[name].waits else AMPLE
    outcome = await play([FAULTS[name], "good"], stream=stream, deadlines=deadlines, tries=2, runs=2)
    assert outcome.text == "good"


@both
async def test_a_reply_that_ends_after_any_byte_is_whole_or_an_error(stream: bool) -> None:
    whole = b"".join(answer_of(fine("abc"), Request("", "", {}, b'{"stream": true}' if stream else b"{}")))
    start = whole.index(b"\r\n\r\n") + 4
    body = whole[start:] if not stream else b"".join(events("abc"))
    finished = body.index(b'"stop"') if stream else len(body) - 1
    kind = "text/event-stream" if stream else "application/json"
    answers = [b"".join([head(content_type=kind, connection="close"), body[:cut]]) for cut in range(len(body) + 1)]
    async with httpx2.AsyncClient(transport=InMemory(answers, (), []).transport(), trust_env=False) as http:
        client = ChatClient("http://server.test/v1", model="m", retry=RetryPolicy(retries=0), http=http)
        for cut in range(len(body) + 1):
            try:
                reply = await client.reply(ChatRequest(messages=[UserMessage("hi")], stream=stream))
                assert (reply.text, cut > finished) == ("abc", True)
            except (IncompleteReply, InvalidReply):
                assert cut < len(body) if not stream else cut <= finished + len(b'"stop"}]}')
