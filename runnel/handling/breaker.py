"""The circuit breaker: tells a sick system from a sick key, by what failed lately. Plain data and plain decisions.

A partition that is about to pass over an event which failed for good asks first; as long as the breaker is open, the event
stays where it is.
"""

from typing import Any, Literal

from attrs import Attribute, define, field, frozen

from runnel.actors import Backoff
from runnel.clock import seconds
from runnel.errors import ConfigurationError

HEALTHY = 10
"""For how many events, times `keys`, a system has to do well before its next outage counts as a new one."""


def _keys(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"CircuitBreaker: keys must be a whole number of at least 1, not {value!r}")
    return value


def _share(breaker: Any, attribute: "Attribute[Any]", value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigurationError(f"CircuitBreaker: share must be above 0, and at most 1, not {value!r}")


def _pause(breaker: Any, attribute: "Attribute[Any]", value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigurationError(f"CircuitBreaker: {attribute.name} must be greater than 0, and finite, not {value!r}")


@frozen
class CircuitBreaker:
    """When a processor pauses, instead of passing over one failed event after the other (policies PARK and DEAD_LETTER).

    It opens when the events of `keys` different keys failed for good, and these are at least `share` of all events that the
    processor finished with meanwhile on this worker.

    Attributes:
        keys: How many different keys have to fail: at most `keys - 1` events are passed over before it opens.
        share: Which share of the events has to fail: 0.5 is every second one.
        backoff: How long the first pause is: seconds, or a timedelta. Each further one is twice as long.
        max_backoff: The longest pause.

    Raises:
        ConfigurationError: A value does not fit.
    """

    keys: int = field(default=10, converter=_keys)
    share: float = field(default=0.5, validator=_share)
    backoff: float = field(default=1.0, converter=seconds, validator=_pause)
    max_backoff: float = field(default=60.0, converter=seconds, validator=_pause)


@define
class Circuit:
    """A breaker's state, for one processor on one worker.

    `done` is how many events its partitions did so far, all together; it never falls. `now` is seconds by one clock. A
    partition is known by its number.

    Attributes:
        options: When it opens, and for how long.
        state: closed: all goes on. open: nothing runs until `until`. half-open: one partition, `prober`, has its next event
            run; if it is done the breaker closes, if it fails it opens anew.
        failed: The keys that failed last, the latest one at the end, and what `done` was then.
        pauses: How many pauses this outage has had.
        until: When the pause ends, or (half-open) when another partition may try: the prober may hang, or be gone.
        mark: What `done` was when the probe began, or when the breaker closed.
    """

    options: CircuitBreaker
    state: Literal["closed", "open", "half-open"] = "closed"
    failed: dict[bytes, int] = field(factory=dict)
    pauses: int = 0
    until: float = 0.0
    prober: int | None = None
    mark: int = 0

    def has_failed(self, partition: int, key: bytes, done: int, now: float) -> None:
        """An event of this key has failed for good. Unless the breaker is closed then, it is not to be passed over."""
        self.look(done)
        if self.state == "closed":
            self._note(key, done)
            if self._most_fail(done):
                if done - self.mark >= HEALTHY * self.options.keys:
                    self.pauses = 0
                self._open(now)
        elif self.state == "half-open" and partition == self.prober:
            self._open(now)

    def wait(self, now: float) -> float:
        """Seconds until a partition that has events may probe, if no probe has closed it by then."""
        return max(0.0, self.until - now)

    def probes(self, partition: int, done: int, now: float) -> None:
        """This partition has its next event run."""
        self.state, self.prober, self.mark = "half-open", partition, done
        self.until = now + self._pause

    def passes_on(self, partition: int, now: float) -> None:
        """This partition has no more events to try: another one may."""
        if partition == self.prober:
            self.state, self.prober, self.until = "open", None, now

    def look(self, done: int) -> None:
        """Close if an event was done since the probe began, whoever did it."""
        if self.state == "half-open" and done > self.mark:
            self.state, self.prober, self.mark = "closed", None, done
            self.failed.clear()

    def _note(self, key: bytes, done: int) -> None:
        self.failed.pop(key, None)
        self.failed[key] = done
        if len(self.failed) > self.options.keys:
            del self.failed[next(iter(self.failed))]

    def _most_fail(self, done: int) -> bool:
        keys, first = len(self.failed), next(iter(self.failed.values()))
        return keys == self.options.keys and keys >= self.options.share * (keys + done - first)

    def _open(self, now: float) -> None:
        self.pauses += 1
        self.state, self.prober, self.until = "open", None, now + self._pause

    @property
    def _pause(self) -> float:
        return Backoff(self.options.backoff, self.options.max_backoff).delay(self.pauses)
