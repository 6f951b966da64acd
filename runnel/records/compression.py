"""Compressors. A payload tells nothing of the size it expands to, so each expands piece by piece, up to a bound.

Expanding first and looking at the size afterwards would let a message of a few kilobytes fill the memory of a worker.
"""

import gzip
import zlib
from typing import Any

from runnel.errors import ConfigurationError, RecordError

_PIECE = 256 * 1024
_MAX_WINDOW = 128 * 2**20
_ZSTD_RLE = 1


class Compressor:
    """Subclass this, with `compress` and `decompress`, to compress payloads in your own way.

    A `decompress` that also takes the keyword `max_size` is passed the bound, and must raise rather than allocate more.
    The result of one that does not is checked afterwards.
    """

    def compress(self, value: bytes) -> bytes:
        """The compressed bytes."""
        raise NotImplementedError

    def decompress(self, value: bytes) -> bytes:
        """What was given to `compress`."""
        raise NotImplementedError


class Gzip(Compressor):
    """gzip (RFC 1952), of one or several members.

    Args:
        level: 0 to 9; 6 is a fair balance.
    """

    def __init__(self, level: int = 6) -> None:
        self.level = level

    def compress(self, value: bytes) -> bytes:
        """The compressed bytes; equal values give equal bytes (no time is written)."""
        return gzip.compress(value, compresslevel=self.level, mtime=0)

    def decompress(self, value: bytes, *, max_size: int | None = None) -> bytes:
        """What was compressed.

        Raises:
            RecordError: Corrupt, truncated, followed by something else, or larger than `max_size` bytes.
        """
        pieces = _Pieces("gzip", max_size)
        rest = value
        while rest or not pieces.members:
            member = zlib.decompressobj(wbits=31)
            try:
                while not member.eof:
                    piece = member.decompress(rest, pieces.room())
                    rest = member.unconsumed_tail
                    pieces.add(piece)
                    if not (piece or rest or member.eof):
                        raise RecordError("gzip: the data is truncated")
            except zlib.error as error:
                raise RecordError(f"gzip: the data is corrupt ({error})") from None
            pieces.members += 1
            rest = member.unused_data
        return pieces.joined()


class LZ4(Compressor):
    """The LZ4 frame format: fast, and smaller by a half or so.

    Raises:
        ConfigurationError: The package lz4 is missing.
    """

    def __init__(self) -> None:
        try:
            import lz4.frame
        except ImportError:
            raise ConfigurationError("LZ4 needs the package lz4: pip install runnel[fast]") from None
        self._lz4: Any = lz4.frame

    def compress(self, value: bytes) -> bytes:
        """The compressed bytes, with a checksum."""
        compressed: bytes = self._lz4.compress(value, content_checksum=True)
        return compressed

    def decompress(self, value: bytes, *, max_size: int | None = None) -> bytes:
        """What was compressed.

        Raises:
            RecordError: Corrupt, truncated, followed by something else, or larger than `max_size` bytes.
        """
        pieces = _Pieces("lz4", max_size)
        frame = self._lz4.LZ4FrameDecompressor()
        data = value
        try:
            while not frame.eof:
                piece = frame.decompress(data, max_length=pieces.room())
                data = b""  # the rest of it is kept by the decompressor
                pieces.add(piece)
                if not piece and not frame.eof and frame.needs_input:
                    raise RecordError("lz4: the data is truncated")
        except RuntimeError as error:
            raise RecordError(f"lz4: the data is corrupt ({error})") from None
        if frame.unused_data:
            raise RecordError("lz4: the data is followed by something else")
        return pieces.joined()


class Zstd(Compressor):
    """Zstandard, one frame (RFC 8878): smaller than gzip, and several times faster.

    Args:
        level: 1 to 22.

    Raises:
        ConfigurationError: The package zstandard is missing.
    """

    def __init__(self, level: int = 3) -> None:
        try:
            import zstandard
        except ImportError:
            raise ConfigurationError("Zstd needs the package zstandard: pip install runnel[zstd]") from None
        self._zstd: Any = zstandard
        self.level = level

    def compress(self, value: bytes) -> bytes:
        """The compressed bytes, with a checksum."""
        # A new compressor each time: they must not be shared between threads.
        compressed: bytes = self._zstd.ZstdCompressor(level=self.level, write_checksum=True).compress(value)
        return compressed

    def decompress(self, value: bytes, *, max_size: int | None = None) -> bytes:
        """What was compressed.

        Raises:
            RecordError: Corrupt, truncated, followed by something else, or larger than `max_size` bytes.
        """
        pieces = _Pieces("zstd", max_size)
        try:
            self._refuse_unless_whole(value)
            decompressor = self._zstd.ZstdDecompressor(max_window_size=_MAX_WINDOW)
            with decompressor.stream_reader(value) as stream:
                while piece := stream.read(pieces.room()):
                    pieces.add(piece)
        except self._zstd.ZstdError as error:
            raise RecordError(f"zstd: the data is corrupt ({error})") from None
        return pieces.joined()

    def _refuse_unless_whole(self, value: bytes) -> None:
        """Find the end of the frame by its blocks' headers (RFC 8878, 3.1.1): the stream reader is silent about a cut."""
        end = self._zstd.frame_header_size(value)
        last = False
        while not last:
            header = int.from_bytes(value[end : end + 3], "little")
            last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
            end += 3 + (1 if kind == _ZSTD_RLE else size)
            if end > len(value):
                raise RecordError("zstd: the data is truncated")
        end += 4 * self._zstd.get_frame_parameters(value).has_checksum
        if end != len(value):
            problem = "truncated" if end > len(value) else "followed by something else"
            raise RecordError(f"zstd: the data is {problem}")


class _Pieces:
    """What came out so far, and how much more may."""

    def __init__(self, name: str, max_size: int | None) -> None:
        self._name = name
        self._max_size = max_size
        self._pieces: list[bytes] = []
        self._size = 0
        self.members = 0

    def room(self) -> int:
        """How much to ask for: one byte more than is allowed, to see whether there is more."""
        return _PIECE if self._max_size is None else min(_PIECE, self._max_size - self._size + 1)

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._max_size is not None and self._size > self._max_size:
            raise RecordError(f"{self._name}: the data expands to more than max_payload, {self._max_size} bytes")
        self._pieces.append(piece)

    def joined(self) -> bytes:
        return b"".join(self._pieces)
