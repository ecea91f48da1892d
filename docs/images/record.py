"""Record a conversation on a real terminal as pictures: ``python docs/images/record.py`` writes the SVG files.

It needs tmux, whose screen is captured with its colors and drawn by rich.
"""

import os
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH, HEIGHT = 80, 30
SECONDS = 30


class Screen:
    """A terminal that runs the command."""

    def __init__(self, command: str, *, width: int = WIDTH) -> None:
        self.width = width
        self._tmux = ["tmux", "-L", f"agentkit-{os.getpid()}"]
        size = ["-x", str(width), "-y", str(HEIGHT)]
        self._run("-f", os.devnull, "new-session", "-d", "-s", "s", *size, "-c", str(HERE), command)

    def type(self, *keys: str) -> None:
        """Press keys."""
        self._run("send-keys", "-t", "s", *keys)

    def wait_for(self, text: str) -> None:
        """Wait until this is on the screen."""
        until = time.monotonic() + SECONDS
        while text not in self._run("capture-pane", "-t", "s", "-p"):
            if time.monotonic() > until:
                raise SystemExit(f"{text!r} did not come:\n{self._run('capture-pane', '-t', 's', '-p')}")
            time.sleep(0.1)

    def save(self, name: str) -> None:
        """Draw the screen."""
        lines = self._run("capture-pane", "-t", "s", "-p", "-e").rstrip("\n")
        console = Console(record=True, width=self.width, file=StringIO(), force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(lines))
        console.save_svg(str(HERE / name), title="agentkit chat", unique_id="agentkit")

    def close(self) -> None:
        """End it."""
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True)  # noqa: S603
        return done.stdout


def main() -> None:
    """Record the conversation."""
    with tempfile.TemporaryDirectory() as data:
        screen = Screen(f"AGENTKIT_DATA={data} PYTHONPATH={os.environ.get('PYTHONPATH', '')} "
                        f"{sys.executable} -m agentkit chat shop.py:agent")  # fmt: skip
        try:
            screen.wait_for("\n>\n")
            screen.type("Which orders in Paris are late?", "Enter")
            screen.wait_for("page 4 of 5")
            screen.save("calls.svg")
            screen.wait_for("tokens")
            screen.wait_for("\n>\n")
            screen.type("Call Grace: Monday.", "Enter")
            screen.wait_for("refuse:")
            screen.save("chat.svg")
        finally:
            screen.close()


if __name__ == "__main__":
    main()
