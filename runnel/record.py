"""A name of Runnel 0.1: `Record` is `runnel.Record`."""

from runnel.records import Record

__all__ = ["Record"]
