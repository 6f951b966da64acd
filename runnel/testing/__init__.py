"""Tests of your own apps: `TestApp` gives an app a server and a worker for one test, and lets its time pass."""

from runnel.errors import NotDrained as NotDrained
from runnel.testing.testapp import TestApp as TestApp

__all__ = ["NotDrained", "TestApp"]
