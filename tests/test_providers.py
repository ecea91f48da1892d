"""The table of providers, and what the environment says about them."""

import pytest

from agentkit.chat.client import ChatClient, open_model
from agentkit.chat.messages import UserMessage
from agentkit.chat.providers import PROVIDERS, Provider, find_provider, is_self_hosted
from agentkit.chat.reply import ModelInfo
from agentkit.chat.request import ChatRequest
from agentkit.errors import ConfigError
from tests.replay import completion, replay

GOOD = completion({"content": "good"})


def test_a_name_means_a_provider_and_a_model() -> None:
    model = open_model("ollama:qwen3:8b")
    assert isinstance(model, ChatClient)
    assert model.info == ModelInfo(provider="ollama", model="qwen3:8b", address="http://127.0.0.1:11434/v1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:gpt", "there is no provider 'nowhere'.*openai"),
        ("gpt-5", "there is no provider 'gpt-5'; did you mean 'openai:gpt-5'"),
        ("opnai:x", "did you mean 'openai:x'"),
        ("http://127.0.0.1:8000/v1", r"is an address: use ChatClient\('http://127.0.0.1:8000/v1', model=...\)"),
        ("", "there is no provider"),
        ("openai", "names no model; write for example openai:gpt-5-mini"),
        ("openai:", "names no model"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_what_to_write(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_model(name)


def test_the_environment_can_point_a_provider_elsewhere_where_no_key_may_be_needed() -> None:
    there = PROVIDERS["openai"].from_environment({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    assert there.base_url == "http://127.0.0.1:1/v1"
    assert there.key({}) == ""
    assert there.key({"OPENAI_API_KEY": " k "}) == "k"


def test_a_key_that_is_needed_and_missing_is_named_by_its_variable() -> None:
    with pytest.raises(ConfigError, match="ACEDATA_API_KEY"):
        PROVIDERS["acedata"].key({"OPENAI_API_KEY": "of somebody else"})


@pytest.mark.parametrize("name", PROVIDERS)
def test_no_provider_reads_the_key_of_another(name: str) -> None:
    others = {each.key_variable for each in PROVIDERS.values() if each.name != name}
    assert PROVIDERS[name].key_variable not in others - {""}


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_that_needs_a_key_says_where_it_comes_from(name: str) -> None:
    provider = PROVIDERS[name]
    assert provider.key_variable or not provider.key_required
    assert provider.name == name
    if provider.key_required:
        assert provider.base_url.startswith("https://")


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1:11500", "http://127.0.0.1:11500/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        (":1234", "http://127.0.0.1:1234/v1"),
        ("gpu.lan", "http://gpu.lan:11434/v1"),
        ("gpu.lan:", "http://gpu.lan:11434/v1"),
        ("http://gpu.lan:1/", "http://gpu.lan:1/v1"),
        ("https://gpu.lan", "https://gpu.lan/v1"),
        ("https://gpu.lan/ollama", "https://gpu.lan/ollama/v1"),
        ("https://gpu.lan/v1", "https://gpu.lan/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::]:7", "http://[::1]:7/v1"),
        (" gpu.lan ", "http://gpu.lan:11434/v1"),
        ("", "http://127.0.0.1:11434/v1"),
    ],
)
def test_ollama_is_where_its_own_variable_says(host: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    monkeypatch.delenv("OLLAMA_BASE_URL", raising=False)
    model = open_model("ollama:m")
    assert isinstance(model, ChatClient)
    assert model.base_url == base_url


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OLLAMA_HOST", "127.0.0.1:99999"),
        ("OLLAMA_HOST", "[::1"),
        ("OLLAMA_BASE_URL", "nowhere"),
        ("OLLAMA_HOST", "a b"),
    ],
)
def test_a_variable_that_holds_no_address_is_named(variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{variable} is wrong"):
        PROVIDERS["ollama"].from_environment({variable: value})


def test_a_base_url_takes_precedence_over_a_host() -> None:
    there = PROVIDERS["ollama"].from_environment({"OLLAMA_HOST": "a", "OLLAMA_BASE_URL": "http://b/v1"})
    assert there.base_url == "http://b/v1"


@pytest.mark.parametrize(
    ("endpoint", "base_url"),
    [
        ("https://me.openai.azure.com/", "https://me.openai.azure.com/openai/v1"),
        ("https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1"),
        ("me.openai.azure.com", "https://me.openai.azure.com/openai/v1"),
        ("https://me.openai.azure.com/openai/v1/", "https://me.openai.azure.com/openai/v1"),
        (
            "https://me.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "https://me.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
        ),
    ],
)
def test_azure_is_at_the_address_of_the_account(endpoint: str, base_url: str) -> None:
    there = PROVIDERS["azure"].from_environment({"AZURE_OPENAI_ENDPOINT": endpoint})
    assert there.base_url == base_url
    assert there.key_required


def test_azure_without_an_address_says_which_variable_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(ConfigError, match=r"azure needs the address of your account.*AZURE_OPENAI_ENDPOINT"):
        open_model("azure:gpt-5-mini")


@pytest.mark.anyio
async def test_azure_gets_its_key_and_its_version_as_it_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with replay(GOOD) as server:
        there = server.url.removesuffix("/v1") + "/openai/deployments/d?api-version=2024-10-21"
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", there)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
        model = open_model("azure:d")
        assert isinstance(model, ChatClient)
        await model.create("hi")
        await model.aclose()
    headers, _ = server.requests[0]
    assert headers["path"] == "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == "azure-key"
    assert "authorization" not in headers


@pytest.mark.anyio
async def test_a_missing_key_is_reported_when_it_is_needed_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XAI_API_KEY", raising=False)
    model = open_model("xai:grok")  # the key may be set later
    with pytest.raises(ConfigError, match="xai needs a key: set the environment variable XAI_API_KEY"):
        await model.reply(ChatRequest(messages=[UserMessage("hi")]), lambda event: None)


def test_a_provider_of_ones_own_is_a_row() -> None:
    own = Provider(name="own", base_url="https://own.example/v1", key_variable="OWN_KEY", base_url_variable="OWN_URL")
    assert own.from_environment({"OWN_URL": "https://own.example/v2"}).key_required
    assert find_provider("own") is None


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://192.168.1.20:8000/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://gpu.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("https://localhost.example.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_a_server_on_this_machine_or_in_a_private_network_is_self_hosted(url: str, own: bool) -> None:
    assert is_self_hosted(url) is own


def test_calls_in_text_are_read_from_no_hosted_provider() -> None:
    hosted = [each for each in PROVIDERS.values() if not is_self_hosted(each.base_url)]
    assert len(hosted) > 8
    assert not any(each.profile.calls_in_text for each in hosted)
