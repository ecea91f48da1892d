"""Replace secrets in traces by ``***``: known ones, and strings that look like one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from agentkit.chat import Redactor

__all__ = ["Mask"]

_STARS = "***"
_STEP = 8  # characters: parts of a secret this long are found without decoding every escape
_SECRET_VARIABLE = re.compile(r"(^|_)(API_?KEY|ACCESS_?KEY|SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_?KEY)$", re.I)
_SECRET_MEMBER = re.compile(
    r"(.*[_-])?(api[_-]?key|secret([_-]key)?|(access|refresh|auth|id|session)[_-]?token|token|password|passwd"
    r"|private[_-]?key|authorization|cookie|credentials?)",
    re.I,
)
_PLAIN = re.compile(r"[\w.-]+")
_IN_JSON = re.compile(r'"([^"\\]{1,64})"(\s*:\s*)"((?:[^"\\]|\\.)+)"')
_FORMS = (  # a string without the first of a pair is not searched for the second
    ("sk-", re.compile(r"\bsk-[\w-]{16,}")),
    ("gh", re.compile(r"\b(?:gh[oprsu]_\w{20,}|github_pat_\w{20,})")),
    ("xox", re.compile(r"\bxox[abeoprs]-[\w-]{10,}")),
    ("A", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{30,}")),
    ("hf_", re.compile(r"\bhf_\w{20,}")),
    ("eyJ", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")),
    ("PRIVATE KEY", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)),
    ("earer", re.compile(r"(?<=[Bb]earer )[\w.~+/-]{8,}=*")),
    ("asic", re.compile(r"(?<=[Bb]asic )[\w.~+/-]{12,}=*")),
    ("://", re.compile(r"(?<=://)[^/\s:@\"']{1,200}:[^/\s:@\"']{1,200}(?=@)")),
)


class Mask:
    """Masks secrets in JSON values.

    It masks the given secrets and the values of environment variables that are named like a secret (``OPENAI_API_KEY``,
    ``DB_PASSWORD``), whole or in part and however they are escaped; strings that look like well-known kinds of keys,
    tokens and logins; and string members of objects that are named like a secret (``"password": "..."``).

    Args:
        secrets: Further secrets, each of at least 8 characters.
        environment: The environment variables; those of the process by default.
    """

    def __init__(self, secrets: Iterable[str] = (), *, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        known = {each for each in secrets if len(each) >= _STEP}
        known |= {
            value.strip()
            for name, value in variables.items()
            if _SECRET_VARIABLE.search(name) and len(value.strip()) >= _STEP and not value.startswith(("/", "file:"))
        }
        self._redactor = Redactor()
        self._redactor.add(*known)
        is_plain = all(_PLAIN.fullmatch(each) for each in known)  # then an escape of one has the code of a character
        self._escapes = re.compile(r"\\[ux]|%[0-9a-fA-F]{2}|&#" if is_plain else r"\\|%|&")
        self._parts = {each[at : at + _STEP].lower() for each in known for at in range(0, len(each) - _STEP + 1, _STEP)}

    def __call__(self, value: Any) -> Any:
        """Return the JSON value with its secrets masked."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            members = cast("Mapping[str, Any]", value)
            is_logprob = "logprob" in members  # its "token" is a word
            return {
                name: _STARS
                if each and isinstance(each, str) and _SECRET_MEMBER.fullmatch(name) and not is_logprob
                else self(each)
                for name, each in members.items()
            }
        if isinstance(value, list):
            return list(map(self, cast("Iterable[Any]", value)))
        return value

    def _text(self, text: str) -> str:
        if self._parts:
            lower = text.lower()
            if self._escapes.search(text) or any(part in lower for part in self._parts):
                text = self._redactor(text)
        for start, form in _FORMS:
            if start in text:
                text = form.sub(_STARS, text)
        return _IN_JSON.sub(_masked_member, text) if '"' in text and ":" in text else text


def _masked_member(found: re.Match[str]) -> str:
    return f'"{found[1]}"{found[2]}"{_STARS}"' if _SECRET_MEMBER.fullmatch(found[1]) else found[0]
