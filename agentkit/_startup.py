"""Keep the working directory out of ``sys.path`` when Python starts agentkit itself.

``python -m agentkit`` puts the working directory first, so that a file ``trio.py`` that happens to be there would run
with the user's keys. The command ``agentkit`` has no such entry. The package imports this module before all others.
"""

import sys
from itertools import pairwise

# Python documents that argv[0] is "-m" while it locates the module that it is going to run.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and ("-m", "agentkit") in pairwise(sys.orig_argv):
    del sys.path[0]
