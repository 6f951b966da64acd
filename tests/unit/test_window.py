"""Window: cursor, marks and states, whatever order events of different keys are done in."""

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runnel.handling.window import LIGHT, MOST, Effect, Window
from runnel.store import acts
from runnel.store.acts import Act, Answer
from runnel.store.moves import LARGEST, Bury

Entry = tuple[bytes, list[bytes]]


def entries(*numbers: int) -> list[Entry]:
    return [(b"%d-0" % n, []) for n in numbers]


def window(*numbers: int, marks: Sequence[bytes] = ()) -> tuple[Window, list[Entry]]:
    """One with these events in hand."""
    made = Window(cursor=b"0-0", count=0)
    made.load_marks(marks)
    made.take_in(found := entries(*numbers))
    return made, found


def lists(carried: Iterable[Effect]) -> dict[str, list[bytes]]:
    """What a commit carries of saves, drops, marks, unmarks and reminders, each as one list."""
    found: dict[str, list[bytes]] = {}
    for effect in carried:
        assert not isinstance(effect, Answer)
        what, *args = effect.args
        found.setdefault(what.decode(), []).extend(args if what == b"remind" else args[1:])
    return found


# ── cursor and marks ──


def test_what_is_done_in_the_logs_order_moves_the_cursor_and_needs_no_mark() -> None:
    it, (one, two, _) = window(1, 2, 3)
    it.finish(one)
    it.finish(two)
    assert it.take() == (b"2-0", 2, [])
    assert not it.above


def test_what_is_done_before_an_earlier_one_is_marked_and_the_cursor_stays() -> None:
    it, (_, two, three, _) = window(1, 2, 3, 4)
    it.finish(three)
    it.finish(two)
    cursor, count, carried = it.take()
    assert (cursor, count, lists(carried)) == (b"0-0", 0, {"mark": [b"3-0", b"2-0"]})


def test_the_cursor_catches_up_and_takes_marks_back_with_it() -> None:
    it, (one, two, three, four) = window(1, 2, 3, 4)
    it.finish(three)
    it.take()
    it.finish(two)  # which no commit has marked: nothing to take back
    it.finish(one)
    cursor, count, carried = it.take()
    assert (cursor, count, lists(carried)) == (b"3-0", 3, {"unmark": [b"3-0"]})
    it.finish(four)
    assert it.take() == (b"4-0", 4, [])


def test_a_mark_is_committed_once() -> None:
    it, (_, two, three) = window(1, 2, 3)
    it.finish(two)
    it.take()
    it.finish(three)
    assert lists(it.take()[2]) == {"mark": [b"3-0"]}


def test_what_leaves_the_log_makes_way_for_what_is_done_behind_it() -> None:
    it, (_, two, _) = window(1, 2, 3)
    it.finish(two)
    it.out = 1
    it.leave(bury := Bury([b"data", b"1"]))
    assert (it.cursor, it.passed) == (b"2-0", 1)
    assert it.take()[2] == [bury]


def test_it_says_once_that_there_is_something_to_commit() -> None:
    it, (one, two, three) = window(1, 2, 3)
    said = []
    it.on_dirty = lambda: said.append(it.at)
    it.finish(two)
    it.finish(one)
    assert len(said) == 1
    it.take()
    it.finish(three)
    assert len(said) == 2


# ── what earlier owners have done ──


def test_what_was_marked_by_an_earlier_owner_is_passed_when_its_turn_comes() -> None:
    it, (one, *_) = window(1, 2, 3, marks=[b"2-0"])
    assert it.above == {b"2-0"}
    it.finish(one)
    cursor, count, carried = it.take()
    assert (cursor, count, lists(carried)) == (b"2-0", 2, {"unmark": [b"2-0"]})


def test_what_was_marked_is_passed_when_it_is_read_first() -> None:
    it, _ = window(1, 2, marks=[b"1-0"])
    assert (it.cursor, it.dirty) == (b"1-0", True)


def test_marks_at_or_below_the_cursor_go_with_the_next_commit() -> None:
    it = Window(cursor=b"9-0", count=9)
    it.load_marks([b"10-0", b"9-0", b"8-7"])
    it.take_in([last := entries(11)[0]])
    it.finish(last)
    assert sorted(lists(it.take()[2])["unmark"]) == [b"10-0", b"8-7", b"9-0"]
    assert not it.above


