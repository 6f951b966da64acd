"""What the parent of a crew decides, without a process."""

import signal
from collections.abc import Sequence

from runnel.actors import Backoff, OneForOne
from runnel.crew.decision import (
    Crew,
    Due,
    Effect,
    Ended,
    Event,
    Pass,
    Ready,
    Say,
    Signalled,
    Start,
    StartLater,
    begin,
    how,
    step,
    supervision_of,
)

CRASH, HALTED, USAGE, SERVER = 70, 3, 2, 4
INT, TERM, HUP, QUIT, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL


class World:
    """A crew, and what it wanted done at each event."""

    def __init__(self, size: int = 3, intensity: int = 2) -> None:
        strategy = OneForOne(intensity=intensity, period=60, backoff=Backoff(1, max=10))
        new = Crew(size=size, final=frozenset({HALTED}), final_at_first=frozenset({USAGE, SERVER}), strategy=strategy)
        self.now = 1000.0
        self.crew, self.first = begin(new)

    def after(self, *events: Event) -> Sequence[Effect]:
        """What the last of these events calls for, without what is only said."""
        effects: Sequence[Effect] = ()
        for event in events:
            self.crew, effects = step(self.crew, event, self.now)
        self.said = [effect for effect in effects if isinstance(effect, Say)]
        return [effect for effect in effects if not isinstance(effect, Say)]


def started(size: int = 3, intensity: int = 2) -> World:
    world = World(size, intensity)
    world.after(*(Ready(number) for number in range(1, size + 1)))
    return world


def test_one_worker_starts_first_and_the_others_when_it_is_up() -> None:
    world = World()
    assert world.first == [Start(1)]
    assert world.after(Ready(1)) == [Start(2), Start(3)]
    assert world.after(Ready(2)) == []


def test_a_configuration_error_of_the_first_ends_the_crew_and_nothing_more_is_said() -> None:
    for code in (USAGE, SERVER):
        world = World()
        assert world.after(Ended(1, code)) == []
        assert (world.crew.over, world.crew.outcome, world.crew.failure, world.said) == (True, code, "", [])


def test_once_one_was_up_such_an_end_is_a_crash() -> None:
    for code in (USAGE, SERVER):
        world = started()
        assert world.after(Ended(2, code)) == [StartLater(2, 1.0)]
        assert not world.crew.over


def test_what_crashes_starts_again_after_pauses_that_grow() -> None:
    world = started()
    assert world.after(Ended(2, -KILL, 77)) == [StartLater(2, 1.0)]
    [said] = world.said
    assert said.fields == {"worker_number": 2, "pid": 77, "ended": "killed by SIGKILL", "again_in": "1.0 s"}
    assert world.after(Due(2)) == [Start(2)]
    assert world.after(Ended(3, 0)) == [StartLater(3, 2.0)]  # all workers are one group


def test_a_first_worker_that_crashes_is_tried_again_alone() -> None:
    world = World()
    assert world.after(Ended(1, CRASH)) == [StartLater(1, 1.0)]
    assert world.after(Due(1)) == [Start(1)]
    assert world.after(Ready(1)) == [Start(2), Start(3)]


def test_a_worker_that_is_up_again_does_not_start_the_others_again() -> None:
    world = started()
    assert world.after(Ended(1, CRASH), Due(1), Ready(1)) == []


def test_too_many_restarts_stop_all() -> None:
    world = started()
    world.after(Ended(1, CRASH), Due(1), Ended(1, CRASH), Due(1))
    assert world.after(Ended(1, CRASH)) == [Pass(2, TERM), Pass(3, TERM)]
    assert not world.crew.over
    world.after(Ended(2, 0), Ended(3, 0))
    assert (world.crew.over, world.crew.outcome) == (True, 1)
    assert world.crew.failure == (
        "workers end too often: more than 2 restarts within 60 s; the last was worker 1: exit code 70"
    )


def test_restarts_of_long_ago_do_not_count() -> None:
    world = started()
    for _ in range(10):
        world.now += 61
        assert world.after(Ended(1, CRASH)) == [StartLater(1, 1.0)]
        world.after(Due(1))


def test_all_workers_may_crash_at_once_but_not_for_ever() -> None:
    assert (supervision_of(2).intensity, supervision_of(16).intensity) == (5, 16)


def test_a_halt_stops_all_and_is_the_outcome() -> None:
    world = started()
    assert world.after(Ended(2, HALTED)) == [Pass(1, TERM), Pass(3, TERM)]
    assert len(world.said) == 1
    assert world.after(Ended(1, 0)) == []
    assert not world.crew.over
    world.after(Ended(3, -KILL))
    assert len(world.said) == 1
    assert (world.crew.over, world.crew.outcome, world.crew.failure) == (True, HALTED, "")


def test_a_halt_while_all_stop_is_the_outcome_too() -> None:
    world = started(2)
    world.after(Signalled(TERM), Ended(1, HALTED), Ended(2, 0))
    assert world.crew.outcome == HALTED


def test_a_signal_is_passed_on_once_and_so_is_a_second_one() -> None:
    world = started(2)
    assert world.after(Signalled(INT)) == [Pass(1, INT), Pass(2, INT)]
    assert world.after(Ended(1, 0), Signalled(TERM)) == [Pass(2, TERM)]
    world.after(Ended(2, -TERM))
    assert world.said == []
    assert (world.crew.over, world.crew.outcome) == (True, 0)


def test_a_hangup_is_a_stop_and_a_quit_is_no_order() -> None:
    world = started(2)
    assert world.after(Signalled(HUP)) == [Pass(1, TERM), Pass(2, TERM)]
    assert world.after(Signalled(HUP)) == []  # a terminal that is closed may send it twice
    assert world.crew.outcome == 0
    assert world.after(Signalled(QUIT)) == [Pass(1, QUIT), Pass(2, QUIT)]
    assert world.crew.outcome == 1


def test_a_worker_that_is_not_up_gets_no_interrupt() -> None:
    world = World(2)
    world.after(Ready(1))
    assert world.after(Signalled(INT)) == [Pass(1, INT), Pass(2, TERM)]


def test_nothing_starts_once_all_stop() -> None:
    world = started(2)
    assert world.after(Ended(1, CRASH), Signalled(TERM)) == [Pass(2, TERM)]
    assert world.after(Due(1)) == []
    assert world.after(Ended(2, CRASH)) == []
    assert (world.crew.over, world.crew.outcome) == (True, 0)

    world = World(2)
    world.after(Signalled(TERM))
    assert world.after(Ready(1)) == []


def test_a_signal_in_the_pause_before_a_restart_ends_the_crew() -> None:
    world = World(2)
    world.after(Ended(1, CRASH), Signalled(INT))
    assert (world.crew.over, world.crew.outcome) == (True, 0)


def test_what_a_worker_said_that_has_ended_means_nothing() -> None:
    world = World(2)
    world.after(Ended(1, CRASH))
    assert world.after(Ready(1)) == []
    assert not world.crew.tried


def test_how_a_process_ended_is_said_in_words() -> None:
    assert [how(code) for code in (None, 0, 7, -9, -250)] == [
        *("not started", "exit code 0", "exit code 7", "killed by SIGKILL", "killed by signal 250")
    ]
