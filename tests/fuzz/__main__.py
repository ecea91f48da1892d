"""Runs atheris over the harness; the command line is that of libFuzzer."""

import importlib
import sys

atheris = importlib.import_module("atheris")  # not imported by name, so that nothing but `make fuzz` needs it
with atheris.instrument_imports(include=["agentkit.chat"]):
    harness = importlib.import_module("tests.fuzz.harness")

atheris.Setup(sys.argv, harness.one_input)
atheris.Fuzz()
