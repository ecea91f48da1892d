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
from agentkit.errors import ConfigError

__all__ = ["PROVIDERS", "Provider", "find_provider", "is_self_hosted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A server that speaks Chat Completions.

    Attributes:
        name: What stands before the colon in ``endpoint:model``.
        base_url: What ``/chat/completions`` is appended to.
        base_url_variable: The environment variable that replaces ``base_url``.
        key_variable: The environment variable with the key; it is sent to this endpoint only.
        key_required: Whether requests without a key are refused before they are sent.
        profile: What is certain of all its models; see `agentkit.chat.compat.profile`.
    """

    name: str
    base_url: str
    base_url_variable: str = ""
    key_variable: str = ""
    key_required: bool = True
    profile: Profile = NO_FACTS

    def from_environment(self, environment: Mapping[str, str] = os.environ) -> Provider:
        """The endpoint with the base URL that the environment gives.

        A server of the user's own need not want a key, so a base URL on another host makes the key optional.
        """
        base_url = environment.get(self.base_url_variable, "").strip() if self.base_url_variable else ""
        if not base_url:
            return self
        if urlsplit(base_url).hostname == urlsplit(self.base_url).hostname:
            return replace(self, base_url=base_url)
        return replace(self, base_url=base_url, key_required=False)

    def key(self, environment: Mapping[str, str] = os.environ) -> str:
        """The key, from the endpoint's own variable.

        Raises:
            ConfigError: It is required and not there.
        """
        key = environment.get(self.key_variable, "").strip() if self.key_variable else ""
        if self.key_required and not key:
            raise ConfigError(f"{self.name} needs a key: set the environment variable {self.key_variable}")
        return key


# Known from their references: the newer name of the limit is refused (Mistral) or ignored without a word (the others).
_OLD_LIMIT = Profile(token_limit="max_tokens")  # noqa: S106 - no password


def _local(name: str, port: int, variable: str, profile: Profile = NO_FACTS) -> Provider:
    return Provider(
        name=name,
        base_url=f"http://127.0.0.1:{port}/v1",
        base_url_variable=variable,
        key_required=False,
        profile=profile | Profile(calls_in_text=True),
    )


PROVIDERS: Mapping[str, Provider] = {
    endpoint.name: endpoint
    for endpoint in (
        Provider(
            name="openai",
            base_url="https://api.openai.com/v1",
            base_url_variable="OPENAI_BASE_URL",
            key_variable="OPENAI_API_KEY",
        ),
        Provider(
            name="acedata",
            base_url="https://api.acedata.cloud/openai",
            base_url_variable="ACEDATA_BASE_URL",
            key_variable="ACEDATA_API_KEY",
        ),
        Provider(
            name="openrouter",
            base_url="https://openrouter.ai/api/v1",
            key_variable="OPENROUTER_API_KEY",
            profile=Profile(reasoning="kept"),  # its page on reasoning asks for it: some models go on better
        ),
        Provider(name="groq", base_url="https://api.groq.com/openai/v1", key_variable="GROQ_API_KEY"),
        Provider(
            name="mistral",
            base_url="https://api.mistral.ai/v1",
            key_variable="MISTRAL_API_KEY",
            profile=_OLD_LIMIT,
        ),
        Provider(
            name="deepseek",
            base_url="https://api.deepseek.com/v1",
            key_variable="DEEPSEEK_API_KEY",
            profile=_OLD_LIMIT,
        ),
        Provider(name="together", base_url="https://api.together.xyz/v1", key_variable="TOGETHER_API_KEY"),
        Provider(name="fireworks", base_url="https://api.fireworks.ai/inference/v1", key_variable="FIREWORKS_API_KEY"),
        Provider(name="moonshot", base_url="https://api.moonshot.ai/v1", key_variable="MOONSHOT_API_KEY"),
        Provider(
            name="gemini",
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_variable="GEMINI_API_KEY",
        ),
        _local("ollama", 11434, "OLLAMA_BASE_URL", _OLD_LIMIT),
        _local("vllm", 8000, "VLLM_BASE_URL"),
        _local("llama.cpp", 8080, "LLAMA_CPP_BASE_URL"),
        _local("lmstudio", 1234, "LMSTUDIO_BASE_URL"),
    )
}


def is_self_hosted(base_url: str) -> bool:
    """Whether a server is on this machine or in a private network: most such servers run a model of the user's own."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host


def find_provider(name: str) -> Provider | None:
    """The endpoint of this name, with what the environment says about it; None if the table has none."""
    endpoint = PROVIDERS.get(name)
    return endpoint.from_environment() if endpoint else None
