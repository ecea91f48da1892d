"""What is wrong with the arguments of ready-made middleware: each raises a `ConfigError` where it is made."""

from __future__ import annotations

from typing import cast

from agentkit.chat.reply import Model
from agentkit.errors import ConfigError, ModelError
from agentkit.middleware.store import CacheStore

__all__ = ["check_cache", "check_fallback", "check_rate"]


def check_cache(store: object, model: object) -> None:
    """Refuse what is no store, and no name of a model."""
    if not isinstance(store, CacheStore | None):
        raise ConfigError(f"Cache({store!r:.80}): a store has the async methods get and set; a name is model=")
    if not isinstance(model, str):
        raise ConfigError(f"Cache(model={model!r:.80}): must be a text that names the model")


def check_fallback(models: tuple[object, ...], on: object, after_shown: object) -> None:
    """Refuse what can neither be asked nor be raised by a model."""
    if not models:
        raise ConfigError('Fallback() has no model to ask: write Fallback("endpoint:model")')
    for each in models:
        if not isinstance(each, str | Model):
            raise ConfigError(f"Fallback takes names of models and objects with a method reply, not {each!r:.80}")
    errors = cast("tuple[object, ...]", on) if isinstance(on, tuple) else (on,)
    if not isinstance(on, tuple) or not all(isinstance(each, type) and issubclass(each, ModelError) for each in errors):
        raise ConfigError(f"Fallback(on=...) is a tuple of ModelErrors, for example (RateLimited,), not {on!r:.80}")
    if after_shown not in ("raise", "continue"):
        raise ConfigError(f'Fallback(after_shown={after_shown!r:.80}): must be "raise" or "continue"')


def check_rate(requests: object, per: object, tokens: object) -> None:
    """Refuse a rate that lets nothing through, or is none."""
    counts = all(isinstance(each, int) and each > 0 for each in (requests, 1 if tokens is None else tokens))
    if not counts or not isinstance(per, int | float) or not per > 0:
        raise ConfigError(
            f"RateLimit({requests!r:.80}, per={per!r:.80}, tokens={tokens!r:.80}): must be numbers, all above 0"
        )
