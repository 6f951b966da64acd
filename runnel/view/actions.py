"""What the view can do about what it shows, once it is confirmed: the operations of the command line."""

from runnel.app import App
from runnel.errors import ConfigurationError, RunnelError
from runnel.operations import kept, release
from runnel.processor import Processor
from runnel.view.pages.page import Target
from runnel.view.screen import Act, named


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
        case "release":
            return await _release(app, processor, target)
        case "resume":
            return await _resume(app, processor, numbers, target)
    raise ConfigurationError(f"{what} is not there yet")


async def _release(app: App, processor: Processor, target: Target) -> str:
    keys = () if target.key is None else (target.key,)
    found = await kept.find(app, processor, "parked", kept.Choice(keys=keys))
    if not found:
        return f"nothing is parked of {named(target)}"
    await kept.release_parked(app, processor, found)
    return f"released {len(found)} parked events of {named(target)}"


async def _resume(app: App, processor: Processor, numbers: tuple[int, ...], target: Target) -> str:
    plan = await release.make_plan(app, processor, numbers)
    if plan.stopped:
        await release.carry_out(app, processor, plan)
        return f"{named(target)} goes on: it was quarantined"
    return f"{named(target)} is not paused"
