"""`runnel doctor`: is the server fit, and how does the app stand on it? Each finding says what to do. Changes nothing."""

from runnel.app import App
from runnel.errors import StoreRefused
from runnel.operations.app_health import examine_app
from runnel.operations.finding import Finding
from runnel.operations.server_health import examine_server


async def examine(app: App, wait: float = 1.0) -> list[Finding]:
    """Look at everything.

    Args:
        app: The app.
        wait: Seconds between two looks at partitions with events to do: has any been done?

    Raises:
        StoreUnavailable: The server cannot be reached.
        StoreRefused: It refuses the user, or INFO.
    """
    store = app.unchecked_store
    found = await examine_server(app, store)
    if any(each.level == "problem" and each.check in ("version", "eviction", "scripts") for each in found):
        return found  # no command of an app works on such a server
    try:
        return [*found, *await examine_app(app, wait)]
    except StoreRefused as error:
        advice = "See the permissions above"
        return [*found, Finding("app", "problem", f"cannot be looked at: {error}", advice)]
