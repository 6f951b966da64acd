"""The way of a partition's events through a processor's middleware, and back when one fails.

It gets events (or batches) from the root, which reads the log (events.py), and passes them on to the function. Around each
middleware, a generator of the user's, stands a `Stage` that holds it to its contract: it yields each thing that it gets, once,
before it gets the next. Only so does coming back to the root mean that an event is done. The first breach ends the
pipeline for good, before the root is asked again: the event stays the next one. It never moves the position itself.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from runnel.clock import Clock
from runnel.errors import ConfigurationError, RunnelError, StoreError, StreamFull
from runnel.handling.position import Position
from runnel.interfaces import Middleware

log = logging.getLogger(__name__)

NOTHING: Any = object()


class Pipeline:
    """A chain of middleware. `add` makes it longer, from the log on; `items` is what comes out.

    Args:
        root: Events or batches, from the log.
        position: Of the partition.
        fields: For log lines, which say whose middleware it is.
    """

    def __init__(self, root: AsyncGenerator[Any, None], position: Position, fields: Mapping[str, object]) -> None:
        self.position = position
        self.over: str | None = None
        """Once it is not to be asked any more: what a middleware did that asks all the same."""
        self.failure: Exception | None = None
        """What failed outside of an event: the event, if one was out, has not failed, and stays the next one."""
        self._root = root
        self._fields = fields
        self._stages: list[Stage] = []
        self._top = root
        self.items = self._copies()
        """What the function gets."""

    def add(self, middleware: Middleware, **kwargs: Any) -> None:
        """Call a middleware's handler with this and `parent`, and put it on top.

        Raises:
            ConfigurationError: That gives no asynchronous generator.
        """
        stage = Stage(self, middleware, self._top, kwargs)
        self._stages.append(stage)
        self._top = stage.yielded

    async def _copies(self) -> AsyncGenerator[Any, None]:
        async for item in self._top:  # middleware must still know of a batch what the function takes out of it
            yield [*item] if isinstance(item, list) else item

    def broken(self, name: str, what: str) -> ConfigurationError:
        """A middleware broke its contract: nothing passes any more. The error to raise."""
        error = ConfigurationError(f"middleware {name} {what}")
        if self.failure is None:
            self.failure = error
            self._log("middleware is broken", name, error=str(error))
        self.over = self.over or "went on although it was told that it is broken"
        return error

    def raised(self, name: str, error: Exception) -> None:
        """A middleware raised, while events went its way. With an event out that one has failed, as if in the function."""
        if self.failure is None and not self.position.out:
            self.failure = RunnelError(f"middleware {name} failed outside of an event: {type(error).__name__}: {error}")
            self.failure.__cause__ = error
            self._log("middleware failed outside of an event", name, error=f"{type(error).__name__}: {error}")

    async def end(self, error: Exception | None = None) -> None:
        """The function has left its loop: by an error, of which all middleware hears, or without. Harmless when it is over.

        An error is raised at every `yield`, the one nearest to the function first; without one, and where an error has not
        arrived, it is GeneratorExit. When cancelled, it still ends every generator.

        Raises:
            StoreError, StreamFull, ConfigurationError, RunnelError: `failure`.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._root.aclose)
            for stage in self._stages:
                stack.push_async_callback(self._close, stage)
            stack.push_async_callback(self.items.aclose)
            if error is not None and self.over is None and self.failure is None:
                await self._tell(error)
        if self.failure is not None:
            raise self.failure

    async def _tell(self, error: Exception) -> None:
        self.over = f"swallowed {type(error).__name__} and went on: it must raise it again"
        for stage in reversed(self._stages):
            await self._tell_one(stage, error)
            if self.failure is not None:
                break  # the event has not failed: the others need not hear of it

    async def _tell_one(self, stage: "Stage", error: Exception) -> None:
        try:
            if await stage.throw(error):
                self.broken(stage.name, str(self.over)).__cause__ = error
        except (StoreError, StreamFull, ConfigurationError) as raised:
            # It could not put the event elsewhere. What the function itself raised is an error like any other.
            if raised is not error and self.failure is None:
                self.failure = raised
        except Exception as raised:
            if raised is not error:
                self._log("middleware failed", stage.name, exc_info=raised)

    async def _close(self, stage: "Stage") -> None:
        self.over = self.over or "swallowed GeneratorExit and went on: it must end"
        try:
            # Unlike `aclose` this tells a generator that yields on from one whose own code raises.
            if await stage.throw(GeneratorExit()):
                self.broken(stage.name, "swallowed GeneratorExit and yielded on: it must end")
        except Exception as raised:
            if not isinstance(self.failure, ConfigurationError):
                self._log("middleware failed", stage.name, exc_info=raised)
        finally:
            await stage.aclose()

    def _log(self, text: str, name: str, exc_info: Exception | None = None, **fields: object) -> None:
        log.error(text, extra={**self._fields, "middleware": name, **fields}, exc_info=exc_info)


