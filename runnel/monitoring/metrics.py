"""The metrics: their names, what they mean, and their values, from what is on a worker's board.

Nothing is counted here, and nothing looked up: whatever an event costs, it costs the same without metrics. Labels are names
that the app declares and kinds of actors, never a key, an event or a partition: so their number is bounded.
"""

from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from runnel.handling.durations import BOUNDS
from runnel.monitoring.health import Health
from runnel.telemetry.board import Board, Seen
from runnel.telemetry.report import ProcessorReport, Report
from runnel.telemetry.standing import Standing


@frozen
class Metric:
    """A metric."""

    name: str
    """As it is scraped."""
    kind: str
    """counter, gauge or histogram."""
    help: str
    labels: tuple[str, ...] = ()


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"runnel_{name}_total", "counter", help, labels)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"runnel_{name}", "gauge", help, labels)


METRICS: tuple[Metric, ...] = (
    # the worker
    _gauge("worker_info", "Always 1; the labels say which worker this is.", "app", "worker", "version"),
    _gauge("worker_ready", "Whether /health/ready says yes: 1 or 0."),
    _gauge("worker_draining", "Whether the worker is about to stop, and lets go of everything: 1 or 0."),
    _gauge("server_up", "Whether the server answered the last heartbeat: 1 or 0."),
    _gauge("leader", "Whether this worker is the leader: 1 on one worker of the app, 0 on the others."),
    _gauge("loop_lag_seconds", "By how much the event loop was late, at worst, within the last 30 s."),
    _gauge("report_age_seconds", "How old the worker's own counts are: about 1 s, unless the event loop is blocked."),
    _gauge("lag_age_seconds", "How old the lag is, and what else was read from the server: it grows while that is away."),
    _gauge("actors", "Actors of the worker, those of keys included."),
    _counter("rebalances", "How often the worker was assigned other partitions of a processor."),
    _counter("partitions_acquired", "How often a lease of a partition was taken."),
    _counter("partitions_released", "How often one was given back in order."),
    _counter("partitions_lost", "How often one was lost: fenced, or not renewed in time."),
    _counter("fences", "How often a lease turned out to be void: taken by another worker, reset, or of an older server."),
    _counter("takeovers", "Partitions that were taken after their owner was lost at work."),
    _counter("quarantines", "How often a partition was stopped for good by a failure."),
    _counter("leader_changes", "How often this worker began or ceased to lead."),
    # a processor on this worker
    _gauge("processor_info", "Always 1; kind is processor or actors.", "processor", "stream", "kind"),
    _counter("events_done", "Events that were done; one that is done twice, after a fault, counts twice.", "processor"),
    _counter("events_read", "Events that were read from the log; those that are read again count again.", "processor"),
    _counter("events_emitted", "Events that actors emitted and that were delivered to their streams.", "processor"),
    _counter("events_failed", "How often an event failed in the handler; one that is tried again may fail again.", "processor"),
    _counter("retries", "How often an event was tried again in place, as the processor's retry says.", "processor"),
    Metric("runnel_handler_duration_seconds", "histogram", "How long the handler took over an event.", ("processor",)),
    _counter("commits", "Commits of partitions that were answered.", "processor"),
    _gauge("breaker_open", "Whether the circuit breaker has the processor pause on this worker: 1 or 0.", "processor"),
    _gauge("actors_active", "Actors of keys that are active.", "processor"),
    _counter("passivations", "How often an actor of a key was passivated.", "processor"),
    _counter("actor_restarts", "Restarts of actors; those of the worker itself have an empty processor.", "processor"),
    _gauge("mailbox_depth", "Messages in the fullest mailbox of this kind of actor.", "processor", "actor"),
    _gauge("mailbox_capacity", "How many messages that mailbox can hold.", "processor", "actor"),
    _gauge("partitions_owned", "Partitions that this worker owns.", "processor"),
    # partitions that this worker answers for: sums over workers are those of the app
    _gauge("lag_events", "Events that are not done.", "processor"),
    _gauge("oldest_event_age_seconds", "How long ago the oldest of these was sent; 0: there are none.", "processor"),
    _gauge("parked_events", "Events that are parked.", "processor"),
    _gauge("parked_keys", "Keys that have parked events.", "processor"),
    _gauge("dead_events", "Dead letters that are kept.", "processor"),
    _gauge("partitions_paused", "Partitions that an operator has paused.", "processor"),
    _gauge("partitions_quarantined", "Partitions that the policy QUARANTINE has stopped.", "processor"),
    _gauge("partitions_stalled", "Partitions with events to do of which none got done for health_stalled_after.", "processor"),
    _gauge("actor_states", "Keys whose actors remember something.", "processor"),
    _gauge("undelivered_events", "Events that actors emitted and that are not delivered yet.", "processor"),
    # what this process sends, and its jobs
    _counter("events_sent", "Events that this process has sent.", "stream"),
    _counter("job_runs", "How often a task, timer or crontab has run on this worker.", "name"),
    _gauge("jobs_running", "How many runs of it are under way here.", "name"),
)


