"""An outbox as its relay knows it: every event once and in order at its target, whoever refuses, is late, or is lost."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import define, field

from runnel.errors import StoreRefused
from runnel.roles.outbox import CLOSED, ODD, REFUSES, Outbox, Step
from runnel.store.keys import PartitionKeys
from runnel.store.outbox import LARGEST, PAGE, TARGET, Delivered, Entry, Target
from runnel.store.script import Call

SOURCE = PartitionKeys("shop", "sales", 0)
TARGETS = [PartitionKeys("shop", "alerts", n) for n in range(3)]


def number(entry: bytes) -> tuple[int, int]:
    ms, seq = entry.split(b"-")
    return int(ms), int(seq)


@define(eq=False)
class Server:
    """One outbox and the logs of its targets, with the scripts' rules and nothing else; payloads are their numbers."""

    outbox: list[Entry] = field(factory=list)
    logs: dict[bytes, list[bytes]] = field(factory=lambda: defaultdict(list))
    marks: dict[bytes, bytes] = field(factory=dict)
    emitted: dict[bytes, list[bytes]] = field(factory=lambda: defaultdict(list))
    refusing: set[bytes] = field(factory=set)
    refuses: Callable[[Any], bool] = lambda call: False
    count: int = 0

    def emit(self, target: PartitionKeys, size: int = 1) -> None:
        self.count += 1
        payload = b"%d" % self.count
        entry = b"9-%d" % self.count
        self.outbox.append((entry, [TARGET, Target(target, 9, "block").field, b"data", payload, b"pad", b"." * size]))
        self.emitted[target.log].append(payload)

    def answer(self, call: Any) -> Any:
        if self.refuses(call):
            return StoreRefused("no")
        if isinstance(call, Call):
            return self._deliver(call.keys[0], list(call.args))
        if call.words[0] == b"XDEL":
            before = len(self.outbox)
            self.outbox = [entry for entry in self.outbox if entry[0] not in call.words[2:]]
            return before - len(self.outbox)
        after, most = number(call.words[2][1:]), call.words[5]
        return [entry for entry in self.outbox if number(entry[0]) > after][:most]

    def _deliver(self, log: bytes, args: list[Any]) -> Any:
        if log in self.refusing:
            return StoreRefused("no")
        before, at = len(self.logs[log]), 1
        while at < len(args):
            entry, size = args[at], args[at + 3]
            if number(entry) > number(self.marks.get(log, b"0-0")):
                self.marks[log] = entry
                self.logs[log].append(args[at + 5])
            at += 4 + size
        return Delivered(len(self.logs[log]) - before, 0)

    def check(self) -> None:
        """Nothing is twice, nothing is missing in between, and what is not there yet is in the outbox."""
        waiting = {entry for entry, _ in self.outbox}
        for log, emitted in self.emitted.items():
            arrived = self.logs[log]
            assert arrived == emitted[: len(arrived)]
            assert {b"9-" + payload for payload in emitted[len(arrived) :]} <= waiting

    @property
    def is_delivered(self) -> bool:
        return not self.outbox and all(self.logs[log] == emitted for log, emitted in self.emitted.items())


def run(server: Server, outbox: Outbox, most: int = PAGE, steps: Sequence[Step] | None = None) -> int:
    """One exchange."""
    steps = outbox.steps(most) if steps is None else steps
    answers = [server.answer(step.call) for step in steps]
    delivered = sum(step.take(answer) for step, answer in zip(steps, answers, strict=True))
    server.check()
    return delivered


def finish(server: Server, outbox: Outbox, most: int = PAGE) -> int:
    """Exchanges until there is nothing to ask; how many."""
    exchanges = 0
    while outbox.is_busy:
        assert not is_done(outbox)
        run(server, outbox, most)
        exchanges += 1
        assert exchanges < 10_000, "it spins"
    return exchanges


def is_done(outbox: Outbox) -> bool:
    return outbox.is_done  # mypy takes a property for something that stays


def fresh() -> Outbox:
    return Outbox(SOURCE, "bill")


# ── all is well ──


def test_an_outbox_is_read_delivered_and_emptied_and_then_done() -> None:
    server, outbox = Server(), fresh()
    for n in range(7):
        server.emit(TARGETS[n % 3])
    assert not is_done(outbox)
    assert finish(server, outbox) == 3
    assert server.is_delivered
    assert is_done(outbox)


