import atexit
import gc
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.explore import EXPLORE

# How fast an example is made or run says nothing about the code here, only about what else the machine is doing.
# The examples are few and the same in every run, so that a suite that passed passes again; `make explore` looks for new
# ones, and at many more of them.
settings.register_profile("always", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", settings.get_profile("always"), derandomize=True, max_examples=30)
settings.register_profile("explore", settings.get_profile("always"), max_examples=300)
settings.load_profile("explore" if EXPLORE else "suite")

# The commands that tests run have a log of their own.
os.environ["AGENTKIT_DATA"] = tempfile.mkdtemp(prefix="agentkit-data-")
atexit.register(shutil.rmtree, os.environ["AGENTKIT_DATA"], ignore_errors=True)

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# These need programs that only `make interop` and `make clients` install.
collect_ignore = [] if os.environ.get("AGENTKIT_INTEROP") else ["interop", "live/test_clients.py"]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Every async test runs on both, apart from tables with the mark `turns`."""
    backend: str = request.param
    return backend


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out rows whose turn it is on the other event loop, and refuse names that differ in each process.

    Workers would not agree on what there is to run.
    """
    items[:] = [item for item in items if is_its_turn(item)]
    unstable = [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6}", item.nodeid)]
    if unstable:
        raise pytest.UsageError(f"give these parameters ids: {unstable[:3]}")


def is_its_turn(item: pytest.Item) -> bool:
    """Whether a row of a table with the mark `turns` runs on this event loop: every second one, like a chessboard.

    `make explore` runs all rows on both.
    """
    if EXPLORE or item.get_closest_marker("turns") is None:
        return True
    assert isinstance(item, pytest.Function)
    *places, backend = sorted(item.callspec.indices.items(), key=lambda each: each[0] == "anyio_backend")
    assert backend[0] == "anyio_backend", "the mark is for async tests"
    return (sum(place for _, place in places) + backend[1]) % 2 == 0


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the collector of garbage away from modules and tests, which stay: it would read them over and over."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape half a character in what a test printed or logged: a worker could not send it."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode("utf-8")) for title, text in report.sections
    ]
    return report
