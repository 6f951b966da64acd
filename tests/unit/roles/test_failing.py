"""What is said of a partition's failure."""

import pytest

from runnel.errors import RunnelError, StoreRefused, StoreUnavailable
from runnel.roles.failing import EventFailed, tells


@pytest.mark.parametrize(
    ("error", "by_others"),
    [
        (EventFailed("event 1-0 failed"), True),
        (StoreUnavailable("redis://x cannot be reached"), True),
        (StoreRefused("redis://x: out of memory"), False),
        (RunnelError("failed outside of an event"), False),
    ],
)
def test_only_what_nobody_else_says_is_logged_with_its_traceback(error: Exception, by_others: bool) -> None:
    assert tells(error) is by_others
