"""Whether the invariants I1, I2, I3, I5 and I6 held: each check says what of a run's record contradicts it."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from attrs import frozen

from tests.chaos.record import Era, Life, Record, Sample
from tests.integration.faults.harness import as_numbers
from tests.integration.faults.ledger import Line, Order

ALLOWANCE = 3.5
"""Seconds that a takeover may take longer than it should: this machine is slow, and other tests use it."""

BATCHES = 6
"""Batches of `prefetch_count` that may be in flight: while a commit is under way, a partition may do the two that it holds
and one that was being read, and when that commit is answered the next takes up all three, and so on.
"""


def violations(record: Record) -> list[str]:
    """What went wrong."""
    return [f"{check.__name__}: {found}" for check in CHECKS for found in check(record)]


# ── I1: nothing is lost ──


def lost(record: Record) -> Iterator[str]:
    """I1: what `send` returned for is in the log, once and in its place, and what is in the log was finished."""
    era = record.eras[-1]
    finished = {line.event for line in record.lines if line.what == "finished"}
    places: dict[Order, list[str]] = defaultdict(list)
    for partition, entries in era.logs.items():
        for entry in entries:
            places[entry.event].append(f"sales/{partition}/{entry.id}")
    for event, found in places.items():
        if event not in finished:
            yield f"{event} at {found[0]} was never finished"
        if len(found) > 1:
            yield f"{event} is in the log more than once: {found}"
    for event, sent in record.sent.items():
        if sent.era == era.number and sent.place not in places[event]:
            yield f"{event} was sent to {sent.place} and is at {places[event]}"


# ── I2: in the order of the log ──


@frozen
class Run:
    """What one term of ownership began of a partition, as places in the log."""

    worker: str
    token: str
    began: list[tuple[int, Line]]

    def __str__(self) -> str:
        return f"{self.worker} (term {self.token})"

    @property
    def epoch(self) -> int:
        return int(self.token.partition("/")[0])


@frozen
class Course:
    """What was begun of a partition in an era, by those who owned it in that era, as places in the log."""

    era: Era
    partition: int
    base: int
    lines: list[tuple[int, Line]]
    runs: list[Run]


def courses(record: Record) -> Iterator[Course]:
    """Every partition in every era. Who still runs on a term of an era before is not judged: nothing of it counts."""
    for era in record.eras:
        own = _terms_of(record, era)
        for partition, entries in era.logs.items():
            places = {entry.event: at for at, entry in enumerate(entries)}
            cursor = era.cursors.get(partition, "0-0")
            base = sum(as_numbers(entry.id) <= as_numbers(cursor) for entry in entries)
            lines = [
                (places.get(line.event, -1), line)
                for line in record.lines
                if line.what == "begun" and line.partition == partition and _is_of(line, era, own)
            ]
            runs: dict[tuple[str, str], Run] = {}  # in the order in which they began
            for at, line in lines:
                run = runs.setdefault((line.worker, line.token), Run(line.worker, line.token, []))
                run.began.append((at, line))
            yield Course(era, partition, base, lines, list(runs.values()))


def _terms_of(record: Record, era: Era) -> set[str]:
    """The nonces of terms that are known to have begun in this era. One of them may be known from before: an acquire that the
    old server did, but could not answer any more, is sent to the new one under the same nonce.
    """
    older = {sample.history for sample in record.samples if sample.era < era.number}
    return {sample.nonce for sample in record.samples if sample.era == era.number and sample.history not in older}


def _is_of(line: Line, era: Era, own: set[str]) -> bool:
    nonce = line.token.partition("/")[2]
    return era.began <= line.at < era.ended and (nonce in own or nonce not in era.older)


def out_of_order(record: Record) -> Iterator[str]:
    """I2: no event is begun before those that lie before it, and each term goes through the log without a gap."""
    for course in courses(record):
        where = f"partition {course.partition}, era {course.era.number}"
        frontier = course.base
        for at, line in course.lines:
            if at < 0:
                yield f"{where}: {line.worker} began {line.event}, which is not in the log"
            if at > frontier:
                yield f"{where}: {line.worker} began {line.event} with {at - frontier} before it not begun"
            frontier = max(frontier, at + 1)
        for run in course.runs:
            for (one, _), (other, line) in pairwise(run.began):
                if other != one + 1:
                    yield f"{where}: {run} went from place {one} to place {other}, {line.event}"


# ── I3: who has lost a partition changes nothing ──


def changed_by_the_fenced(record: Record) -> Iterator[str]:
    """I3: cursors and epochs only grow, and a cursor moves only by the next commits of a term, or by none."""
    for before, after in steps(record):
        what = f"partition {after.partition}, era {after.era}: from {before} to {after}"
        if as_numbers(after.cursor) < as_numbers(before.cursor):
            yield f"the cursor went back: {what}"
        if after.epoch < before.epoch:
            yield f"the epoch went back: {what}"
        if after.epoch != before.epoch:
            continue
        if after.nonce not in ("", before.nonce):
            yield f"two owners in one epoch: {what}"
        if after.number < before.number:
            yield f"the commits' number went back: {what}"
        if after.number == before.number and after.cursor != before.cursor and before.epoch:
            yield f"the cursor moved without a commit: {what}"


def steps(record: Record) -> Iterator[tuple[Sample, Sample]]:
    """Each sample, and the next of the same partition and era."""
    last: dict[tuple[int, int], Sample] = {}
    for sample in record.samples:
        where = sample.era, sample.partition
        if where in last:
            yield last[where], sample
        last[where] = sample


# ── I5: somebody takes over ──


def not_taken_over(record: Record) -> Iterator[str]:
    """I5: while the server is in reach, no partition is without a running owner for longer than a lease and two
    heartbeats, if a worker that could have taken it over ran all the while.
    """
    bound = 1.5 * record.lease + ALLOWANCE
    for partition, held in _by_partition(record).items():
        for heir in (life for life in record.lives if not life.flawed):
            edges = sorted(
                {edge for span in record.unrest for edge in span}
                | {edge for life in record.lives for edge in (life.ready, life.ended)}
                | {edge for life in record.lives for span in life.stopped for edge in span}
                | {sample.at for sample in held}
                | {record.over}
            )
            since = None
            for begin, end in pairwise(edges):
                if end > record.over:
                    break
                middle = (begin + end) / 2
                calm = heir.is_up(middle) and not any(one <= middle < other for one, other in record.unrest)
                if not calm or _is_owned(record, held, middle):
                    since = None
                    continue
                since = begin if since is None else since
                if end - since > bound:
                    yield f"partition {partition}: nobody for {end - since:.1f} s, though {heir.name} ran"
                    break


def _by_partition(record: Record) -> dict[int, list[Sample]]:
    """The samples of each partition in which its owner changed."""
    held: dict[int, list[Sample]] = defaultdict(list)
    for sample in record.samples:
        if not held[sample.partition] or held[sample.partition][-1].owner != sample.owner:
            held[sample.partition].append(sample)
    return held


def _is_owned(record: Record, held: list[Sample], at: float) -> bool:
    known = bisect_right(held, at, key=lambda sample: sample.at)
    return not known or any(life.owns(held[known - 1]) and life.is_up(at) for life in record.lives)


# ── I6: only what was in flight is repeated ──


def repeated_too_much(record: Record) -> Iterator[str]:
    """I6: a term begins above every cursor that was committed before it, and repeats no more than is in flight."""
    for course in courses(record):
        where = f"partition {course.partition}, era {course.era.number}"
        committed = _committed(record, course)
        first = dict(reversed(course.lines))
        for run in course.runs:
            done = max((place for epoch, place in committed.items() if epoch < run.epoch), default=course.base)
            start, line = run.began[0]
            if 0 <= start < done:
                yield f"{where}: {run} began with {line.event} at place {start}, and {done} were committed"
            repeats = sum(first[at] is not line for at, line in run.began)
            if repeats > BATCHES * record.prefetch:
                yield f"{where}: {run} repeated {repeats} events"


def _committed(record: Record, course: Course) -> dict[int, int]:
    """How many entries of the log were seen to be committed under each epoch."""
    ids = [as_numbers(entry.id) for entry in course.era.logs[course.partition]]
    committed: dict[int, int] = Counter()
    for sample in record.samples:
        if (sample.era, sample.partition) == (course.era.number, course.partition):
            committed[sample.epoch] = max(committed[sample.epoch], bisect_right(ids, as_numbers(sample.cursor)))
    return committed


# ── and no worker dies of it ──


def died(record: Record) -> Iterator[str]:
    """A worker that had started runs until it is killed, or told to leave, and then it leaves in order."""
    return ended_otherwise(record.lives)


def ended_otherwise(lives: Iterable[Life]) -> Iterator[str]:
    """Workers that had started, and ended though they were neither killed nor told to leave, or not in order."""
    for life in lives:
        if life.exit_code is None or life.doomed or life.ended <= life.ready:
            continue
        if not life.dismissed or life.exit_code:
            yield f"{life.name}, {'told to leave' if life.dismissed else 'not told to'}, ended with {life.exit_code}"


CHECKS: tuple[Callable[[Record], Iterator[str]], ...] = (
    lost,
    out_of_order,
    changed_by_the_fenced,
    not_taken_over,
    repeated_too_much,
    died,
)
