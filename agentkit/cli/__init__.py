"""The command ``agentkit`` (extra ``agentkit[cli]``).

The commands are in `agentkit.cli.app`; this module can be imported without the extra.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with the arguments of the process, or with the given ones.

    Returns:
        The exit code: 0 done, 1 the run failed, 2 bad input or configuration, 3 the run ended at a limit,
        4 a call waits for a decision, 130 interrupted, 141 the reader of the output has gone.
    """
    try:
        from agentkit.cli.app import run_command  # noqa: PLC0415 - without the extra: a sentence, not a traceback

        return run_command(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "prompt_toolkit"):
            raise
        sys.stderr.write(
            f"error: the command needs {error.name}: install the extra `agentkit[cli]`, "
            "from the checkout with pip install '.[cli]'\n"
        )
        return 2
