"""Compressors: what goes in comes out; what is broken or too large is an error, without filling the memory."""

import builtins
import gzip
import tracemalloc
from typing import Any

import lz4.frame
import pytest
import zstandard

from runnel.errors import ConfigurationError, RecordError
from runnel.records import LZ4, Compressor, Gzip, JSONSerializer, Record, Zstd, make_codec

BUILT_IN = [Gzip(), LZ4(), Zstd()]
everyone = pytest.mark.parametrize("compressor", BUILT_IN, ids=lambda c: type(c).__name__)


class Note(Record):
    text: str


@everyone
@pytest.mark.parametrize("size", [0, 1, 1000, 262_144, 262_145, 3_000_000])
def test_what_goes_in_comes_out(compressor: Any, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert compressor.decompress(compressor.compress(data)) == data
    assert compressor.decompress(compressor.compress(data), max_size=size) == data


@everyone
def test_one_byte_too_many_is_too_many(compressor: Any) -> None:
    with pytest.raises(RecordError, match="expands to more than max_payload, 999 bytes"):
        compressor.decompress(compressor.compress(b"x" * 1000), max_size=999)


@everyone
def test_a_bomb_is_refused_without_being_expanded(compressor: Any) -> None:
    bomb = compressor.compress(bytes(64 * 2**20))
    assert len(bomb) < 2 * 2**20
    codec = make_codec(Note, JSONSerializer(compressor=compressor), max_payload=2**20)
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match=r"^Note: .*expands to more than max_payload"):
            codec.decode([b"data", bomb])
        assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    finally:
        tracemalloc.stop()


@everyone
def test_truncated_data_is_an_error_wherever_it_is_cut(compressor: Any) -> None:
    data = compressor.compress(b'{"text":"%s"}' % bytes(range(65, 91)) * 50)
    for cut in range(len(data)):
        with pytest.raises(RecordError):
            compressor.decompress(data[:cut], max_size=2**20)


@everyone
def test_data_with_something_after_it_is_an_error(compressor: Any) -> None:
    with pytest.raises(RecordError):
        compressor.decompress(compressor.compress(b"abc") + b"\x01garbage", max_size=2**20)


@everyone
def test_garbage_is_an_error(compressor: Any) -> None:
    for garbage in (b"garbage, not compressed at all", b"\x00" * 64, b"\xff" * 64):
        with pytest.raises(RecordError):
            compressor.decompress(garbage, max_size=2**20)


@everyone
def test_a_flipped_bit_is_never_passed_on(compressor: Any) -> None:
    original = b"the amount is 100 and the order is 7" * 3
    data = compressor.compress(original)
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        try:
            assert compressor.decompress(bytes(flipped), max_size=2**20) == original
        except RecordError:
            pass


def test_frames_that_other_programs_made_are_read() -> None:
    assert Gzip().decompress(gzip.compress(b"ab") + gzip.compress(b"cd"), max_size=4) == b"abcd"
    assert LZ4().decompress(lz4.frame.compress(b"abcd"), max_size=4) == b"abcd"
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"abcd")
    assert Zstd().decompress(unsized, max_size=4) == b"abcd"


@pytest.mark.parametrize(
    ("make", "package", "extra"), [(LZ4, "lz4", "runnel[fast]"), (Zstd, "zstandard", "runnel[zstd]")]
)
def test_a_missing_package_is_named_with_its_extra(
    make: Any, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert f"pip install {extra}" in str(caught.value)


class Backwards(Compressor):
    """A compressor as in Runnel 0.1: it knows of no bound."""

    def compress(self, value: bytes) -> bytes:
        return value[::-1]

    def decompress(self, value: bytes) -> bytes:
        return value[::-1]


def test_a_compressor_of_the_users_is_bounded_afterwards() -> None:
    codec = make_codec(Note, JSONSerializer(compressor=Backwards()), max_payload=30)
    assert codec.encode(Note(text="abc")) == [b"data", b'}"cba":"txet"{']
    assert codec.decode(codec.encode(Note(text="abc"))) == Note(text="abc")
    with pytest.raises(RecordError, match=r"^Note: the data expands to 112 bytes, more than max_payload, 30"):
        codec.decode([b"data", b'{"text":"%s"}'[::-1] + b"x" * 99])


def test_what_could_not_be_read_again_is_not_sent() -> None:
    codec = make_codec(Note, JSONSerializer(compressor=Gzip()), max_payload=1000)
    with pytest.raises(RecordError, match=r"^Note: the payload has 2011 bytes, more than max_payload, 1000"):
        codec.encode(Note(text="x" * 2000))