def test_the_next_page_is_read_while_the_last_is_delivered_and_the_one_before_is_removed() -> None:
    server, outbox = Server(), fresh()
    for _ in range(60):
        server.emit(TARGETS[0])
    assert finish(server, outbox, most=10) == 7 + 1, "the last one removes"
    assert server.is_delivered
    kinds = []
    server.emit(TARGETS[0])
    outbox.told = True
    while outbox.is_busy:
        steps = outbox.steps(1)
        kinds.append([step.call.script.name if isinstance(step.call, Call) else step.call.words[0] for step in steps])
        run(server, outbox, steps=steps)
    assert kinds == [[b"XRANGE"], ["deliver", b"XRANGE"], [b"XDEL"]]


def test_what_comes_while_it_is_read_is_found() -> None:
    server, outbox = Server(), fresh()
    steps = outbox.steps(PAGE)
    answers = [server.answer(step.call) for step in steps]
    server.emit(TARGETS[0])
    outbox.told = True  # before the answer, which does not have it
    for step, answer in zip(steps, answers, strict=True):
        step.take(answer)
    assert not is_done(outbox)
    finish(server, outbox)
    assert server.is_delivered


def test_one_exchange_holds_no_more_than_a_script_may_carry() -> None:
    server, outbox = Server(), fresh()
    for _ in range(9):
        server.emit(TARGETS[0], size=LARGEST // 3)
    server.emit(TARGETS[1], size=3 * LARGEST)
    run(server, outbox)
    while outbox.is_busy:
        held = sum(len(part) for events in outbox.page.values() for event in events for part in event.fields)
        assert held <= LARGEST or [len(events) for events in outbox.page.values()] == [1]
        run(server, outbox)
    assert server.is_delivered


# ── refusals ──


def test_a_target_that_refuses_holds_up_no_other_and_gets_its_events_later_in_order() -> None:
    server, outbox = Server(), fresh()
    server.refusing.add(TARGETS[0].log)
    for n in range(30):
        server.emit(TARGETS[n % 3])
    finish(server, outbox, most=4)
    assert [len(server.logs[target.log]) for target in TARGETS] == [0, 10, 10]
    assert not is_done(outbox)
    assert outbox.troubles[TARGETS[0].log].said is REFUSES
    for n in range(6):
        server.emit(TARGETS[n % 3])
    outbox.told = True
    finish(server, outbox, most=4)
    assert [len(server.logs[target.log]) for target in TARGETS] == [0, 12, 12]
    outbox.retry()
    assert finish(server, outbox) == 1, "only the first one that waits is tried"
    server.refusing.clear()
    outbox.retry()
    finish(server, outbox, most=4)
    assert server.is_delivered
    assert is_done(outbox)
    assert not outbox.troubles


def test_two_targets_that_refuse_and_mend_one_after_the_other() -> None:
    server, outbox = Server(), fresh()
    server.refusing |= {TARGETS[0].log, TARGETS[1].log}
    for n in range(30):
        server.emit(TARGETS[n % 2])
    finish(server, outbox, most=4)
    for target in TARGETS[:2]:
        server.refusing.discard(target.log)
        outbox.retry()
        finish(server, outbox, most=4)
        assert server.logs[target.log] == server.emitted[target.log]
    assert server.is_delivered


def test_a_page_that_was_asked_for_while_a_target_mended_leaves_no_gap() -> None:
    server, outbox = Server(), fresh()
    server.refusing.add(TARGETS[0].log)
    for _ in range(3):
        server.emit(TARGETS[0])
    finish(server, outbox)
    server.refusing.clear()
    server.emit(TARGETS[0])
    outbox.retry()
    outbox.told = True  # the first one is tried, and the fourth one read, in one exchange
    finish(server, outbox)
    assert server.is_delivered


def test_an_entry_that_is_not_understood_stops_what_lies_behind_it_and_does_not_spin() -> None:
    server, outbox = Server(), fresh()
    server.emit(TARGETS[0])
    server.outbox.append((b"9-1000", [b"what", b"ever"]))
    server.count = 2000
    server.emit(TARGETS[1])
    for _ in range(3):
        outbox.told = True
        finish(server, outbox)
        assert [len(server.logs[target.log]) for target in TARGETS[:2]] == [1, 0]
        assert not is_done(outbox)
        [trouble] = outbox.troubles.values()
        assert trouble.said is ODD
        assert trouble.error.startswith("9-1000: it does not begin with ~target")
        outbox.retry()
    del server.outbox[0]  # as the operator does, who was told which one it is
    finish(server, outbox)
    assert [len(server.logs[target.log]) for target in TARGETS[:2]] == [1, 1]
    assert is_done(outbox)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        b'["alerts", 1, 9]',
        b'["alerts", "1", 9, "block"]',
        b'["alerts", true, 9, "block"]',
        b'["alerts", -1, 9, "block"]',
        b'["alerts", 1, 0, "block"]',
        b'["alerts", 1, 9, "wait"]',
        b"\xff\xfe",
    ],
)
def test_targets_that_are_none(said: bytes) -> None:
    server, outbox = Server(outbox=[(b"1-0", [TARGET, said, b"data", b"1"])]), fresh()
    finish(server, outbox)
    [trouble] = outbox.troubles.values()
    assert "not stream, partition, cap, overflow" in trouble.error


