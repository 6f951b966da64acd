"""A name of Runnel 0.1: `ExceptionPolicy` is `runnel.ExceptionPolicy`."""

from runnel.handling.policy import ExceptionPolicy

__all__ = ["ExceptionPolicy"]
