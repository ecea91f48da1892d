"""``agentkit doctor``: what a model and its server can do, and how agentkit will adapt."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import anyio
import typer

from agentkit.chat import ChatClient, Model, Profile, ProfileFile, http_engine, open_model
from agentkit.cli.errors import handle_errors
from agentkit.cli.models import check_key
from agentkit.cli.options import DebugOption
from agentkit.cli.terminal_text import one_line, printable, shortened
from agentkit.errors import ConfigError
from agentkit.probe import CONSTRAINED, REPLY_SECONDS, Finding, probe

__all__ = ["Examination", "doctor", "find_model"]

_WIDTH, _VERDICT = 40, 13
_ADVICE = (
    "This model calls no tools by itself, but ConstrainedTools can make it call some: "
    "Agent(ConstrainedTools(ChatClient(...))), from agentkit.constrained."
)


def find_model(where: str, model: str, key_variable: str, environment: Mapping[str, str] = os.environ) -> Model:
    """Open the model to examine: a name (``provider:model``, ``local``), or a URL and the model's name on that server.

    Raises:
        ConfigError: There is no such provider, or the name or key is missing.
    """
    if "://" not in where:
        if model or key_variable:
            raise ConfigError("--name and --key-variable are for URLs; a provider's name implies both")
        opened = open_model(where)
        check_key(opened)
        return opened
    if not model:
        raise ConfigError("a URL does not say which model: add --name MODEL")
    key = environment.get(key_variable, "").strip() if key_variable else ""
    if key_variable and not key:
        raise ConfigError(f"the variable {key_variable} is not set")
    return ChatClient(where, model=model, api_key=key)


@dataclass(slots=True, kw_only=True)
class Examination:
    """Probes a model and prints what was found.

    Args:
        model: The model.
        name: Its name, or the URL of its server.
        seconds: The longest wait for one reply.
        as_json: Print one JSON object at the end, instead of a line for each finding.
        save: The file to save the profile in, if any.
        write: Prints a string.
    """

    model: Model
    name: str
    seconds: float
    as_json: bool
    save: str
    write: Callable[[str], None]
    findings: list[Finding] = field(default_factory=list[Finding])

    def run(self) -> None:
        """Examine the model.

        Raises:
            ModelError: The model does not answer even a plain question.
            ConfigError: The key is missing, or the file cannot be written.
        """
        client = self.model if isinstance(self.model, ChatClient) else None
        if self.save:
            if client is None:
                raise ConfigError("--save is for models on servers: the embedded model has no profile")
            ProfileFile(Path(self.save)).save(
                client.base_url, client.model, Profile()
            )  # fails before anything is asked
        if client is not None and not self.as_json:
            self.write(f"{'HTTP engine':<{_WIDTH}} {http_engine()}")
        profile = anyio.run(self._probe)
        if self.save and client is not None:
            ProfileFile(Path(self.save)).save(client.base_url, client.model, profile)
        if self.as_json:
            shown = client.base_url if client and "://" in self.name else self.name  # without a password in the address
            findings = [asdict(each) for each in self.findings]
            self.write(
                json.dumps(
                    {"model": shown, "http_engine": http_engine(), "findings": findings, "profile": profile.to_json()},
                    indent=2,
                )
            )
            return
        facts = [f"  {name} = {one_line(json.dumps(value))}" for name, value in profile.to_json().items()]
        if facts:
            facts = ["Requests are changed to fit this profile:", *facts]
            facts += [f"It is in {self.save}."] if self.save else []
        lines = ["", *(facts or ["Requests are sent as they are written."])]
        if any(each.name == CONSTRAINED and each.verdict in ("yes", "adapted") for each in self.findings):
            lines += ["", _ADVICE]
        self.write("\n".join(lines))

    async def _probe(self) -> Profile:
        try:
            return await probe(self.model, self._add, seconds=self.seconds)
        finally:
            close = getattr(self.model, "aclose", None)
            if close is not None:
                with anyio.CancelScope(shield=True):
                    await close()

    def _add(self, finding: Finding) -> None:
        self.findings.append(finding)
        if not self.as_json:
            note = f"  {shortened(finding.note)}" if finding.note else ""
            self.write(f"{finding.name:<{_WIDTH}} {finding.verdict:<{_VERDICT}}{note}".rstrip())


def doctor(
    where: Annotated[str, typer.Argument(metavar="MODEL|URL", help="PROVIDER:MODEL, local, or a URL.")] = "local",
    name: Annotated[str, typer.Option("--name", metavar="MODEL", help="The model's name at the URL.")] = "",
    key_variable: Annotated[
        str, typer.Option("--key-variable", metavar="NAME", help="The environment variable with the key for the URL.")
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="SECONDS", help="Longest wait for one reply.")
    ] = REPLY_SECONDS,
    save: Annotated[
        str, typer.Option("--save", metavar="FILE", help="Save the learned profile, for profile_file=.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: DebugOption = False,
) -> None:
    """Find out what a model and its server can do, with about sixteen small requests.

    \b
    agentkit doctor ollama:qwen3
    agentkit doctor http://127.0.0.1:8000/v1 --name qwen3 --save profiles.json
    """  # noqa: D301
    with handle_errors(debug=debug):
        examination = Examination(
            model=find_model(where, name, key_variable),
            name=where,
            seconds=timeout,
            as_json=as_json,
            save=save,
            write=lambda text: typer.echo(printable(text)),
        )
        examination.run()
