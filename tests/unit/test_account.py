"""What is said of lines when sending has to stop."""

from runnel.operations.account import NO_LINES, Account, Lines
from runnel.producer import Fate

SENT: Fate = "in the log"
NOT: Fate = "not in the log"
UNKNOWN: Fate = "unknown"


def account(first: int = 1, skip: str = "") -> Account:
    return Account(first, Lines.read(skip) if skip else NO_LINES)


def test_lines_are_written_as_they_are_read() -> None:
    assert str(Lines.read("9,3-5,4,7,8,1")) == "1,3-5,7-9"


def test_nothing_was_sent() -> None:
    assert account(5).told("no") == "no. No line was sent; go on with --from-line 5"


def test_lines_up_to_one_were_sent() -> None:
    it = account()
    it.passed(7)
    assert it.told("no") == "no. Lines 1 to 7 were sent; go on with --from-line 8"


def test_lines_behind_the_first_that_was_not_sent_are_skipped_when_going_on() -> None:
    it = account()
    it.passed(2)
    it.ended([(3, SENT), (4, NOT), (5, SENT), (6, SENT), (7, NOT), (9, SENT)])
    assert it.told("no") == "no. Lines 1 to 3 and 5-6,9 were sent; go on with --from-line 4 --skip 5-6,9"


def test_the_first_line_was_not_sent_but_others() -> None:
    it = account()
    it.ended([(1, NOT), (2, SENT)])
    assert it.told("no") == "no. Lines 2 were sent; go on with --from-line 1 --skip 2"


def test_blank_lines_count_as_sent() -> None:
    it = account()
    it.ended([(3, SENT), (5, NOT)])
    assert it.told("no") == "no. Lines 1 to 4 were sent; go on with --from-line 5"


def test_what_was_to_be_skipped_is_not_forgotten() -> None:
    it = account(4, skip="6,2000")
    assert [line for line in (3, 4, 6, 7) if it.wants(line)] == [4, 7]
    it.ended([(4, SENT), (5, SENT), (7, NOT)])
    assert it.told("no") == "no. Lines 4 to 6 and 2000 were sent; go on with --from-line 7 --skip 2000"


def test_all_of_an_interrupted_batch_was_sent() -> None:
    it = account()
    it.ended([(1, SENT), (2, SENT)])
    assert it.told("no") == "no. Lines 1 to 2 were sent; go on with --from-line 3"


def test_of_what_is_not_known_both_ways_to_go_on_are_told() -> None:
    it = account()
    it.ended([(1, SENT), (2, UNKNOWN), (3, SENT), (4, UNKNOWN), (5, NOT), (6, SENT)])
    assert it.told("no") == (
        "no. Lines 1 to 1 and 3,6 were sent; of 2,4 it is not known. Look for them in the log, and go on "
        "with --from-line 5 --skip 6, which leaves them out, or with --from-line 2 --skip 3,6, which sends them again"
    )