@frozen
class Sample:
    """A value of a metric; of a histogram the count of each bucket, and the sum."""

    metric: str
    value: float
    labels: Sequence[str] = ()
    buckets: Sequence[int] = field(default=())


COUNTERS = {
    "rebalance": "runnel_rebalances_total",
    "acquired": "runnel_partitions_acquired_total",
    "released": "runnel_partitions_released_total",
    "lost": "runnel_partitions_lost_total",
    "fenced": "runnel_fences_total",
    "takeover": "runnel_takeovers_total",
    "quarantine": "runnel_quarantines_total",
    "leader": "runnel_leader_changes_total",
}
"""What a worker's diary counts."""


def samples(app: str, board: Board, health: Health) -> Iterator[Sample]:
    """All values that are known at this moment."""
    yield Sample("runnel_worker_ready", health.ready().ok)
    yield Sample("runnel_worker_draining", health.stopping)
    yield Sample("runnel_server_up", health.server_up)
    yield Sample("runnel_loop_lag_seconds", health.loop_lag)
    if (report := board.report) is not None:
        yield Sample("runnel_report_age_seconds", max(0.0, health.now - board.reported_at))
        yield from _of_worker(app, report)
        for processor in report.processors:
            yield from _of_processor(processor)
    if (seen := board.seen) is not None:
        yield Sample("runnel_lag_age_seconds", max(0.0, health.now - seen.at))
        yield from _seen(seen, health)
    for stream, count in board.sent.items():
        yield Sample("runnel_events_sent_total", count, (stream,))


def _of_worker(app: str, report: Report) -> Iterator[Sample]:
    yield Sample("runnel_worker_info", 1, (app, report.worker, report.version))
    yield Sample("runnel_leader", report.leads)
    yield Sample("runnel_actors", len(report.actors) + report.hidden)
    yield Sample("runnel_actor_restarts_total", report.restarts, ("",))
    for kind, name in COUNTERS.items():
        yield Sample(name, report.counters.get(kind, 0))
    for box in report.mailboxes:
        yield Sample("runnel_mailbox_depth", box.depth, (box.processor, box.actor))
        yield Sample("runnel_mailbox_capacity", box.capacity, (box.processor, box.actor))
    for job in report.jobs:
        yield Sample("runnel_job_runs_total", job.runs, (job.job,))
        yield Sample("runnel_jobs_running", job.running, (job.job,))


def _of_processor(processor: ProcessorReport) -> Iterator[Sample]:
    name = processor.processor
    yield Sample("runnel_processor_info", 1, (name, processor.stream, processor.kind))
    values: Mapping[str, float] = {
        "runnel_events_done_total": processor.done,
        "runnel_events_read_total": processor.read,
        "runnel_events_emitted_total": processor.emitted,
        "runnel_events_failed_total": processor.failed,
        "runnel_retries_total": processor.retries,
        "runnel_commits_total": processor.commits,
        "runnel_breaker_open": processor.breaker != "closed",
        "runnel_actors_active": processor.active,
        "runnel_passivations_total": processor.passivated,
        "runnel_actor_restarts_total": processor.restarts,
        "runnel_partitions_owned": processor.owned,
    }
    for metric, value in values.items():
        yield Sample(metric, value, (name,))
    counts = processor.counts or (0,) * (len(BOUNDS) + 1)
    yield Sample("runnel_handler_duration_seconds", processor.seconds, (name,), counts)


def _seen(seen: Seen, health: Health) -> Iterator[Sample]:
    stalled = [each.processor for each in health.stalled]
    for standing in seen.standings:
        for metric, value in _of_standing(standing).items():
            yield Sample(metric, value, (standing.processor,))
        yield Sample("runnel_partitions_stalled", stalled.count(standing.processor), (standing.processor,))


def _of_standing(standing: Standing) -> Mapping[str, float]:
    return {
        "runnel_lag_events": standing.lag,
        "runnel_oldest_event_age_seconds": standing.oldest_age,
        "runnel_parked_events": standing.parked,
        "runnel_parked_keys": standing.parked_keys,
        "runnel_dead_events": standing.dead,
        "runnel_partitions_paused": standing.paused,
        "runnel_partitions_quarantined": standing.quarantined,
        "runnel_actor_states": standing.states,
        "runnel_undelivered_events": standing.undelivered,
    }
