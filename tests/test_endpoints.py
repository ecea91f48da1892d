import pytest

from agentkit.chat.client import ChatClient, open_model
from agentkit.chat.providers import PROVIDERS
from agentkit.errors import ConfigError


def test_a_name_means_an_endpoint_and_a_model() -> None:
    model = open_model("ollama:qwen3:8b")
    assert isinstance(model, ChatClient)
    assert (model.base_url, model.model) == ("http://127.0.0.1:11434/v1", "qwen3:8b")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:gpt", "there is no endpoint 'nowhere'.*openai"),
        ("gpt-5", "there is no endpoint 'gpt-5'; did you mean 'openai:gpt-5'"),
        ("opnai:x", "did you mean 'openai:x'"),
        ("http://127.0.0.1:8000/v1", r"is an address: use ChatClient\('http://127.0.0.1:8000/v1', model=...\)"),
        ("", "there is no endpoint"),
        ("openai", "names no model; write for example openai:gpt-5-mini"),
        ("openai:", "names no model"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_what_to_write(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_model(name)


def test_the_environment_can_point_an_endpoint_elsewhere_where_no_key_may_be_needed() -> None:
    there = PROVIDERS["openai"].from_environment({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    assert there.base_url == "http://127.0.0.1:1/v1"
    assert there.key({}) == ""
    assert there.key({"OPENAI_API_KEY": " k "}) == "k"


def test_a_key_that_is_needed_and_missing_is_told_by_its_variable() -> None:
    with pytest.raises(ConfigError, match="ACEDATA_API_KEY"):
        PROVIDERS["acedata"].key({"OPENAI_API_KEY": "of somebody else"})


@pytest.mark.parametrize("endpoint", PROVIDERS.values(), ids=lambda each: each.name)
def test_no_endpoint_reads_the_key_of_another(endpoint: object) -> None:
    others = {each.key_variable for each in PROVIDERS.values() if each is not endpoint}
    assert getattr(endpoint, "key_variable") not in others - {""}  # noqa: B009


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8000", "ftp://x/v1", "http:///v1", "http://[::1", "http://h:99999/v1", "http://h/v1?a=1"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="not the address of a server"):
        ChatClient(address, model="m")
