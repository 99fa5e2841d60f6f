"""What Prometheus reads at ``/metrics``. One process, so one plain registry; few labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pipelines.core.store import clock
from pipelines.serving.swap import Champions

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Numbers = Callable[[], dict[str, float]]


class ServiceMetrics:
    """The counters of one service. Each has the label ``model``: several may be scraped together.

    Parameters
    ----------
    champions : Champions
        Read whenever somebody asks.
    gauges, counters : callable
        More numbers by name, read likewise; a counter's name gets the ending ``_total``.
    """

    def __init__(self, champions: Champions, gauges: Numbers, counters: Numbers) -> None:
        self.registry, self._model = CollectorRegistry(), champions.source.model_name
        self._requests = Counter(
            "loop_scoring_requests", "Requests, by route and status.",
            ("model", "route", "status"), registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "loop_scoring_seconds", "Seconds from a request's start to its answer.",
            ("model", "route"), buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._request_texts = Histogram(
            "loop_scoring_request_texts", "Texts in one request.",
            ("model",), buckets=_TEXTS, registry=self.registry,
        ).labels(self._model)  # fmt: skip
        self._call_texts = Histogram(
            "loop_scoring_call_texts", "Texts scored in one call of the model.",
            ("model",), buckets=_TEXTS, registry=self.registry,
        ).labels(self._model)  # fmt: skip
        self.registry.register(_Seen(champions, gauges, counters))
        self._of = functools.cache(self._labelled)  # routes and statuses are few

    def count(self, route: str, status: int, seconds: float, texts: int) -> None:
        requests, took = self._of(route, status)
        requests.inc()
        took.observe(seconds)
        if texts:
            self._request_texts.observe(texts)

    def _labelled(self, route: str, status: int) -> tuple[Counter, Histogram]:
        requests = self._requests.labels(self._model, route, str(status))
        return requests, self._seconds.labels(self._model, route)

    def count_call(self, texts: int) -> None:
        self._call_texts.observe(texts)

    def page(self) -> bytes:
        return generate_latest(self.registry)


class _Seen(Collector):
    def __init__(self, champions: Champions, gauges: Numbers, counters: Numbers) -> None:
        self._champions, self._model = champions, champions.source.model_name
        self._more_gauges, self._more_counters = gauges, counters

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        champions, served = self._champions, self._champions.current
        if served is not None:
            began = clock.read(served.champion.entry.at) or served.began
            info = GaugeMetricFamily(
                "loop_scoring_champion", "The champion that answers: always 1.",
                labels=["model", "version"],
            )  # fmt: skip
            info.add_metric([self._model, served.version], 1)
            yield info
            yield self._gauge("generation", "Its place in the champion log.", served.generation)
            age = (datetime.now(UTC) - began).total_seconds()
            yield self._gauge("champion_age_seconds", "Since it became champion.", age)
        yield self._gauge("is_ready", "Whether a champion answers.", served is not None)
        if (seconds := champions.seconds_since_look) is not None:
            yield self._gauge("log_age_seconds", "Since the last look at the log.", seconds)
        yield self._counter("swaps", "Champions that took over.", champions.swap_count)
        yield self._counter("refused", "Champions that were not taken.", champions.refused_count)
        yield self._counter("failed_looks", "Looks that led to nothing.", champions.failed_looks)
        for name, value in self._more_gauges().items():
            yield self._gauge(name, "See docs/serving.md.", value)
        for name, value in self._more_counters().items():
            yield self._counter(name, "See docs/serving.md.", value)

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"loop_scoring_{name}", text, labels=["model"])
        family.add_metric([self._model], float(value))
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(f"loop_scoring_{name}", text, labels=["model"])
        family.add_metric([self._model], float(value))
        return family
