"""Metrics of a server, for Prometheus."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from agentkit import Usage

__all__ = ["Metrics"]

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)  # seconds


class Metrics:
    """Counts requests, tokens and time. Each process of a server has its own, with the label ``process``.

    Attributes:
        active: The number of requests for a completion in progress.
    """

    def __init__(self) -> None:
        self.active = 0
        self._requests: Counter[tuple[str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, model: str, outcome: str, seconds: float, usages: Iterable[Usage] = ()) -> None:
        """Count a request for a completion.

        Args:
            model: The name of the model.
            outcome: The HTTP status, or ``cancelled``.
            seconds: How long it took.
            usages: The usage of its answers.
        """
        self._requests[model, outcome] += 1
        self._buckets[bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds
        for usage in usages:
            self._tokens[model, "prompt"] += usage.prompt_tokens
            self._tokens[model, "completion"] += usage.completion_tokens

    def text(self) -> str:
        """Return the metrics in Prometheus' text format."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        process = f'process="{os.getpid()}"'
        yield "# HELP agentkit_requests_total Requests for a completion, by model and HTTP status."
        yield "# TYPE agentkit_requests_total counter"
        for (model, outcome), count in sorted(self._requests.items()):
            yield f'agentkit_requests_total{{{process},model="{_escaped(model)}",status="{outcome}"}} {count}'
        yield "# HELP agentkit_requests_active Requests for a completion that are being answered."
        yield "# TYPE agentkit_requests_active gauge"
        yield f"agentkit_requests_active{{{process}}} {self.active}"
        yield "# HELP agentkit_tokens_total Tokens that answers have used, by model and kind."
        yield "# TYPE agentkit_tokens_total counter"
        for (model, kind), count in sorted(self._tokens.items()):
            yield f'agentkit_tokens_total{{{process},model="{_escaped(model)}",kind="{kind}"}} {count}'
        yield "# HELP agentkit_request_seconds How long requests for a completion took."
        yield "# TYPE agentkit_request_seconds histogram"
        so_far = 0
        for limit, count in zip([*map(str, _BUCKETS), "+Inf"], self._buckets, strict=True):
            so_far += count
            yield f'agentkit_request_seconds_bucket{{{process},le="{limit}"}} {so_far}'
        yield f"agentkit_request_seconds_sum{{{process}}} {self._seconds:.6f}"
        yield f"agentkit_request_seconds_count{{{process}}} {so_far}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
