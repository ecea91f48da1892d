"""``agentkit doctor``: what a model and its server can do, and what agentkit will do about it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio

from agentkit.chat.client import ChatClient, open_model
from agentkit.chat.compat.profile import NO_FACTS, Profile, ProfileFile
from agentkit.chat.reply import Model
from agentkit.cli.terminal_text import one_line, shortened
from agentkit.errors import ConfigError
from agentkit.probe import CONSTRAINED, Finding, probe

__all__ = ["examine", "find_model"]

_WIDTH, _VERDICT = 40, 13
_ADVICE = (
    "This model calls no tools by itself, but ConstrainedTools can make it call some: "
    "Agent(ConstrainedTools(ChatClient(...))), from agentkit.constrained."
)


def find_model(where: str, model: str, key_variable: str, environment: Mapping[str, str] = os.environ) -> Model:
    """The model to examine: a name (``endpoint:model``, ``local``), or a URL with the model's name there.

    Raises:
        ConfigError: There is no such endpoint, or a name or a key is missing.
    """
    if "://" not in where:
        if model or key_variable:
            raise ConfigError("--name and --key-variable are for URLs; an endpoint's name says both by itself")
        return open_model(where)
    if not model:
        raise ConfigError("a URL does not say which model: add --name MODEL")
    key = environment.get(key_variable, "").strip() if key_variable else ""
    if key_variable and not key:
        raise ConfigError(f"the variable {key_variable} is not set")
    return ChatClient(where, model=model, api_key=key)


def examine(model: Model, *, name: str, as_json: bool, save: str, write: Callable[[str], None]) -> None:
    """Probe a model and print what was found.

    Raises:
        ModelError: Not even a plain question is answered.
        ConfigError: The key is missing, or the file cannot be written.
    """
    client = model if isinstance(model, ChatClient) else None
    if save and client is None:
        raise ConfigError("--save is for models of servers: nothing is kept of the embedded model")
    if save and client is not None:  # that it cannot be written is told before anything is asked
        ProfileFile(Path(save)).save(client.base_url, client.model, NO_FACTS)
    findings: list[Finding] = []

    def found(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            write(_row(finding))

    profile = anyio.run(_probe, model, found)
    if save and client is not None:
        ProfileFile(Path(save)).save(client.base_url, client.model, profile)
    if as_json:
        shown = client.base_url if client and "://" in name else name  # a password may stand in an address
        write(json.dumps(_report(shown, findings, profile), indent=2))
    else:
        write("\n".join([_settings(profile, save), *_advice(findings)]))


async def _probe(model: Model, found: Callable[[Finding], None]) -> Profile:
    try:
        return await probe(model, found)
    finally:
        close = getattr(model, "aclose", None)
        if close is not None:
            await close()


def _row(finding: Finding) -> str:
    note = f"  {shortened(finding.note)}" if finding.note else ""
    return f"{finding.name:<{_WIDTH}} {finding.verdict:<{_VERDICT}}{note}".rstrip()


def _settings(profile: Profile, save: str) -> str:
    facts = profile.to_json()
    if not facts:
        return "\nRequests are sent as they are written."
    lines = [f"  {name} = {one_line(json.dumps(value))}" for name, value in facts.items()]
    return "\n".join(
        ["", "Requests are changed to fit this profile:", *lines, *([f"It is in {save}."] if save else [])]
    )


def _report(name: str, findings: list[Finding], profile: Profile) -> dict[str, Any]:
    return {"model": name, "findings": [asdict(each) for each in findings], "profile": profile.to_json()}


def _advice(findings: list[Finding]) -> list[str]:
    able = any(each.name == CONSTRAINED and each.verdict in ("yes", "adapted") for each in findings)
    return ["", _ADVICE] if able else []
