"""An error as it travels: the name of its class and its text. It becomes an error again where that class is known.

What comes may say anything, since anybody can write to the server: nothing is imported for it, and nothing is called but the
class of an exception that this process has imported anyway.
"""

import sys
from types import ModuleType
from typing import Any

from attrs import frozen

from runnel.errors import ActorFailed

LONGEST_TEXT = 2_000
"""Characters of an error's text that travel."""


@frozen
class Failure:
    """What the handler raised: its class, as `module:Class`, and what it said."""

    type: str
    text: str

    def error(self) -> Exception:
        """The same error, if its class is known in this process and can be made of its text; else `ActorFailed`.

        Nothing is imported for it.
        """
        cls = _known_class(self.type)
        if cls is not None:
            try:
                made = cls(self.text)
                if type(made) is cls and (made.args == (self.text,) or str(made) == self.text):
                    return made
            except Exception:
                pass  # it wants to be made in another way
        return ActorFailed(self.type, self.text)


def failure_of(error: Exception) -> Failure:
    """An error as it travels, with the text of which one of its class can be made again, if there is one."""
    if isinstance(error, ActorFailed):
        return Failure(_sendable(error.type), _sendable(error.text))  # of an actor that has asked another one
    try:
        text = error.args[0] if len(error.args) == 1 and type(error.args[0]) is str else str(error)
    except Exception:
        text = ""
    cls = type(error)
    return Failure(_sendable(f"{cls.__module__}:{cls.__qualname__}"), _sendable(text))


def _sendable(text: str) -> str:
    """As UTF-8 can say it, and not too long."""
    short = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    return short.encode(errors="backslashreplace").decode()


_UNRAISABLE = (StopIteration, StopAsyncIteration)
"""A coroutine that raises these means something else by it."""


def _known_class(name: str) -> type[Exception] | None:
    """The exception of this name, if its module is imported; looking for it runs nobody's code."""
    home, _, path = name.partition(":")
    module = sys.modules.get(home)
    first, *steps = path.split(".")
    # Not by getattr: a module may import something for it, or be one that loads itself when it is looked at.
    found: Any = object.__getattribute__(module, "__dict__").get(first) if isinstance(module, ModuleType) else None
    for step in steps:
        found = vars(found).get(step) if isinstance(found, type) else None
    if isinstance(found, type) and issubclass(found, Exception) and not issubclass(found, _UNRAISABLE):
        return found
    return None
