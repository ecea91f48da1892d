"""The chat page: one HTML file that loads nothing else, and talks only to the server it came from."""

import base64
import hashlib
from functools import cache
from pathlib import Path

__all__ = ["chat_page"]


@cache
def chat_page(*, agents: bool, sessions: bool) -> tuple[str, str]:
    """Make the page.

    Args:
        agents: Whether agents answer, which report what they do, rather than models alone.
        sessions: Whether the server stores conversations.

    Returns:
        The HTML, and the content security policy to send with it.
    """
    script = f"{_asset('markdown.js')}\n{_asset('chat.js')}"
    style = _asset("chat.css")
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; connect-src 'self'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    words = {True: "yes", False: "no"}
    page = _asset("chat.html").replace("{agents}", words[agents]).replace("{sessions}", words[sessions])
    return page.replace("{style}", style).replace("{script}", script), policy


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
