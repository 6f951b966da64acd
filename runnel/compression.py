"""Names of Runnel 0.1: `Gzip` and `LZ4`, and `Zstd`, are in `runnel`."""

from runnel.records import LZ4, Gzip, Zstd

__all__ = ["LZ4", "Gzip", "Zstd"]
