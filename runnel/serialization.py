"""Names of Runnel 0.1: there is one JSON serializer, by orjson; it has the old names of both."""

from runnel.records import JSONSerializer

FastJSONSerializer = JSONSerializer
default = JSONSerializer()

__all__ = ["FastJSONSerializer", "JSONSerializer", "default"]
