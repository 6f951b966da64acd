"""Assignment: which worker is to own which partition. A plain function of who is there and who owned what before.

The coordinators call it (roles/coordinator.py), whoever sees first that workers came or went; Redis keeps one answer.
Assigned is not owned: who owns a partition is decided by its lease alone.
"""

from collections.abc import Collection, Sequence

from xxhash import xxh64_intdigest

from runnel.store.membership import Owners


def assign(members: Collection[str], last: Sequence[str | None], salt: str = "") -> Owners:
    """Spread partitions over workers: balanced to within one, and with the fewest moves that this takes.

    Args:
        members: The workers.
        last: The assignment before, for each partition; None or a worker that has gone where nobody has it.
        salt: Which of the workers get one more than others, where nothing else decides it, depends on this: with the
            processor's name, the odd partitions of many processors do not all fall to one worker.
    """
    if not members:
        return (None,) * len(last)
    ranked = sorted(members, key=lambda member: (xxh64_intdigest(f"{salt}/{member}".encode()), member))
    held: dict[str, list[int]] = {member: [] for member in ranked}
    for partition, owner in enumerate(last):
        if owner in held:
            held[owner].append(partition)
    room = _quotas(ranked, held, len(last))
    owners: list[str | None] = [None] * len(last)
    for member, partitions in held.items():
        for partition in partitions[: room[member]]:
            owners[partition] = member
        room[member] -= min(room[member], len(partitions))
    takers = iter([member for member in ranked for _ in range(room[member])])
    return tuple(next(takers) if owner is None else owner for owner in owners)


def _quotas(ranked: Sequence[str], held: dict[str, list[int]], partitions: int) -> dict[str, int]:
    """How many partitions each worker gets. Those that hold most get the odd ones: every other choice moves more."""
    each, odd = divmod(partitions, len(ranked))
    by_held = sorted(ranked, key=lambda member: -len(held[member]))
    return {member: each + (place < odd) for place, member in enumerate(by_held)}
