"""From a key to the number that chooses its partition: the same in every language, process and version of Python."""

from enum import Enum
from typing import Any

import xxhash

from runnel.errors import RecordError
from runnel.records.mismatch import shortened


def default_hasher(key: Any) -> int:
    """xxh64 (seed 0) of the key's bytes, see `key_bytes`.

    Raises:
        RecordError: The key is None, or its text differs from process to process.
    """
    return xxhash.xxh64_intdigest(key_bytes(key))


def key_bytes(key: Any) -> bytes:
    """A partition key as the bytes that are hashed and stored: a bytes key itself, else the UTF-8 of its text.

    ============  =============================  ==================
    key           text                           example
    ============  =============================  ==================
    str           itself                         ``de``
    int           decimal digits                 ``42``, ``-1``
    bool          ``True`` or ``False``          ``True``
    float         as Python writes it            ``1.0``, ``1e+16``
    UUID          lower case with hyphens
    datetime      ``str()``: a space, no ``T``   ``2020-07-21 22:09:37+00:00``
    Enum          the text of its value          ``Color.RED = "r"``: ``r``
    others        ``str()``
    ============  =============================  ==================

    An `Enum` goes by what is stored of it, so that renaming the Python class does not move its keys. 1 and "1" are one
    key; 1 and 1.0 are two.

    Raises:
        RecordError: The key is None (such an event belongs nowhere), or its text differs from process to process.
    """
    if key.__class__ is int:
        return b"%d" % key
    if key.__class__ is str:
        return _utf8(key, key)
    if isinstance(key, Enum):
        return key_bytes(key.value)
    if isinstance(key, (bytes, bytearray, memoryview)):
        return bytes(key)
    if key is None:
        raise RecordError("the partition key is None: an event without a key cannot be routed")
    if _is_inherited(key, "__str__") and _is_inherited(key, "__repr__"):
        raise RecordError(f"the partition key {shortened(key)} has no text of its own: use a str, int, UUID or bytes")
    if isinstance(key, (set, frozenset)):
        raise RecordError(f"the partition key {shortened(key)} has no fixed order: use a str, int, UUID or bytes")
    return _utf8(str(key), key)


def _is_inherited(key: Any, method: str) -> bool:
    """Whether the text of a key is Python's default, with an address in memory."""
    return getattr(type(key), method) is getattr(object, method)


def _utf8(text: str, key: Any) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RecordError(f"the partition key {shortened(key)} is not valid Unicode") from None
