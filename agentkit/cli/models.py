"""The models that can be named: those of known providers and of other packages, and the embedded one."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from typing import Annotated, Any
from urllib.parse import urlsplit

import anyio
import typer

from agentkit import local
from agentkit.chat import PROVIDERS, ChatClient
from agentkit.cli.errors import handle_errors
from agentkit.cli.options import DebugOption
from agentkit.cli.terminal_text import one_line
from agentkit.errors import ConfigError, MissingKey

app = typer.Typer(add_completion=False, rich_markup_mode=None)

__all__ = ["ModelList", "ProviderRow", "app", "check_key", "choose_model", "list_models"]


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A provider in the list. Its key is never shown, only whether it is set."""

    name: str
    base_url: str
    key_variable: str
    key_required: bool
    key_set: bool


@dataclass(frozen=True, slots=True)
class ModelList:
    """The output of ``agentkit models``.

    Attributes:
        providers: The known servers.
        registered: Names under the entry point group ``agentkit.models``, each with what it opens.
        llama_cpp: The extra ``agentkit[local]`` is installed.
        weights: The file with the embedded model's weights, if it exists.
    """

    providers: tuple[ProviderRow, ...]
    registered: Mapping[str, str]
    llama_cpp: bool
    weights: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the list for programs."""
        return asdict(self)

    def to_text(self) -> str:
        """Return the list for people."""
        embedded = "installed" if self.weights else "no weights yet, run `agentkit models pull`"
        if not self.llama_cpp:
            embedded = "not installed, needs the extra agentkit[local]"
        rows: list[tuple[str, str, str]] = []
        for row in self.providers:
            key = (
                f"{row.key_variable} {'is set' if row.key_set else 'not set'}" if row.key_variable else "no key needed"
            )
            optional = bool(row.key_variable) and not row.key_required and not row.key_set
            rows.append((f"{row.name}:MODEL", row.base_url, f"{key}, not needed" if optional else key))
        for name, target in self.registered.items():
            rows.append((name, f"embedded model: {embedded}" if name == "local" else target, ""))
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(
            f"{name:<{widths[0]}}  {where:<{widths[1]}}  {key}".rstrip()
            for name, where, key in (tuple(map(one_line, row)) for row in rows)
        )


# The model that a provider's key chooses: small, cheap, and good at calling tools. A provider whose variable serves
# other purposes too (GITHUB_TOKEN, HF_TOKEN), or whose models have names of the account's own, is never chosen.
_FIRST_MODELS: Mapping[str, str] = {
    "openai": "gpt-5-mini",
    "acedata": "gpt-5-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "openrouter": "openai/gpt-5-mini",
    "groq": "openai/gpt-oss-20b",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-chat",
    "xai": "grok-4",
    "together": "openai/gpt-oss-20b",
    "fireworks": "accounts/fireworks/models/gpt-oss-20b",
    "cerebras": "gpt-oss-120b",
}


def choose_model(given: str, environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Choose the model: the given one, that of ``AGENTKIT_MODEL``, the first one whose key is set, or the embedded one.

    Returns:
        Its name, and why it was chosen (empty if it was given).

    Raises:
        ConfigError: There is none: no key is set, and the embedded model is not installed.
    """
    if given:
        return given, ""
    if named := environment.get("AGENTKIT_MODEL", "").strip():
        return named, "AGENTKIT_MODEL names it"
    for name, model in _FIRST_MODELS.items():
        variable = PROVIDERS[name].key_variable
        if environment.get(variable, "").strip():
            return f"{name}:{model}", f"{variable} is set; --model or AGENTKIT_MODEL choose another"
    if local.find_weights() is None or importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(
            "there is no model: name one with --model (such as ollama:qwen3), set the key of a provider "
            "(such as OPENAI_API_KEY), or get the embedded one: the extra agentkit[local] and `agentkit models pull`"
        )
    return "local", "the embedded one, for trying things out, as no provider's key is set"


def check_key(model: object, environment: Mapping[str, str] = os.environ) -> None:
    """Check that the key of a provider's model is set, before any request.

    Raises:
        MissingKey: It is not set.
    """
    provider = PROVIDERS.get(model.name) if isinstance(model, ChatClient) else None
    if provider is not None and isinstance(model, ChatClient):
        provider = provider.from_environment(environment)
        if provider.base_url.rstrip("/") == model.base_url.rstrip("/"):
            try:
                provider.key(environment)
            except MissingKey as error:
                raise MissingKey(f"{error}, or choose another model (`agentkit models` lists them)") from None


def list_models(environment: Mapping[str, str] = os.environ) -> ModelList:
    """Look at the known providers, the environment and what is installed."""
    providers: list[ProviderRow] = []
    for known in PROVIDERS.values():
        provider = known
        with suppress(ConfigError):  # an invalid address is reported where it is used
            provider = known.from_environment(environment)
        parts = urlsplit(provider.base_url)  # user, password, query and fragment can hold keys
        providers.append(
            ProviderRow(
                name=provider.name,
                base_url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}",
                key_variable=provider.key_variable,
                key_required=provider.key_required,
                key_set=bool(provider.key_variable and environment.get(provider.key_variable, "").strip()),
            )
        )
    weights = local.find_weights()
    return ModelList(
        providers=tuple(providers),
        registered={entry.name: entry.value for entry in entry_points(group="agentkit.models")},
        llama_cpp=importlib.util.find_spec("xllamacpp") is not None,
        weights=str(weights) if weights else None,
    )


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: DebugOption = False,
) -> None:
    """List the providers; `agentkit models pull` downloads the embedded model.

    \b
    agentkit models
    agentkit models pull
    """  # noqa: D301
    if context.invoked_subcommand is None:
        with handle_errors(debug=debug):
            found = list_models()
            typer.echo(json.dumps(found.to_json(), indent=2) if as_json else found.to_text())


@app.command()
def pull(debug: DebugOption = False) -> None:
    """Download the weights of the embedded model (98 MB) into a cache, check their SHA-256, and prepare the model."""
    with handle_errors(debug=debug):
        typer.echo(f"looking for {local.WEIGHTS} ...", err=True)
        typer.echo(f"the embedded model's weights are in {local.pull()}")
        if importlib.util.find_spec("xllamacpp") is not None:
            typer.echo("preparing the model ...", err=True)
            anyio.run(local.open_model("").prepare)