def test_marks_of_events_that_are_not_in_the_log_any_more_go_when_the_cursor_passes_them() -> None:
    it, (one, three) = window(1, 3, marks=[b"2-0", b"4-0"])  # drop_oldest, or XDEL
    it.finish(one)
    assert it.take() == (b"1-0", 1, [])
    it.finish(three)
    assert lists(it.take()[2]) == {"unmark": [b"2-0"]}
    assert it.above == {b"4-0"}


def test_what_it_did_itself_and_is_gone_when_it_reads_again_goes_too() -> None:
    it, (_, two, _) = window(1, 2, 3)
    it.finish(two)
    it.forget()
    it.take_in([three := entries(3)[0]])
    it.finish(three)
    assert it.take() == (b"3-0", 1, [])
    assert not it.above


# ── states and effects ──


def test_a_commit_says_the_last_state_of_each_key_and_which_are_deleted() -> None:
    it, _ = window()
    it.save(b"a", b"1")
    it.save(b"b", b"2")
    it.save(b"a", b"3")
    it.save(b"b", None)
    assert lists(it.take()[2]) == {"save": [b"a", b"3"], "drop": [b"b"]}
    assert it.take()[2] == []


def test_states_are_known_until_the_server_has_them_for_certain() -> None:
    it, _ = window()
    it.save(b"a", b"1")
    assert it.states.knows(b"a")
    it.take()
    it.save(b"a", None)
    assert it.states.of(b"a") is None
    it.take()
    assert it.states.knows(b"a"), "it is on its way"
    it.take()
    assert not it.states.knows(b"a")


def test_reminders_are_told_as_a_whole_and_their_end_too() -> None:
    it, _ = window()
    it.pend(b"a", b'{"x":1}')
    assert lists(it.take()[2]) == {"remind": [b"a", b'{"x":1}']}
    it.pend(b"a", None)
    assert lists(it.take()[2]) == {"remind": [b"a", b""]}


def test_it_is_full_of_many_states_until_a_commit_takes_them_up() -> None:
    it, _ = window()
    for n in range(MOST):
        assert not it.is_full
        it.save(b"%d" % n, b"")
    assert it.is_full
    it.take()
    assert not it.is_full


