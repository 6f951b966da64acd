"""What protects the promises. Take one away, and a world of the model shows the shortest accident that it prevents."""

Guards = frozenset[str]

GUARDS = {
    "epoch": "a token's epoch is the slot's",
    "nonce": "a token's nonce is the slot's",
    "history": "the slot keeps the server's history at its acquire; on a server with another one its token is void",
    "commit chain": "commit n is accepted only after n - 1 (n again: ALREADY, else CONFLICT); acquire starts at 0",
    "sequence": "a repeated append is answered, not appended",
    "release clears nonce": "a renewal or commit that arrives after the release is FENCED",
    "reset raises epoch": "so that tokens from before are void",
    "reset clears nonce": "the same once more, for a slot whose epoch came back",
    "reset drops state": "state, done marks, reminders and parked events of before the reset go with it",
    "unregister drops state": "they go with the group, too",
    "minimum inside trim": "trim computes the minimum of all cursors in its own script",
    "parked keys at acquire": "a new owner knows which keys are parked",
    "replay by owner": "the owner runs released events; otherwise an operator's script appends them again",
    "marks loaded": "a new owner reads which events are done above the cursor, after it was granted the partition",
    "unmark": "a mark goes with the commit that takes the cursor past it",
    "own states first": "an actor that is activated goes on from what a commit of its owner is yet to store",
    "snapshot": "a commit writes states as they were when an event was done, not as handlers change them",
    "due compared": "a reminder in the log runs only if its due time is that which the key waits for",
    "taken back": "a reminder that is cancelled goes from the delayed events, too",
    "crash count": "an owner that was lost, not released, while events waited, is counted until the next commit",
    "careful owners": "whoever follows one that was lost runs one event, and commits it before the next",
    "suspect noted": "an event at which max_crashes owners were lost is noted before it runs once more",
    "commit clears suspicion": "with the first commit of a term its count, its suspect and its culprit are void",
    "release clears suspicion": "with a release the count and the suspect are void",
    "restart behind commit": "a partition that restarts does not read what the commit under way has done",
    "relay mark": "a target keeps the id of the last event that it got from an outbox, and takes none below",
    "no gap": "a relay brings a target all its events in the outbox, from the first one on",
    "removed once delivered": "an event leaves the outbox when it is known to be delivered",
    "relay forgets": "what a relay has read is void once an exchange was not answered",
    "removed by ids": "by its id, and not all up to that",
}

ALL: Guards = frozenset(GUARDS)
