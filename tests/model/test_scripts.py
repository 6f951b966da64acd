"""The model against the real scripts: whatever happens, both answer the same and hold the same."""

import random
from collections import Counter

from redis import Redis

from runnel.clock import SystemClock
from runnel.store.client import Store
from tests.integration.scripts.bench import Bench
from tests.model.replay import Walk
from tests.model.worlds import Bounds
from tests.servers import Server

ANSWERS = {
    *("Append OK", "Append ALREADY", "Append STALE"),
    *("Acquire OK", "Acquire HELD"),
    *("Renew OK", "Renew FENCED", "Release OK", "Release FENCED"),
    *("Commit OK", "Commit ALREADY", "Commit FENCED", "Commit CONFLICT"),
    *("Suspect OK", "Suspect FENCED"),
    *("Reset OK", "Trim OK", "Register OK", "Register ALREADY"),
}

EVENTS = ("a1", "b1", "a2", "b2", "a3", "b3", "a4", "b4")


async def test_the_scripts_do_what_the_model_does(valkey: Server) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when it fails
    dice, seen = random.Random(seed), Counter[str]()
    store = Store(valkey.url, SystemClock())
    await store.open()
    with valkey.client() as client, Redis.from_url(valkey.url) as raw:
        bench = Bench(store.link(), client)
        for length in range(2, 102):  # short walks first: the first that fails is short enough to read
            bounds = Bounds(
                events=EVENTS,
                faults=20,
                failovers=dice.randint(0, 2),
                step=dice.choice((4, 10, 100)),
                resets=2,
                acquires_travel=True,
                key_concurrency=dice.random() < 0.5,
                failing=("a1", "b2") if dice.random() < 0.5 else (),
                poison=("b3",) if dice.random() < 0.5 else (),
                max_crashes=dice.randint(1, 3),
                trimming=True,
                second_group=True,
            )
            await Walk(bench, raw, bounds, dice, seen).run(length)
    await store.close()
    assert set(seen) == ANSWERS, "an answer that the model never expects is not compared"
