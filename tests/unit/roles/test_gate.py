"""The gate: which partitions of a processor may run while its breaker is open, and what is said of it."""

import logging
from typing import Any

import pytest

from runnel import App, CircuitBreaker, ExceptionPolicy, Record, Reject
from runnel.clock import ManualClock
from runnel.handling.position import Position
from runnel.roles.gate import GIVE_WAY, LOOK, Gate
from runnel.roles.lease import Lease
from runnel.roles.parking import Replay
from runnel.store.scripts import Acquired, Token


class Sale(Record):
    """What the processor handles."""

    key: int


class Scene:
    """A gate, its clock, and some leases."""

    def __init__(self, policy: str = "park", breaker: CircuitBreaker | None = None) -> None:
        app = App("shop")
        stream = app.stream("sales", record=Sale, partition_by="key", partition_count=3)

        async def till(events: Any) -> None: ...

        declare = app.processor(stream, exception_policy=ExceptionPolicy(policy), breaker=breaker)
        processor = declare(till)
        self.clock = ManualClock()
        self.changes: list[str] = []
        self.leases = [
            Lease.of(processor, keys, Acquired(Token(b"1", b"n"), b"0-0", 0), self.clock.monotonic() + 4, "worker")
            for keys in stream.partitions
        ]
        self.gate = Gate(processor, self.clock, self.done, lambda: self.changes.append(self.gate.state))

    def done(self) -> int:
        return sum(lease.done for lease in self.leases)

    def fail(self, keys: int, partition: int = 0) -> list[bool]:
        """So many keys fail; of each whether its event is kept."""
        error = ConnectionError("no database")
        return [self.gate.keeps(self.leases[partition], b"%d" % key, error) for key in range(keys)]

    def wait(self, partition: int, *, has_events: bool = True) -> float:
        return self.gate.wait(self.leases[partition], has_events=has_events)

    def do(self, partition: int) -> None:
        """Have it do an event."""
        position: Position = self.leases[partition].position
        position.take_in([(b"1-0", [])])
        position.at += 1


BREAKER = CircuitBreaker(keys=3, backoff=5, max_backoff=60)


def opened() -> Scene:
    scene = Scene(breaker=BREAKER)
    assert scene.fail(3) == [False, False, True]
    return scene


def probing(partition: int = 0) -> Scene:
    scene = opened()
    scene.clock.advance(5)
    assert scene.wait(partition) == 0
    return scene


@pytest.mark.parametrize(
    ("policy", "breaker"), [("park", None), ("ignore", BREAKER), ("halt", BREAKER), ("quarantine", BREAKER)]
)
def test_without_a_breaker_and_under_other_policies_it_holds_nothing(policy: str, breaker: CircuitBreaker | None) -> None:
    scene = Scene(policy, breaker)
    assert not any(scene.fail(100))
    assert scene.wait(0) == 0
    assert scene.gate.statistics() == {}


def test_while_it_is_open_all_wait_and_look_again_now_and_then() -> None:
    scene = opened()
    assert [scene.gate.holds(lease) for lease in scene.leases] == [True] * 3
    assert scene.wait(0) == LOOK
    scene.clock.advance(4.5)
    assert scene.wait(1) == 0.5
    assert scene.gate.statistics() == {"breaker": "open", "pauses": 1}


def test_who_has_no_events_does_not_probe() -> None:
    scene = opened()
    scene.clock.advance(5)
    assert scene.wait(0, has_events=False) == LOOK
    assert scene.gate.state == "open"


def test_while_one_probes_the_others_are_held() -> None:
    scene = probing(1)
    assert [scene.gate.holds(lease) for lease in scene.leases] == [True, False, True]


def test_what_the_prober_does_lets_all_go_on() -> None:
    scene = probing(1)
    scene.do(1)
    assert [scene.gate.holds(lease) for lease in scene.leases] == [False] * 3
    assert scene.wait(0) == 0


def test_events_that_leave_the_log_are_not_done() -> None:
    scene = probing(1)
    scene.do(1)
    scene.leases[1].position.passed += 1
    assert scene.gate.holds(scene.leases[0])


def test_a_prober_that_has_nothing_to_run_lets_another_probe_at_once() -> None:
    scene = probing(1)
    assert scene.wait(0) > 0
    scene.gate.is_idle(scene.leases[2])
    assert scene.wait(0) > 0
    scene.gate.is_idle(scene.leases[1])
    assert scene.wait(0) == 0
    assert scene.gate.holds(scene.leases[1])


def test_a_prober_that_hangs_is_followed_by_another() -> None:
    scene = probing(1)
    scene.clock.advance(5)
    assert scene.wait(0) == 0
    assert scene.gate.holds(scene.leases[1])
    scene.do(0)
    assert not scene.gate.holds(scene.leases[1])


def test_after_a_probe_that_failed_another_partition_comes_first() -> None:
    """All wake at the same moment, and one that has a bad event next would come first for ever."""
    scene = probing(1)
    scene.fail(1, partition=1)
    scene.clock.advance(60)
    assert scene.wait(1) == GIVE_WAY
    assert scene.wait(0) == 0
    assert scene.wait(1) > GIVE_WAY


def test_what_a_handler_rejects_is_never_kept_and_opens_nothing() -> None:
    scene = Scene(breaker=BREAKER)
    assert not any(scene.gate.keeps(scene.leases[0], b"%d" % n, Reject("never")) for n in range(100))
    scene.fail(3)
    assert scene.gate.state == "open"
    assert not scene.gate.keeps(scene.leases[0], b"x", Reject("never"))


def test_it_says_once_that_it_opened_and_once_that_it_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scene = probing(0)
    for _ in range(3):
        scene.fail(3)
        scene.clock.advance(100)
        assert scene.wait(0) == GIVE_WAY
        assert scene.wait(0) == 0
    scene.do(0)
    scene.gate.holds(scene.leases[0])
    said = [record.message for record in caplog.records]
    assert [message.split(":")[0] for message in said] == ["circuit breaker open", "circuit breaker closed"]
    assert caplog.records[0].__dict__["error"] == "ConnectionError: no database"
    assert (scene.changes[0], scene.changes[-1]) == ("open", "closed")


def test_a_parked_event_that_runs_again_is_not_kept_on_while_it_is_open() -> None:
    """Or who asks whether it is tried again, such as a middleware for dead letters, would be told so of one that is moved."""
    scene = opened()
    [lease, *_] = scene.leases
    assert scene.gate.keeps_on(lease, ConnectionError())
    lease.replay = Replay(cursor=b"0-0", count=0, main=lease.position, key=b"7", ids=[])
    assert not scene.gate.keeps_on(lease, ConnectionError())
