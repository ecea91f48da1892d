"""Every public error survives being copied and pickled, as it must to come out of another process."""

import copy
import inspect
import pickle  # noqa: TID251 - what a process pool does to an error
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from agentkit import errors
from agentkit.errors import AgentKitError, RateLimited

GIVEN: dict[str, Any] = {
    "status": 429,
    "headers": {"retry-after": "1"},
    "code": "c",
    "request_id": "r",
    "body": "b",
    "which": "idle",
    "answered": True,
    "state": ["state"],
}


def kinds(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


def made(kind: type[BaseException]) -> BaseException:
    """An error of this kind with everything that it can hold."""
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    named = {
        each.name: GIVEN.get(each.name, "what happened")
        for each in parameters
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    error = kind(**named) if named else kind("what happened")
    for name in ("state", "partial", "params", "said", "limit", "got", "again", "generation"):
        if hasattr(kind, name):
            setattr(error, name, (name,))
    error.add_note("a note")
    return error


ALL = sorted({*(kinds(AgentKitError)), errors.Interrupted}, key=lambda kind: f"{kind.__module__}.{kind.__name__}")
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda error: pickle.loads(pickle.dumps(error)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_with_its_attributes(kind: type[BaseException], way: str) -> None:
    error = made(kind)
    again = WAYS[way](error)
    assert type(again) is kind
    assert again is not error
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_all_public_errors_are_in_that_test() -> None:
    assert {kind.__name__ for kind in ALL} >= set(errors.__all__)


def work() -> None:
    raise RateLimited("slow down", status=429, headers={"retry-after": "3"})


def test_an_error_comes_out_of_a_process_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(RateLimited) as caught:
        pool.submit(work).result(timeout=60)
    assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "3"})
