"""Metrics in Prometheus' formats. The only module that imports prometheus_client, which is the extra `runnel[metrics]`."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from runnel.handling.durations import BOUNDS
from runnel.monitoring.metrics import METRICS, Metric, Sample
from runnel.monitoring.server import Answer


class _Runnel(Collector):
    """Collects when it is scraped."""

    def __init__(self, collect: Callable[[], Iterable[Sample]]) -> None:
        self._samples = collect

    def collect(self) -> Iterator[Family]:
        families = {metric.name: family(metric) for metric in METRICS}
        for sample in self._samples():
            add(families[sample.metric], sample)
        yield from families.values()

    def describe(self) -> list[Family]:
        """Nothing: to be registered is no reason to collect."""
        return []


class _Everything(Collector):
    """What the app itself counts with prometheus_client, and what that tells of the process."""

    def collect(self) -> Iterator[Family]:
        yield from REGISTRY.collect()

    def describe(self) -> list[Family]:
        """Nothing, likewise."""
        return []


class Exposition:
    """A page of metrics.

    Args:
        collect: Answers all values, in any thread.
    """

    def __init__(self, collect: Callable[[], Iterable[Sample]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Runnel(collect))
        self._registry.register(_Everything())

    def __call__(self, accept: str) -> Answer:
        """The page, in the format that the `Accept` header asks for."""
        encode, kind = choose_encoder(accept)
        return Answer(200, kind, encode(self._registry))


def family(metric: Metric) -> Family:
    """An empty family of a metric."""
    name = metric.name.removesuffix("_total")
    match metric.kind:
        case "counter":
            return CounterMetricFamily(name, metric.help, labels=metric.labels)
        case "histogram":
            return HistogramMetricFamily(name, metric.help, labels=metric.labels)
        case _:
            return GaugeMetricFamily(name, metric.help, labels=metric.labels)


def add(to: Family, sample: Sample) -> None:
    """Add a value to its family."""
    match to:
        case HistogramMetricFamily():
            to.add_metric(list(sample.labels), buckets(sample.buckets), sum_value=sample.value)
        case CounterMetricFamily() | GaugeMetricFamily():
            to.add_metric(list(sample.labels), float(sample.value))


def buckets(counts: Iterable[int]) -> list[tuple[str, float]]:
    """How many events took so long at most, for each bound: Prometheus' buckets include those below."""
    found, total = [], 0
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
