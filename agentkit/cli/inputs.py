"""The question: the words on the command line, piped input, and attached files."""

from __future__ import annotations

import contextlib
import mimetypes
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from agentkit import FilePart, ImagePart, TextPart
from agentkit.errors import ConfigError
from agentkit.messages import AudioPart, ContentPart
from agentkit.run import Prompt

__all__ = ["attach", "read_prompt"]

_PATIENCE = 2.0  # seconds without input after which a note says that a pipe is being read


def read_prompt(prompt: str | None, attachments: Sequence[str] = ()) -> Prompt | None:
    """Put the question together: what is piped in, then what was typed, then the attached files.

    Args:
        prompt: What was typed; ``-`` for standard input alone.
        attachments: Files, or URLs of images; ``-`` for standard input.

    Returns:
        None if there is nothing at all.

    Raises:
        ConfigError: Standard input is not text, or a file cannot be read or sent.
    """
    piped = "" if "-" in attachments else _read_pipe(wanted=prompt == "-")
    typed = "" if prompt is None or prompt == "-" else prompt
    if prompt is not None and prompt != "-" and not typed.strip() and not piped.strip():
        return prompt  # an empty question is refused, not treated as a missing one
    text = f"{piped.rstrip()}\n\n{typed}" if piped.strip() and typed else typed or piped
    parts = [attach(each) for each in attachments]
    if not parts:
        return text or None
    return [TextPart(text), *parts] if text.strip() else parts


def _read_pipe(*, wanted: bool) -> str:
    """Read standard input if it is not a terminal, or if it is wanted anyway."""
    if sys.stdin is None or (sys.stdin.isatty() and not wanted):
        return ""
    note = "reading standard input; add `< /dev/null` if there is none\n"
    waiting = threading.Timer(_PATIENCE, lambda: sys.stderr.write(note))
    waiting.daemon = True
    waiting.start()
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"standard input is not {error.encoding} text: {error.reason}; -a - attaches it as a file"
        ) from error
    except (OSError, ValueError):  # closed, or not readable
        return ""
    finally:
        waiting.cancel()


def attach(where: str) -> ContentPart:
    """Make a part of a message from a file or a URL: an image, sound, a PDF, or text.

    Raises:
        ConfigError: It cannot be read, is empty, or is of a kind that no model reads.
    """
    if where.startswith(("http://", "https://", "data:")):
        return ImagePart(where)
    path = Path(where)
    try:
        data = sys.stdin.buffer.read() if where == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the attachment {where!r} cannot be read: {error.strerror}") from None
    if not data:
        raise ConfigError(f"the attachment {where!r} is empty")
    name = "standard input" if where == "-" else path.name
    kind = mimetypes.guess_type(name)[0] or ""
    if data.startswith(b"%PDF-"):
        return FilePart.from_bytes(data, filename="input.pdf" if where == "-" else name)
    if kind.startswith("audio/"):
        return AudioPart.from_path(path)
    if kind.startswith("image/") and kind != "image/svg+xml":
        return ImagePart.from_bytes(data, mime_type=kind)
    with contextlib.suppress(UnicodeDecodeError):
        if "\0" not in (text := data.decode()):
            return TextPart(f"{name}:\n\n{text}")
    try:
        return ImagePart.from_bytes(data)
    except ConfigError:
        raise ConfigError(f"the attachment {where!r} is not an image, audio, PDF or text file") from None
