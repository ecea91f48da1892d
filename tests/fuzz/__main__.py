"""Runs atheris over the harness: ``python -m tests.fuzz [TARGET] ...``; the rest of the command line is libFuzzer's.

It begins with the answers of the conformance suite, and what it finds is kept in ``.hypothesis/fuzz``. Without the name
of a target it works on all of them.
"""

import hashlib
import importlib
import sys
from pathlib import Path

atheris = importlib.import_module("atheris")  # not imported by name, so that nothing but `make fuzz` needs it
with atheris.instrument_imports(include=["agentkit.chat"]):
    harness = importlib.import_module("tests.fuzz.harness")
    answers = importlib.import_module("tests.fuzz.answers").ANSWERS

targets = {each.__name__: bytes([number]) for number, each in enumerate(harness.TARGETS)}
only = targets.get(sys.argv[1] if sys.argv[1:] else "", b"")


def one_input(data: bytes) -> None:
    harness.one_input(only + data[1:] if only else data)


corpus = Path(".hypothesis", "fuzz", sys.argv[1] if only else "all")  # with what was found before; git ignores it
corpus.mkdir(parents=True, exist_ok=True)
seeds = {seed for body in answers for seed in harness.seeds(body) if seed.startswith(only)}
for seed in seeds:
    (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)  # as libFuzzer names them
arguments = [sys.argv[0], f"-artifact_prefix={corpus.parent}/", *sys.argv[2 if only else 1 :], str(corpus)]
atheris.Setup(arguments, one_input)
atheris.Fuzz()
