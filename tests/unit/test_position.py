"""Position: cursor and count, whatever is taken in, done and forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from runnel.handling.position import Position
from runnel.store.moves import LARGEST, MOST, Bury


def entries(first: int, count: int) -> list[tuple[bytes, list[bytes]]]:
    return [(b"%d-0" % n, []) for n in range(first, first + count)]


def test_it_begins_at_the_cursor_that_was_committed() -> None:
    position = Position(b"5-0", 17)
    assert (position.cursor, position.count, position.left) == (b"5-0", 17, 0)


def test_what_is_taken_in_is_not_done() -> None:
    position = Position(b"0-0", 0)
    position.take_in(entries(1, 3))
    assert (position.cursor, position.count, position.left) == (b"0-0", 0, 3)


def test_what_is_done_moves_cursor_and_count() -> None:
    position = Position(b"0-0", 10)
    position.take_in(entries(1, 3))
    position.out = 2
    position.done(2)
    assert (position.cursor, position.count, position.left, position.out) == (b"2-0", 12, 1, 0)


def test_batches_follow_each_other_and_what_is_done_is_forgotten() -> None:
    position = Position(b"0-0", 0)
    position.take_in(entries(1, 3))
    position.done(2)
    position.take_in(entries(4, 2))
    assert [entry_id for entry_id, _ in position.entries] == [b"3-0", b"4-0", b"5-0"]
    assert (position.cursor, position.count, position.left) == (b"2-0", 2, 3)


def test_forgetting_goes_back_to_the_cursor() -> None:
    position = Position(b"0-0", 0)
    position.take_in(entries(1, 3))
    position.done(1)
    position.out = 1
    position.forget()
    assert (position.cursor, position.count, position.left, position.out) == (b"1-0", 1, 0, 0)


def test_it_says_once_that_there_is_something_to_commit() -> None:
    said: list[str] = []
    position = Position(b"0-0", 0, on_dirty=lambda: said.append("dirty"))
    position.take_in(entries(1, 3))
    assert (said, position.dirty) == ([], False)
    position.done(1)
    position.done(1)
    assert (said, position.dirty) == (["dirty"], True)
    position.dirty = False  # a commit took it up
    position.done(1)
    assert said == ["dirty", "dirty"]


@given(st.lists(st.one_of(st.tuples(st.just("take"), st.integers(0, 4)), st.tuples(st.just("done"), st.integers(0, 4)),
                          st.tuples(st.just("forget"), st.just(0)))))  # fmt: skip
def test_cursor_and_count_tell_how_many_are_done(steps: list[tuple[str, int]]) -> None:
    position, read, done = Position(b"0-0", 0), 0, 0
    for step, n in steps:
        if step == "take":
            position.take_in(entries(read + 1, n))
            read += n
        elif step == "done":
            n = min(n, position.left)
            position.done(n)
            done += n
        else:
            position.forget()
            read = done
        assert (position.cursor, position.count, position.left) == (b"%d-0" % done, done, read - done)


# ── what commits carry ──


def test_a_commit_carries_what_left_the_log_with_the_cursor_behind_it() -> None:
    position = Position(b"0-0", 10)
    position.take_in(entries(1, 4))
    position.done(1)
    position.leave(Bury([b"data", b"2"]))
    position.done(1)
    assert position.take() == (b"3-0", 13, [Bury([b"data", b"2"])])
    assert (position.dirty, position.take()) == (False, (b"3-0", 13, []))


def test_what_one_commit_cannot_carry_follows_with_the_next() -> None:
    position = Position(b"0-0", 0)
    position.take_in(entries(1, MOST + 5))
    for _ in range(MOST + 5):
        position.leave(Bury([b"data", b"x"]))
    assert position.is_crowded
    cursor, count, moves = position.take()
    assert (cursor, count, len(moves), position.dirty) == (b"%d-0" % MOST, MOST, MOST, True)
    cursor, count, moves = position.take()
    assert (cursor, count, len(moves), position.dirty) == (b"%d-0" % (MOST + 5), MOST + 5, 5, False)
    assert not position.is_crowded


def test_a_commit_carries_so_many_bytes_or_a_single_event_that_is_larger() -> None:
    position = Position(b"0-0", 0)
    position.take_in(entries(1, 4))
    for size in (LARGEST + 1, LARGEST // 2, LARGEST // 3, LARGEST // 3):
        position.leave(Bury([b"data", bytes(size)]))
    assert position.is_crowded
    assert [position.take()[0] for _ in range(3)] == [b"1-0", b"3-0", b"4-0"]
    assert not position.dirty
