"""Prometheus metrics of the store API; labels never name a customer."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """Implements :class:`store_node.chat.observer.Observer` with a registry of its own."""

    def __init__(self, store: str) -> None:
        self._store = store
        self.registry = CollectorRegistry()
        self._running = Gauge(
            "storeweave_num_requests_running",
            "Questions being answered.",
            ["store"],
            registry=self.registry,
        )
        self._first = Histogram(
            "storeweave_time_to_first_token_seconds",
            "From the question to the first piece of its answer.",
            ["store", "lang", "release"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._total = Histogram(
            "storeweave_e2e_request_latency_seconds",
            "From the question to its durable answer.",
            ["store", "lang", "release"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._engine_failures = Counter(
            "storeweave_engine_failures_total",
            "Answers that went on without the engine.",
            ["store", "kind"],
            registry=self.registry,
        )
        self._sockets = Gauge(
            "storeweave_websocket_connections",
            "Open WebSocket connections.",
            ["store"],
            registry=self.registry,
        )
        self._running.labels(store)
        self._sockets.labels(store)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count one question more while the block runs."""
        with self._running.labels(self._store).track_inprogress():
            yield

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Count one WebSocket connection more while the block runs."""
        with self._sockets.labels(self._store).track_inprogress():
            yield

    def answered(self, *, lang: str, release: str, first_s: float | None, total_s: float) -> None:
        """Record an answer."""
        if first_s is not None:
            self._first.labels(self._store, lang, release).observe(first_s)
        self._total.labels(self._store, lang, release).observe(total_s)

    def engine_failed(self, kind: str) -> None:
        """Count a failure of the engine."""
        self._engine_failures.labels(self._store, kind).inc()

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)
