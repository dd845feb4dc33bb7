"""HQ's figures for Prometheus, read when they are asked for."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coordinator.compliance.spending import Spending
from coordinator.jobs import Jobs
from coordinator.operations import Operations
from coordinator.releases import Releases


class HqCollector(Collector):
    """Counts runs, rounds, jobs and releases, and tells what each store's cohort has spent.

    Labels name stores and their cohorts, never a customer.
    """

    def __init__(
        self, operations: Operations, spending: Spending, releases: Releases, jobs: Jobs
    ) -> None:
        """Read from HQ's services."""
        self._operations = operations
        self._spending = spending
        self._releases = releases
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they are now."""
        runs = self._operations.runs()
        yield _counts("storeweave_hq_runs", "Runs by state", (run.state for run in runs))
        yield _counts(
            "storeweave_hq_rounds",
            "Rounds by state",
            (str(state) for run in runs for state in run.states.values()),
        )
        yield _counts(
            "storeweave_hq_jobs", "Jobs by state", (str(job.state) for job in self._jobs.all())
        )
        yield _counts(
            "storeweave_hq_releases",
            "Releases by stage",
            (
                str(self._releases.stage_of(release.release_id) or "unknown")
                for release in self._releases.all()
            ),
        )
        moved = GaugeMetricFamily(
            "storeweave_hq_update_bytes",
            "Bytes that a store's updates of closed rounds took",
            labels=["store"],
        )
        sizes: Counter[str] = Counter()
        for run in runs:
            for outcome in run.outcomes:
                sizes.update(outcome.bytes_up)
        for store, size in sizes.items():
            moved.add_metric([store], size)
        yield moved
        yield from self._epsilons()

    def _epsilons(self) -> Iterator[Metric]:
        labels = ["store", "cohort", "period"]
        spent = GaugeMetricFamily(
            "storeweave_hq_epsilon_spent",
            "Epsilon spent per customer (add or remove one), PLD accountant",
            labels=labels,
        )
        cap = GaugeMetricFamily(
            "storeweave_hq_epsilon_cap", "Epsilon allowed per customer", labels=labels
        )
        for row in self._spending.budget():
            for period in ("quarter", "year"):
                names = [row["store_id"], row["cohort"], period]
                spent.add_metric(names, row[f"{period}_spent"])
                cap.add_metric(names, row[f"{period}_cap"])
        yield spent
        yield cap


def exposition(collector: HqCollector) -> bytes:
    """Return the figures in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def _counts(name: str, text: str, values: Iterator[str]) -> GaugeMetricFamily:
    metric = GaugeMetricFamily(name, text, labels=["state"])
    for state, number in sorted(Counter(values).items()):
        metric.add_metric([state], number)
    return metric
