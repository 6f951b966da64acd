"""The mailboxes of a worker's actors: of each kind in a processor the fullest, so that their number is bounded. Pure."""

from collections.abc import Iterable, Mapping

from runnel.actors import ActorSnapshot
from runnel.telemetry.report import MailboxReport

KINDS: Mapping[str, str] = {
    "ProcessorSupervisor": "supervisor",
    "Partition": "partition",
    "KeyedPartition": "partition",
    "Reader": "reader",
    "Committer": "committer",
    "Relay": "relay",
    "Coordinator": "coordinator",
    "Member": "member",
    "Leader": "leader",
    "Scheduler": "scheduler",
    "Telemetry": "telemetry",
}
"""Whose mailboxes are told of, and under which name."""


def mailboxes(processor: str, actors: Iterable[ActorSnapshot]) -> list[MailboxReport]:
    """The fullest mailbox of each kind of these actors of a processor; "" for actors of the worker itself."""
    fullest: dict[str, ActorSnapshot] = {}
    for actor in actors:
        name = KINDS.get(actor.kind)
        if name is None or actor.is_resident:
            continue
        known = fullest.get(name)
        if known is None or actor.mailbox_depth > known.mailbox_depth:
            fullest[name] = actor
    return [
        MailboxReport(processor=processor, actor=name, depth=actor.mailbox_depth, capacity=actor.mailbox_capacity)
        for name, actor in fullest.items()
    ]