class Stage:
    """One middleware in its place. What it gets and what it yields pass through two generators that check it.

    Generators, since an object with an `async def __anext__` is slower by half.

    Attributes:
        yielded: What stands above gets this.
    """

    def __init__(
        self, pipeline: Pipeline, middleware: Middleware, below: AsyncGenerator[Any, None], kwargs: dict[str, Any]
    ) -> None:
        self.name = type(middleware).__name__
        self._pipeline = pipeline
        self._below = below
        self._below_ended = False
        self._error: Exception | None = None
        """What came from below instead of an event."""
        self._item = NOTHING
        """What it has got last."""
        self._events: tuple[Any, ...] = ()
        """What was in that, if it is a batch."""
        self._is_yielded = True
        self._has_ended = False
        self._parent = self._given()
        self._generator = self._made(lambda: middleware.handler(self._parent, **kwargs))
        self.yielded = self._checked()

    async def _given(self) -> AsyncGenerator[Any, None]:
        """What the middleware gets as `parent`."""
        pipeline = self._pipeline
        try:
            async for item in self._below:
                self._item, self._is_yielded = item, False
                self._events = tuple(item) if isinstance(item, list) else ()
                yield item
                if pipeline.over is not None:
                    raise pipeline.broken(self.name, pipeline.over)
                if not self._is_yielded:
                    raise pipeline.broken(self.name, f"asked for the next event without yielding {_name(item)}")
        except Exception as error:
            self._error = error
            raise
        self._below_ended = True

    async def _checked(self) -> AsyncGenerator[Any, None]:
        pipeline, generator = self._pipeline, self._generator
        while True:
            try:
                item = await generator.__anext__()
            except StopAsyncIteration:
                self._has_ended = True
                self._check_end()
                return
            except BaseException as error:
                self._has_ended = True
                if isinstance(error, Exception) and error is not self._error:
                    pipeline.raised(self.name, error)
                raise
            if item is not self._item or self._is_yielded or (self._events and tuple(item) != self._events):
                raise pipeline.broken(self.name, self._breach(item))
            self._is_yielded = True
            yield item

    def _check_end(self) -> None:
        if self._below_ended or self._pipeline.position.closing:
            return
        if self._error is not None:  # it swallowed that, but ended: the policy decides all the same
            raise self._error from None
        raise self._pipeline.broken(self.name, self._pipeline.over or "ended before its events did") from None

    def _breach(self, item: Any) -> str:
        """What is wrong with yielding this now."""
        if item is not self._item:
            return f"yielded a {type(item).__name__} that is not what it got last"
        if self._is_yielded:
            return f"yielded {_name(item)} twice"
        return f"changed the batch that it got, of {len(self._events)} events"

    async def throw(self, error: BaseException) -> bool:
        """Raise an error at its `yield`, if it is at one. Whether it yielded on; it raises what the middleware does."""
        if self._has_ended:  # to throw at it now would do nothing, and look as if it had yielded
            return False
        try:
            await self._generator.athrow(error)
        except (StopAsyncIteration, GeneratorExit):
            self._has_ended = True
            return False
        except BaseException:
            self._has_ended = True
            raise
        return True

    async def aclose(self) -> None:
        """Let nothing of it be left, as far as Python can."""
        await self.yielded.aclose()
        try:
            await self._generator.aclose()
        except RuntimeError:  # it yielded once more
            pass
        await self._parent.aclose()

    def _made(self, handler: Callable[[], object]) -> AsyncGenerator[Any, Any]:
        try:
            made = handler()
        except Exception as error:
            raise self._pipeline.broken(self.name, f"has no handler that can be called: {error}") from error
        if isinstance(made, AsyncGenerator) and made is not self._parent:
            return made
        close = getattr(made, "close", None)
        if close is not None:
            close()  # a coroutine, or Python complains that nobody awaited it
        raise self._pipeline.broken(self.name, "is no asynchronous generator: its handler must be one, and yield")


async def pause(position: Position, clock: Clock, delay: float) -> bool:
    """Let `delay` seconds pass; False as soon as the partition is to be let go."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not over.done():
            over.set_result(None)

    timer = clock.call_later(delay, wake)
    position.on_closing.append(wake)
    try:
        if not position.closing:
            await over
    finally:
        timer.cancel()
        position.on_closing.remove(wake)
    return not position.closing


def _name(item: Any) -> str:
    """What an event, or a batch, is called in an error."""
    if isinstance(item, list):
        return f"a batch of {len(item)}"
    return f"event {item.id}"