def test_it_is_full_of_large_states_but_one_that_is_replaced_does_not_count() -> None:
    it, _ = window()
    for _ in range(100):
        it.save(b"a", bytes(LARGEST // 2))
        assert not it.is_full
    it.save(b"b", bytes(LARGEST // 2))
    assert it.is_full


def test_states_that_are_not_weighed_are_within_bounds() -> None:
    assert MOST * LIGHT <= LARGEST


def test_it_is_full_of_effects_by_number_and_by_size() -> None:
    it, _ = window()
    it.add([acts.emit([b"data", bytes(LARGEST)])], emits=True)
    assert it.is_full
    it.take()
    it.add([acts.emit([b"data", b""])] * MOST)
    assert it.is_full


def test_the_relay_hears_of_what_was_emitted_when_that_is_committed() -> None:
    it, (one, two) = window(1, 2)
    heard = []
    it.on_emitted = lambda: heard.append(it.at)
    it.finish(one)
    it.add([acts.emit([b"data", b""])], emits=True)
    it.take()
    assert not heard
    it.committed()
    assert len(heard) == 1
    it.finish(two)
    it.take()
    it.committed()
    assert len(heard) == 1


# ── against an oracle ──


class Partition(RuleBasedStateMachine):
    """A log, a server that carries out commits, and owners that come and go; each event counts in the state of its key."""

    def __init__(self) -> None:
        super().__init__()
        self.added = 0
        self.log: list[bytes] = []
        self.cursor = b"0-0"
        self.marks: set[bytes] = set()
        self.states: dict[bytes, int] = {}
        self.done: set[bytes] = set()
        """By this owner, or committed by earlier ones."""
        self.window = Window(cursor=self.cursor, count=0)
        self.window.load_marks([])
        self.hand: dict[bytes, Entry] = {}
        """What was handed out and is not done."""
        self.read = 0
        """The number of the last event that was read."""
        self.is_trimmed = False

    # events are numbered, and their keys are the numbers' last digits in base 3

    @rule(count=st.integers(1, 5))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.added += 1
            self.log.append(b"%d-0" % self.added)

    @rule(most=st.integers(1, 5))
    def take_in(self, most: int) -> None:
        batch = [(xid, list[bytes]()) for xid in self.log if number(xid) > self.read][:most]
        if batch:
            done = set(self.window.above)
            self.window.take_in(batch)
            self.read = number(batch[-1][0])
            self.hand |= {entry[0]: entry for entry in batch if entry[0] not in done}

    @precondition(lambda self: self.hand)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """The first event of some key is done."""
        firsts = {key_of(xid): xid for xid in sorted(self.hand, key=number, reverse=True)}
        xid = data.draw(st.sampled_from(sorted(firsts.values())))
        assert xid not in self.done, "done twice"
        self.done.add(xid)
        self.window.save(key_of(xid), b"%d" % sum(key_of(each) == key_of(xid) for each in self.done))
        self.window.finish(self.hand.pop(xid))

    @precondition(lambda self: self.window.left)
    @rule()
    def pass_over(self) -> None:
        """The first of all fails for good."""
        xid = self.window.entries[self.window.at][0]
        self.window.leave(Bury([b"data", xid]))
        del self.hand[xid]

    @rule(answered=st.booleans())
    def commit(self, answered: bool) -> None:
        cursor, count, carried = self.window.take()
        found = lists(effect for effect in carried if isinstance(effect, Act))
        self.cursor = cursor
        self.marks |= set(found.get("mark", ()))
        self.marks -= set(found.get("unmark", ()))
        saved = found.get("save", [])
        self.states |= {key: int(state) for key, state in zip(saved[::2], saved[1::2], strict=True)}
        assert not found.keys() - {"mark", "unmark", "save"}
        assert self.is_trimmed or count == number(cursor)
        if answered:
            self.window.committed()
        committed = {xid for xid in self.done if number(xid) <= number(cursor) or xid in self.marks}
        assert committed == self.done, "all that is done is committed"
        assert {key: sum(key_of(xid) == key for xid in self.done) for key in self.states} == self.states
        assert all(number(xid) > number(cursor) for xid in self.marks if xid in self.log)

    @rule()
    def begin_anew(self) -> None:
        """The partition's actor restarts; its lease goes on."""
        self.window.forget()
        self.read, self.hand = number(self.window.cursor), {}

    @rule()
    def next_owner(self) -> None:
        """What was not committed is undone."""
        self.done = {xid for xid in self.done if number(xid) <= number(self.cursor) or xid in self.marks}
        self.window = Window(cursor=self.cursor, count=number(self.cursor))
        self.window.load_marks([*self.marks])
        self.read, self.hand = number(self.cursor), {}

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Somebody takes an event out of the log, which may be in hand, done, or not read yet."""
        self.log.remove(data.draw(st.sampled_from(self.log)))
        self.is_trimmed = True

    @invariant()
    def the_cursor_is_below_all_that_is_left(self) -> None:
        assert all(number(xid) > number(self.window.cursor) for xid in self.hand)
        assert self.hand.keys() == {xid for xid, _ in self.window.entries[self.window.at :]} - self.window.above

    def teardown(self) -> None:
        """When the last events are done, no mark is left."""
        for number_ in range(2):  # the second is read after all marks
            self.add(1)
            while any(number(xid) > self.read for xid in self.log):
                self.take_in(5)
            for xid in sorted(self.hand, key=number):
                self.window.finish(self.hand.pop(xid))
                self.done.add(xid)
            cursor, _, carried = self.window.take()
            found: Any = lists(effect for effect in carried if isinstance(effect, Act))
            self.marks = (self.marks | set(found.get("mark", ()))) - set(found.get("unmark", ()))
            assert (number(cursor), self.marks) == (self.added, set()), number_


def number(xid: bytes) -> int:
    return int(xid.partition(b"-")[0])


def key_of(xid: bytes) -> bytes:
    return b"%d" % (number(xid) % 3)


Partition.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestAnyOrder = Partition.TestCase


@given(st.permutations(range(1, 9)), st.sets(st.integers(0, 7)))
def test_in_whatever_order_they_are_done_in_the_end_there_is_just_a_cursor(order: list[int], commits: set[int]) -> None:
    it, found = window(*range(1, 9))
    marks: set[bytes] = set()
    for step, which in enumerate(order):
        it.finish(found[which - 1])
        if step in commits or step == 7:
            cursor, _, carried = it.take()
            told = lists(carried)
            marks = (marks | set(told.get("mark", ()))) - set(told.get("unmark", ()))
            done = {b"%d-0" % each for each in order[: step + 1]}
            assert marks == {xid for xid in done if number(xid) > number(cursor)}
    assert (it.cursor, marks) == (b"8-0", set())
