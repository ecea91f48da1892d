"""`Prices`: add the cost of replies if the server does not report it (extra ``agentkit[prices]``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agentkit.chat import ModelInfo, Reply, Usage
from agentkit.errors import ConfigError
from agentkit.run import Middleware, ModelTurn, NextModel, Price

try:
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price
except ModuleNotFoundError as error:
    if error.name != "genai_prices":
        raise
    raise ConfigError("agentkit.prices needs genai-prices: install the extra agentkit[prices]") from error

__all__ = ["Prices", "cost_of"]


class Prices(Middleware):
    """Adds the cost of each reply in US dollars if its server does not report one.

    The prices are those of the package genai-prices, for servers that it knows by address. For a model without a price,
    the cost stays None, which is not 0. ``Limits(cost=...)`` counts what this adds. List it last, after middleware that
    answers in place of the model or asks another one.

    Args:
        own: Your prices by model name, for your own models or your contract; they take precedence over those of the
            package.

    Raises:
        ConfigError: They are not prices.
    """

    def __init__(self, own: Mapping[str, Price] | None = None) -> None:
        if own is not None and not isinstance(own, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"own={own!r:.80}: pass your prices as {{'model': Price(prompt=..., completion=...)}}")
        self._own = dict(own or {})
        for name, price in self._own.items():
            if not isinstance(price, Price):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigError(
                    f"the price of {name!r} must be a Price(prompt=..., completion=...), not {price!r:.80}"
                )

    async def around_model(self, turn: ModelTurn, inner: NextModel) -> Reply:  # noqa: D102
        reply = await inner(turn)
        info = getattr(turn.model, "info", None)
        if reply.usage.cost is not None or not reply.usage.total_tokens:
            return reply
        names = [reply.model, *([info.model] if isinstance(info, ModelInfo) else [])]
        price = next((self._own[each] for each in names if each in self._own), None)
        if price is not None:
            return replace(reply, usage=replace(reply.usage, cost=price.of(reply.usage)))
        cost = cost_of(reply.usage, info, reply.model) if isinstance(info, ModelInfo) else None
        return reply if cost is None else replace(reply, usage=replace(reply.usage, cost=cost))


def cost_of(usage: Usage, info: ModelInfo, model: str = "") -> float | None:
    """Return the cost of tokens in US dollars; None if no price is known.

    Args:
        usage: The tokens.
        info: The model; its address identifies the provider.
        model: The name of the model in the reply, which may be more exact than that in the request.
    """
    counts = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "cache_read_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "input_audio_tokens": usage.prompt_audio_tokens,
        "output_audio_tokens": usage.completion_audio_tokens,
    }
    given = PricedUsage(**{name: count for name, count in counts.items() if count or name.endswith("put_tokens")})
    for name in dict.fromkeys(filter(None, (model, info.model))):
        try:
            return float(calc_price(given, name, provider_api_url=info.address).total_price)
        except (LookupError, ValueError):
            continue  # the provider or the model is not in the table, or the counts contradict each other
    return None
