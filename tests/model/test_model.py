"""The promises hold in every world of the model, and each guard is there for a reason: without it one breaks.

`just model` searches the large worlds too.
"""

import pytest

from tests.model.guards import ALL, GUARDS
from tests.model.relaying import RELAY_WORLDS, RelayBounds
from tests.model.search import check
from tests.model.worlds import WORLDS, Bounds

EVERY: dict[str, Bounds | RelayBounds] = {**WORLDS, **RELAY_WORLDS}

ORDINARY = {
    "late acquires",
    "two failovers",
    "two resets",
    "reset, parking",
    "keys",
    "keys, parking",
    "trimming",
    "passivation",
    "poison",
    "poison, twice",
    "poison, max 2",
    "poison, healthy",
    "relay",
    "relay, source fails over",
    "relay, target fails over",
    "reminder, replaced",
    "reminder, cancelled",
    "unregister, trimming",
    "sequence expires",
}
"""Some seconds each. The others take up to two minutes."""

RAN = "key a: state ('a1', 'a2', 'a~5') and parked () are not the fold of ('a1', 'a2', 'a~5')"

ACCIDENTS: list[tuple[tuple[str, ...], str, str]] = [
    (("epoch",), "late acquires", "an effect under a token that is superseded"),
    (("nonce",), "two failovers", "an effect under a token that is superseded"),
    (("history",), "two failovers", "key a: state ('a1',) and parked () are not the fold of ()"),
    (("commit chain",), "four events", "key a: outputs ('a1', 'a1') are not those of state ('a1',)"),
    (("sequence",), "four events", "an event is in the log twice"),
    (("release clears nonce",), "four events", "a released lease is held again"),
    (("reset raises epoch", "reset clears nonce"), "reset", "an effect under a token from before a reset"),
    (("reset clears nonce", "epoch"), "reset", "an effect under a token from before a reset"),
    (("reset drops state",), "two resets", "key a: state ('a1',) and parked () are not the fold of ()"),
    (("reset drops state",), "reset, keys", "key a: state ('a1',) and parked () are not the fold of ()"),
    (("reset drops state",), "reset, reminder", "key a: state ('a1',) and parked () are not the fold of ()"),
    (("unregister drops state",), "unregister", "key a: state ('a1',) and parked () are not the fold of ()"),
    (("nonce",), "unregister", "a released lease is held again"),
    (("minimum inside trim",), "trimming", "an event is trimmed before every group has done it"),
    (("minimum inside trim",), "reset, trimming", "an event is trimmed before every group has done it"),
    (
        ("parked keys at acquire",),
        "parking",
        "key a: state ('a2',) and parked ('a1',) are not the fold of ('a1', 'a2')",
    ),
    (("replay by owner",), "parking", """key a: effects out of order ('a2', "a1'")"""),
    (("crash count",), "poison", "an event ends too many workers"),
    (("careful owners",), "poison", "a healthy event is passed over although nothing else befell its owners"),
    (("suspect noted",), "poison", "an event ends too many workers"),
    (("commit clears suspicion",), "poison, max 2", "an event is suspected at which too few owners were lost"),
    (("release clears suspicion",), "poison, max 2", "an event is suspected at which too few owners were lost"),
    (("restart behind commit",), "four events", "key a: state ('a1', 'a1') and parked () are not the fold of ('a1',)"),
    (("restart behind commit",), "keys", "key a: state ('a1', 'a1') and parked () are not the fold of ('a1',)"),
    (("history",), "keys, failover", "key a: state ('a1',) and parked () are not the fold of ()"),
    (("marks loaded",), "keys", "key b: state ('b1', 'b1') and parked () are not the fold of ('b1',)"),
    (("own states first",), "passivation", "key a: state ('a2',) and parked () are not the fold of ('a1', 'a2')"),
    (("snapshot",), "keys", "key b: state ('b1', 'b2') and parked () are not the fold of ('b1',)"),
    (("unmark",), "keys", "a mark stays although the cursor has passed it"),
    (("due compared",), "reminder, replaced", RAN),
    (("due compared",), "reminder, cancelled", RAN),
    (("relay mark",), "relay", "('x1', 'x1') is delivered, and ('x1',) emitted"),
    (("no gap",), "relay", "('x2',) is delivered, and ('x1', 'x2') emitted"),
    (("removed once delivered",), "relay", "['x1'] is lost"),
    (("removed by ids",), "relay", "['x1'] is lost"),
    (("relay forgets",), "relay, failover", "('x1',) is delivered, and () emitted"),
    (("taken back",), "reminder, cancelled", "key a: ['a~5'] are put aside, and 0 is waited for"),
]

@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ORDINARY else pytest.mark.large_world) for name in EVERY]
)
def test_every_promise_holds(name: str) -> None:
    found = check(EVERY[name])
    assert found.broken == EVERY[name].breaks, "\n".join(found.trace)


@pytest.mark.parametrize(
    ("without", "world", "broken"),
    [pytest.param(*accident, id=f"{' and '.join(accident[0])} in {accident[1]}") for accident in ACCIDENTS],
)
def test_without_a_guard_a_promise_breaks(without: tuple[str, ...], world: str, broken: str) -> None:
    assert check(EVERY[world], ALL - set(without)).broken == broken


def test_every_guard_has_its_accident() -> None:
    shown = {guard for without, _, _ in ACCIDENTS for guard in without}
    assert shown == set(GUARDS)
