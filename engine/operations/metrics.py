"""What a process has done, counted: asks by verdict and rule, how long chunks took, how large they were, who waits."""

from collections import Counter as Tally
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from engine.core.events import Event, EventType
from engine.operations.batch import Command
from engine.operations.decide import Answer
from engine.operations.intake import Result
from engine.operations.jobs import Status

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_TYPES = frozenset(each.value for each in EventType)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts in a registry of its own; an `Observer` of settled chunks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.asks = Counter("takt_asks_total", "Asks answered, by verdict", ["verdict"], registry=self.registry)
        self.refusals = Counter(
            "takt_refusals_total", "Reasons of refusals, by code and rule", ["code", "rule"], registry=self.registry
        )
        self.events = Counter(
            "takt_events_total",
            "Events brought, by type (`own`: a company's own) and what became of them",
            ["type", "result"],
            registry=self.registry,
        )
        self.errors = Counter("takt_errors_total", "Commands that met an error", ["code"], registry=self.registry)
        self.latency = Histogram(
            "takt_request_seconds", "From request to response", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self._latency_of: dict[str, Histogram] = {}
        self.settling = Histogram("takt_chunk_seconds", "From lock to commit", buckets=_SECONDS, registry=self.registry)
        self.sizes = Histogram("takt_chunk_commands", "Commands in a chunk", buckets=_SIZES, registry=self.registry)
        self.leads = Gauge("takt_scheduler_leader", "Whether some process starts jobs", registry=self.registry)
        self.ages = Gauge(
            "takt_job_age_seconds", "Since a job last did what it should", ["job"], registry=self.registry
        )
        self.untold = Gauge("takt_alarms_waiting", "Alarms that nobody has taken", registry=self.registry)
        self.queues = Gauge("takt_queued", "Commands that wait", ["queue"], registry=self.registry)

    def latency_of(self, route: str) -> Histogram:
        """The latencies of one route: to find them by label costs as much as to count a request."""
        found = self._latency_of.get(route)
        if found is None:
            found = self._latency_of[route] = self.latency.labels(route)
        return found

    def chunk(self, commands: Sequence[Command], answers: Sequence[object], seconds: float) -> None:
        self.settling.observe(seconds)
        self.sizes.observe(len(commands))
        verdicts: Tally[str] = Tally()
        reasons: Tally[tuple[str, str]] = Tally()
        for answer in answers:
            if isinstance(answer, Answer):
                verdicts[answer.verdict.value] += 1
                for reason in answer.reasons:
                    reasons[(reason.code.value, reason.rule)] += 1
        for verdict, count in verdicts.items():
            self.asks.labels(verdict).inc(count)
        for (code, rule), count in reasons.items():
            self.refusals.labels(code, rule).inc(count)

    def took(self, events: Sequence[Event], results: Sequence[object], invalid: int) -> None:
        """Events were brought; `invalid` are those that could not be read."""
        tally = Tally(
            (each.type if each.type in _TYPES else "own", result.value if isinstance(result, Result) else "failed")
            for each, result in zip(events, results, strict=True)
        )
        for (type_, result), count in tally.items():
            self.events.labels(type_, result).inc(count)
        if invalid:
            self.events.labels("unknown", "invalid").inc(invalid)

    def scheduled(self, status: Status) -> None:
        """How the scheduler stands, wherever it runs. A job that never did what it should has no age."""
        self.leads.set(status.leader is not None)
        self.untold.set(status.alarms_waiting)
        for each in status.jobs:
            if each.done is not None and each.done.ended_us is not None:
                self.ages.labels(each.job.name).set(max(0, status.now_us - each.done.ended_us) / 1e6)

    def watch_queues(self, queued: Callable[[], tuple[int, int]]) -> None:
        """Read the lengths of the queues whenever somebody asks."""
        self.queues.labels("asks").set_function(lambda: queued()[0])
        self.queues.labels("batches").set_function(lambda: queued()[1])
