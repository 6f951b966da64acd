"""Every key that Runnel writes, its type and its lifetime. No other module spells a key.

All keys of a partition share one hash tag, so that each script stays within one slot of a Redis Cluster; the few keys of
an app share another. Names are percent-encoded outside `A-Za-z0-9_.-`: no two apps, streams or processors share a key.
"""

from urllib.parse import quote, unquote

from attrs import field, frozen


def encoded(name: str) -> str:
    """A name as it stands in a key: `:`, `{`, `}`, `~` and all else that keys use for themselves are escaped."""
    return quote(name, safe="", errors="surrogatepass").replace("~", "%7E")


def decoded(name: str) -> str:
    """The name that `encoded` was given."""
    return unquote(name, errors="surrogatepass")


@frozen
class PartitionKeys:
    """The keys of one partition of a stream, for all its producers and processors."""

    app: str
    stream: str
    number: int
    log: bytes = field(init=False)
    """stream, for ever: the events, trimmed once every processor has done them and room is needed; with a consumer group
    for each processor, which shows its cursor to people and is never read"""
    cursors: bytes = field(init=False)
    """hash, for ever: processor → its committed cursor; what is not above the smallest of them may be trimmed"""
    counts: bytes = field(init=False)
    """hash, for ever: `dropped`, the events that overflow `drop_oldest` dropped unprocessed"""

    def __attrs_post_init__(self) -> None:
        for name in ("log", "cursors", "counts"):
            object.__setattr__(self, name, f"{self.tag}:{name}".encode())

    @property
    def tag(self) -> str:
        """What Redis Cluster hashes: the braces and what they hold."""
        return f"{{{encoded(self.app)}:{encoded(self.stream)}:{self.number}}}"

    def slot(self, processor: str) -> bytes:
        """hash, for ever: who owns the partition for `processor` (owner, epoch, nonce, history, deadline), how far it
        came (count: entries up to the cursor since the log began; mirrored: the cursor that its consumer group shows) and
        the number of the last commit under that epoch
        """
        return f"{self.tag}:proc:{encoded(processor)}".encode()

    def producer(self, producer: str) -> bytes:
        """hash, expires: the last sequence that a producer appended, and what it was answered"""
        return f"{self.tag}:producer:{encoded(producer)}".encode()


@frozen
class AppKeys:
    """The keys of an app that belong to no partition."""

    app: str

    @property
    def streams(self) -> bytes:
        """hash, for ever: stream → the options that may not change while it holds events, as JSON"""
        return f"{{{encoded(self.app)}}}:streams".encode()

    @property
    def processors(self) -> bytes:
        """hash, for ever: processor → the stream it reads, as JSON"""
        return f"{{{encoded(self.app)}}}:processors".encode()
