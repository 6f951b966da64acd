"""A name of Runnel 0.1: the default hasher. It is xxh64 of the key's text now, not of its `repr`: see docs/moving.md."""

from runnel.records import default_hasher as default

__all__ = ["default"]
