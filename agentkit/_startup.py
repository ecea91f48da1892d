"""How Python starts agentkit itself, as the command ``agentkit`` or ``python -m agentkit``.

``python -m agentkit`` puts the working directory first in ``sys.path``, so that a file ``trio.py`` that happens to be
there would run with the user's keys: it is taken out. The command ``agentkit`` has no such entry.

A command imports what it needs. It imports the package first, whose names all together take most of the time until
something is on the screen, so a process of the command gets them when the first one is used. The package imports this
module before all others.
"""

import sys
from itertools import pairwise
from pathlib import PurePath

__all__ = ["is_command"]

# Python documents that argv[0] is "-m" while it locates the module that it is going to run.
_is_module = sys.argv[:1] == ["-m"] and ("-m", "agentkit") in pairwise(sys.orig_argv)
if _is_module and not sys.flags.safe_path:
    del sys.path[0]

is_command = _is_module or PurePath(*sys.argv[:1]).stem == "agentkit"
"""True until the names of the package are needed, in a process of the command; always False in a program."""
