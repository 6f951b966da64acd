"""What the view can do about what it shows, once it is confirmed: the operations of the command line."""

from runnel.app import App
from runnel.errors import ConfigurationError, RunnelError
from runnel.operations import kept, pause, release
from runnel.operations.restart import restart
from runnel.processor import Processor
from runnel.view.pages.page import Target
from runnel.view.screen import Act, Screen, named

PATIENCE = 5.0
"""Seconds to wait for an owner to do what it is told; it does it all the same if it takes longer."""


async def carry_out(app: App, act: Act, screen: Screen) -> None:
    """Do it; the screen says that it is under way, and then what was done, or why not.

    While the server is away it may wait for it, and be carried out when it is back: the screen says that it waits.
    """
    screen.waits = f"{act.what} {named(act.target)}"
    try:
        screen.notice = await perform(app, act)
    finally:
        screen.waits = ""


async def perform(app: App, act: Act) -> str:
    """Do it, and say what was done; or why not."""
    try:
        return await _perform(app, act.what, act.target)
    except RunnelError as error:
        return f"{act.what}: {error}"


async def _perform(app: App, what: str, target: Target) -> str:
    processor = app.processors.get(target.processor or "")
    if processor is None:
        raise ConfigurationError(f"the app has no processor {target.processor!r} here")
    numbers = () if target.partition is None else (target.partition,)
    match what:
        case "pause":
            return await _pause(app, processor, numbers, target)
        case "resume":
            return await _resume(app, processor, numbers, target)
        case "restart":
            return await _restart(app, processor, numbers, target)
        case "release":
            return await _release(app, processor, numbers, target)
    raise ConfigurationError(f"there is no such action: {what}")


async def _pause(app: App, processor: Processor, numbers: tuple[int, ...], target: Target) -> str:
    await pause.pause(app, processor, numbers, reason="from the live view")
    owned = await pause.let_go(app, processor, numbers, patience=PATIENCE)
    return f"paused {named(target)}" + (": events under way are being finished" if owned else "")


async def _restart(app: App, processor: Processor, numbers: tuple[int, ...], target: Target) -> str:
    if not (await pause.make_plan(app, processor, numbers)).owned:
        return f"no worker runs {named(target)}"
    waiting = await restart(app, processor, numbers, patience=PATIENCE)
    return f"restart of {named(target)} is ordered: its event is under way" if waiting else f"restarted {named(target)}"


async def _release(app: App, processor: Processor, numbers: tuple[int, ...], target: Target) -> str:
    keys = () if target.key is None else (target.key,)
    found = await kept.find(app, processor, "parked", kept.Choice(partitions=numbers, keys=keys))
    if not found:
        return f"nothing is parked of {named(target)}"
    await kept.release_parked(app, processor, found)
    return f"released {len(found):,} parked {'event' if len(found) == 1 else 'events'} of {named(target)}"


async def _resume(app: App, processor: Processor, numbers: tuple[int, ...], target: Target) -> str:
    """Let go on what was paused; else what was quarantined: it would not run again for its being paused as well."""
    if (await pause.make_plan(app, processor, numbers)).paused:
        await pause.resume(app, processor, numbers)
        return f"resumed {named(target)}"
    plan = await release.make_plan(app, processor, numbers)
    if plan.stopped:
        await release.carry_out(app, processor, plan)
        return f"{named(target)} goes on: it was quarantined"
    return f"{named(target)} is not paused"
