"""The table of known servers: where they are, which variable holds their key, and what they can do.

A row is all it takes to add a server. Anything not in the table is reached with ``ChatClient(base_url, model=...)``.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from agentkit.chat.compat.profile import NO_FACTS, Profile
from agentkit.chat.transport.address import parse_address
from agentkit.errors import ConfigError, MissingKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A server that speaks Chat Completions.

    Attributes:
        name: The provider in ``provider:model``.
        base_url: What ``/chat/completions`` is appended to.
        base_url_variable: The environment variable that replaces ``base_url``.
        host_variable: An environment variable that replaces only the host, as ``host``, ``host:port`` or a URL.
        address_required: Whether one of these variables must be set, as each account has an address of its own.
        key_variable: The environment variable with the key; it is sent to this provider only.
        key_required: Whether requests without a key are refused before they are sent.
        key_header: The header that the key is sent in, if not as a bearer token.
        profile: The facts that are certain for all its models.
    """

    name: str
    base_url: str
    base_url_variable: str = ""
    host_variable: str = ""
    address_required: bool = False
    key_variable: str = ""
    key_required: bool = True
    key_header: str = ""
    profile: Profile = NO_FACTS

    def from_environment(self, environment: Mapping[str, str] = os.environ) -> Provider:
        """Replace the base URL by the one in the environment.

        A user's own server may need no key, so a base URL on another host makes the key optional.

        Raises:
            ConfigError: It is not the address of a server.
        """
        for variable in filter(None, (self.base_url_variable, self.host_variable)):
            given = environment.get(variable, "").strip()
            if not given:
                continue
            base_url = self._at_host(given) if variable == self.host_variable else given
            try:
                elsewhere = urlsplit(parse_address(base_url).base_url).hostname != urlsplit(self.base_url).hostname
            except ConfigError as error:
                raise ConfigError(f"{variable} is wrong: {error}") from error
            optional = elsewhere and not self.address_required
            return replace(self, base_url=base_url, key_required=self.key_required and not optional)
        return self

    def key(self, environment: Mapping[str, str] = os.environ) -> str:
        """Read the key from the provider's own variable.

        Raises:
            MissingKey: It is required and missing.
        """
        key = environment.get(self.key_variable, "").strip() if self.key_variable else ""
        if self.key_required and not key:
            raise MissingKey(f"{self.name} needs a key: set the environment variable {self.key_variable}")
        return key

    def _at_host(self, given: str) -> str:
        """Return the base URL with another host; our port is used only if the host has no scheme."""
        own = urlsplit(self.base_url)
        scheme, separator, rest = given.rpartition("://")
        host, slash, path = rest.partition("/")
        if host.count(":") > 1 and "[" not in host:
            host = f"[{host}]"
        if not separator and own.port and not host.rpartition("]")[2].partition(":")[2]:
            host = f"{host.removesuffix(':')}:{own.port}"
        if host.startswith(":"):
            host = f"127.0.0.1{host}"
        path = f"{slash}{path}".rstrip("/")
        if own.path.split("/")[1] not in path.split("/"):
            path += own.path
        return f"{scheme or own.scheme}://{host}{path}"


# Known from their references: the newer name of the limit is refused (Mistral) or ignored silently (the others).
_OLD_LIMIT = Profile(token_limit="max_tokens")  # noqa: S106 - no password


def _hosted(name: str, base_url: str, *, key: str = "", profile: Profile = NO_FACTS, variable: str = "") -> Provider:
    return Provider(
        name=name,
        base_url=base_url,
        base_url_variable=variable,
        key_variable=key or f"{name.upper()}_API_KEY",
        profile=profile,
    )


def _self_hosted(
    name: str, port: int, prefix: str, *, key: str = "", host_variable: str = "", profile: Profile = NO_FACTS
) -> Provider:
    return Provider(
        name=name,
        base_url=f"http://127.0.0.1:{port}/v1",
        base_url_variable=f"{prefix}_BASE_URL",
        host_variable=host_variable,
        key_variable=key,
        key_required=False,
        profile=profile | Profile(calls_in_text=True),
    )


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        _hosted("openai", "https://api.openai.com/v1", variable="OPENAI_BASE_URL"),
        _hosted("acedata", "https://api.acedata.cloud/openai", variable="ACEDATA_BASE_URL"),
        Provider(
            name="azure",
            base_url="https://RESOURCE.openai.azure.com/openai/v1",
            host_variable="AZURE_OPENAI_ENDPOINT",
            address_required=True,
            key_variable="AZURE_OPENAI_API_KEY",
            key_header="api-key",
        ),
        _hosted("anthropic", "https://api.anthropic.com/v1"),  # its OpenAI-compatible address
        _hosted("gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
        # OpenRouter's page on reasoning asks to send it back: some models continue better.
        _hosted("openrouter", "https://openrouter.ai/api/v1", profile=Profile(reasoning="kept")),
        _hosted("groq", "https://api.groq.com/openai/v1"),
        _hosted("mistral", "https://api.mistral.ai/v1", profile=_OLD_LIMIT),
        _hosted("deepseek", "https://api.deepseek.com/v1", profile=_OLD_LIMIT),
        _hosted("xai", "https://api.x.ai/v1"),
        _hosted("together", "https://api.together.xyz/v1"),
        _hosted("fireworks", "https://api.fireworks.ai/inference/v1"),
        _hosted("moonshot", "https://api.moonshot.ai/v1"),
        _hosted("cerebras", "https://api.cerebras.ai/v1"),
        _hosted("nvidia", "https://integrate.api.nvidia.com/v1"),
        _hosted("huggingface", "https://router.huggingface.co/v1", key="HF_TOKEN"),
        _hosted("github", "https://models.github.ai/inference", key="GITHUB_TOKEN"),
        _hosted("perplexity", "https://api.perplexity.ai"),
        _self_hosted("ollama", 11434, "OLLAMA", key="OLLAMA_API_KEY", host_variable="OLLAMA_HOST", profile=_OLD_LIMIT),
        _self_hosted("vllm", 8000, "VLLM", key="VLLM_API_KEY"),
        _self_hosted("sglang", 30000, "SGLANG", key="SGLANG_API_KEY"),
        _self_hosted("llama.cpp", 8080, "LLAMA_CPP", key="LLAMA_API_KEY"),
        _self_hosted("lmstudio", 1234, "LMSTUDIO"),
        _self_hosted("litellm", 4000, "LITELLM", key="LITELLM_API_KEY"),
    )
}


def is_self_hosted(base_url: str) -> bool:
    """Return True if a server is local or in a private network: most such servers run the user's own model."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host


def find_provider(name: str) -> Provider | None:
    """Find the provider of this name, with settings from the environment; None if the table has none.

    Raises:
        ConfigError: The environment lacks an address that is required, or holds something that is not an address.
    """
    known = PROVIDERS.get(name)
    if known is None:
        return None
    provider = known.from_environment()
    if provider.address_required and provider.base_url == known.base_url:
        variable = known.host_variable or known.base_url_variable
        raise ConfigError(f"{name} needs the address of your account, like {known.base_url}: set {variable}")
    return provider
