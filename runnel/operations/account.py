"""Which lines of a file are in the log: kept while they are sent, and told when that has to stop.

Plain data. It gets the fates of lines from the sending, and passes on what to do next, which never sends a line twice.
"""

import re
from collections.abc import Iterable

from attrs import define, field, frozen

from runnel.errors import ConfigurationError
from runnel.producer import Fate


@frozen
class Lines:
    """Numbers of lines, written "3-5,9"."""

    numbers: frozenset[int] = frozenset()

    @classmethod
    def read(cls, text: str) -> "Lines":
        """Lines as `str` writes them.

        Raises:
            ConfigurationError: It is not of that form.
        """
        found: set[int] = set()
        for part in text.split(","):
            numbers = re.fullmatch(r"([0-9]{1,12})(?:-([0-9]{1,12}))?", part.strip())
            if numbers is None or int(numbers[2] or numbers[1]) < int(numbers[1]):
                raise ConfigurationError(f"{text!r} are no lines: write them like 3-5,9")
            found.update(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
        return cls(frozenset(found))

    def __str__(self) -> str:
        numbers = sorted(self.numbers)
        starts = [n for n in numbers if n - 1 not in self.numbers]
        ends = [n for n in numbers if n + 1 not in self.numbers]
        return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


NO_LINES = Lines()


@define
class Account:
    """What is known of the lines.

    Attributes:
        first: The line to begin with.
        skip: Lines behind it that need not be sent.
        done: The last line before and with which all are done.
        sent: Lines behind that one that are in the log.
        unknown: Lines of which it is not known.
    """

    first: int
    skip: Lines
    done: int = field(init=False)
    sent: set[int] = field(init=False)
    unknown: set[int] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.done = self.first - 1
        self.sent = set(self.skip.numbers)

    def wants(self, line: int) -> bool:
        """Whether a line is to be sent."""
        return line >= self.first and line not in self.skip.numbers

    def passed(self, line: int) -> None:
        """All lines up to this one are done."""
        self.done = max(self.done, line)

    def ended(self, fates: Iterable[tuple[int, Fate]]) -> None:
        """What became of the lines of the last batch, in their order. Those between them had no record."""
        by_line = dict(fates)
        self.sent |= {line for line, fate in by_line.items() if fate == "in the log"}
        self.unknown = {line for line, fate in by_line.items() if fate == "unknown"}
        missing = [line for line, fate in by_line.items() if fate != "in the log"]
        self.passed(missing[0] - 1 if missing else max(by_line, default=0))

    def told(self, why: str) -> str:
        """Why it stopped, what is in the log, and how to go on."""
        if not self.unknown:
            return f"{why}. {self._sent()}; go on with {self._rest(self.sent)}"
        return (
            f"{why}. {self._sent()}; of {Lines(frozenset(self.unknown))} it is not known. Look for them in the log, and go on "
            f"with {self._rest(self.sent | self.unknown)}, which leaves them out, "
            f"or with {self._rest(self.sent)}, which sends them again"
        )

    def _sent(self) -> str:
        upto = f"{self.first} to {self.done}" if self.done >= self.first else ""
        behind = str(self._behind(self.done, self.sent))
        lines = " and ".join(part for part in (upto, behind) if part)
        return f"Lines {lines} were sent" if lines else "No line was sent"

    def _rest(self, sent: set[int]) -> str:
        done = self.done
        while done + 1 in sent:
            done += 1
        behind = self._behind(done, sent)
        return f"--from-line {done + 1}" + (f" --skip {behind}" if behind.numbers else "")

    @staticmethod
    def _behind(line: int, lines: set[int]) -> Lines:
        return Lines(frozenset(each for each in lines if each > line))
