"""What operators order, as workers hear it: a pause comes with renewals, a restart with a notice.

The member passes both on to the coordinator as `LetGo`: the partition is given back in order, and asked for again. One that
is paused is not got then; one that is to begin anew is.
"""

import logging
from collections.abc import Iterable

from attrs import frozen

from runnel.roles.lease import Lease
from runnel.store.notices import Notice

log = logging.getLogger(__name__)


@frozen
class LetGo:
    """An operator wants this lease given back. To the coordinator."""

    lease: Lease


def to_restart(notice: Notice, leases: Iterable[Lease]) -> list[Lease]:
    """Which of a worker's leases a restart is about; says so."""
    meant = [lease for lease in leases if notice.means(*lease.place, lease.epoch)]
    for lease in meant:
        log.warning("partition begins anew: an operator wants it", extra=lease.log_fields)
    return meant