@pytest.mark.parametrize("fields", [[], [TARGET], [TARGET, b"x"], [TARGET, b"x", b"data"], [b"data", b"1", TARGET, b"x"]])
def test_entries_that_are_none(fields: list[bytes]) -> None:
    server, outbox = Server(outbox=[(b"1-0", fields)]), fresh()
    finish(server, outbox)
    [trouble] = outbox.troubles.values()
    assert trouble.said is ODD


@pytest.mark.parametrize("word", [b"XRANGE", b"XDEL"])
def test_an_outbox_that_the_server_refuses_is_tried_later(word: bytes) -> None:
    server, outbox = Server(), fresh()
    for _ in range(3):
        server.emit(TARGETS[0])
    server.refuses = lambda call: not isinstance(call, Call) and call.words[0] == word
    for _ in range(3):
        finish(server, outbox)
        assert [trouble.said for trouble in outbox.troubles.values()] == [CLOSED]
        outbox.retry()
    server.refuses = lambda call: False
    finish(server, outbox)
    assert server.is_delivered
    assert is_done(outbox)


def test_what_cannot_be_removed_does_not_pile_up_in_memory() -> None:
    server, outbox = Server(), fresh()
    for _ in range(100):
        server.emit(TARGETS[0])
    server.refuses = lambda call: not isinstance(call, Call) and call.words[0] == b"XDEL"
    for _ in range(3):
        finish(server, outbox, most=5)
        assert len(outbox.delivered) <= 3 * 2 * 5
        outbox.retry()


# ── a server that is away ──


def test_what_was_read_before_an_exchange_was_lost_is_forgotten() -> None:
    """The server may have another past: what was read there may never have been emitted."""
    server, outbox = Server(), fresh()
    server.refusing.add(TARGETS[1].log)
    server.emit(TARGETS[0])
    server.emit(TARGETS[1])
    run(server, outbox)
    run(server, outbox)
    server.emit(TARGETS[0])
    outbox.told = True
    run(server, outbox)
    assert outbox.page
    assert outbox.held
    server.outbox.clear()
    server.emitted = defaultdict(list, {log: list(arrived) for log, arrived in server.logs.items()})
    server.refusing.clear()
    outbox.restart()
    outbox.retry()
    finish(server, outbox)
    assert server.is_delivered
    assert is_done(outbox)


@pytest.mark.parametrize("seed", range(150))
def test_any_number_of_relays_at_once_with_refusals_lost_answers_and_late_copies(seed: int) -> None:
    dice = random.Random(seed)
    server, relays = Server(), [fresh() for _ in range(dice.randint(1, 3))]
    travelling: dict[Outbox, list[Step]] = {}
    copies: list[Any] = []
    for _ in range(400):
        outbox = dice.choice(relays)
        match dice.choice(["emit", "emit", "send", "send", "send", "answer", "lose", "late", "refuse", "mend", "retry"]):
            case "emit":
                server.emit(dice.choice(TARGETS))
                outbox.told = True
            case "send" if outbox not in travelling and outbox.is_busy:
                travelling[outbox] = outbox.steps(dice.randint(1, 5))
            case "answer" if outbox in travelling:
                run(server, outbox, steps=travelling.pop(outbox))
            case "lose" if outbox in travelling:
                calls = [step.call for step in travelling.pop(outbox)]
                for call in calls[: dice.randint(0, len(calls))]:  # what did not arrive may yet
                    server.answer(call)
                copies += calls
                outbox.restart()
            case "late" if copies:
                server.answer(dice.choice(copies))
            case "refuse":
                server.refusing.add(dice.choice(TARGETS).log)
            case "mend":
                server.refusing.discard(dice.choice(TARGETS).log)
            case "retry" if outbox not in travelling:
                outbox.retry()
        server.check()
    server.refusing.clear()
    for outbox in relays:
        outbox.restart()
        finish(server, outbox, most=3)
        assert is_done(outbox)
    assert server.is_delivered
