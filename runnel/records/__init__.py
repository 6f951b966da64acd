"""Records: what streams hold, checked where it is built, and how it becomes bytes and back."""

from runnel.records.codec import Codec
from runnel.records.compression import LZ4, Compressor, Gzip, Zstd
from runnel.records.hashing import default_hasher, key_bytes
from runnel.records.making import MAX_PAYLOAD, build, is_primitive, make_codec
from runnel.records.record import Record
from runnel.records.serialization import JSONSerializer, Serializer
from runnel.records.values import Values

__all__ = [
    "LZ4",
    "MAX_PAYLOAD",
    "Codec",
    "Compressor",
    "Gzip",
    "JSONSerializer",
    "Record",
    "Serializer",
    "Values",
    "Zstd",
    "build",
    "default_hasher",
    "is_primitive",
    "key_bytes",
    "make_codec",
]
