import atexit
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Generator, Sequence

import pytest
from hypothesis import HealthCheck, settings

# How fast an example is made or run says nothing about the code here, only about what else the machine is doing.
# The examples are the same in every run, so that a suite that passed passes again; `make explore` looks for new ones.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

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
    """Every async test runs on both."""
    backend: str = request.param
    return backend


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Refuse tests whose names differ from process to process: workers would not agree on what there is to run."""
    unstable = [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6}", item.nodeid)]
    if unstable:
        raise pytest.UsageError(f"give these parameters ids: {unstable[:3]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape half a character in what a test printed or logged: a worker could not send it."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode("utf-8")) for title, text in report.sections
    ]
    return report
