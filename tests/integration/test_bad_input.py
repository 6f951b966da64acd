"""What is wrongly typed, or not allowed: one line that says what, and the exit code of who must act. Of all commands."""

import pytest

from tests.integration.calling import Caller
from tests.integration.commands import APP, order
from tests.servers import Server, free_port

ACTOR = """
from runnel import Actor

@app.actor(orders)
class Account(Actor[Order, None]):
    async def receive(self, order: Order) -> None: ...
"""

OF_APP = [
    ("status",),
    ("lag",),
    ("doctor",),
    ("describe",),
    ("stream", "list"),
    ("timers", "list"),
    ("timers", "cancel", "--key", "x"),
    ("processor", "delete", "--name", "x"),
    ("stream", "delete", "--name", "x"),
]
OF_STREAM = [
    ("peek",),
    ("tail",),
    ("describe",),
    ("stream", "describe"),
    ("stream", "trim"),
    ("stream", "delete"),
    ("replay", "--processor", "shop:printer", "--as", "x"),
]
OF_PROCESSOR = [
    ("describe",),
    ("processor", "reset", "--start", "latest"),
    ("processor", "release"),
    ("processor", "delete"),
    ("pause",),
    ("resume", "--yes"),
    ("restart",),
    *((where, "list") for where in ("dead", "parked")),
    ("dead", "retry"),
    ("parked", "release"),
]
EVERY = [
    *((words, "app", "App") for words in OF_APP),
    *((words, "orders", "Stream") for words in OF_STREAM),
    *((words, "printer", "Processor") for words in OF_PROCESSOR),
]


def named(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def with_target(words: tuple[str, ...], target: str) -> list[str]:
    """The command's words, with the target where it belongs: behind its names."""
    names = [word for i, word in enumerate(words) if not word.startswith("-") and not (i and words[i - 1].startswith("-"))]
    return [*names, target, *words[len(names) :]]


@pytest.mark.parametrize(("words", "attribute", "kind"), EVERY, ids=named)
def test_what_is_not_there_is_named(call: Caller, words: tuple[str, ...], attribute: str, kind: str) -> None:
    call(*with_target(words, f"shop:nothing{attribute}")).refused(2, f"'nothing{attribute}'")
    call(*with_target(words, f"nowhere:{attribute}")).refused(2, "no module 'nowhere'")
    call(*with_target(words, "shop")).refused(2, "module:")
    if words != ("describe",):
        other = "orders" if kind == "App" else "app"
        call(*with_target(words, f"shop:{other}")).refused(2, f"not a{'n' if kind == 'App' else ''} {kind}")


@pytest.mark.parametrize(("words", "attribute", "kind"), EVERY, ids=named)
def test_a_server_that_is_away_is_one_line(call: Caller, words: tuple[str, ...], attribute: str, kind: str) -> None:
    url = f"redis://user:secret@127.0.0.1:{free_port()}"
    done = call(*with_target(words, f"shop:{attribute}"), "--redis-url", url)
    done.refused(4, "127.0.0.1", "cannot be reached")
    assert "secret" not in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("peek", "shop:orders"),
        ("tail", "shop:orders"),
        ("describe", "shop:orders"),
        ("describe", "shop:printer"),
        ("stream", "list", "shop:app"),
        ("stream", "trim", "shop:orders", "--length", "0", "--force", "--yes"),
        ("stream", "delete", "shop:orders", "--yes", "--force"),
        ("status", "shop:app"),
        ("send", "shop:orders", order(2)),
        ("processor", "reset", "shop:printer", "--start", "latest", "--yes"),
        ("replay", "shop:orders", "--processor", "shop:printer", "--as", "x", "--yes"),
        ("pause", "shop:printer", "--yes"),
    ],
    ids=named,
)
def test_a_user_who_may_not_is_told_so(call: Caller, valkey: Server, words: tuple[str, ...]) -> None:
    assert call("send", "shop:orders", order(1)).code == 0
    with valkey.client() as client:
        client.acl_setuser("clerk", enabled=True, nopass=True, commands=["+info", "+ping", "+config|get"], keys=["*"])
    done = call(*words, "--redis-url", f"{valkey.url}?username=clerk&password=x")
    done.refused(4, "does not permit a command that Runnel needs")


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["peek", "shop:orders", "--partition", "4"], 2, ["no partition 4: 0 to 3"]),
        (["peek", "shop:orders", "--partition", "-1"], 2, ["no partition -1"]),
        (["peek", "shop:orders", "--partition", "x"], 2, ["'--partition'"]),
        (["peek", "shop:orders", "--from", "yesterday"], 2, ["'yesterday'", "ISO 8601"]),
        (["peek", "shop:orders", "--from", "2999-01-01"], 2, ["yet to come"]),
        (["peek", "shop:orders", "--from", "1-99999999999999999999"], 2, ["1-99999999999999999999"]),
        (["peek", "shop:orders", "--count", "0"], 2, ["'--count'"]),
        (["peek", "shop:orders", "--count", "1001"], 2, ["'--count'"]),
        (["tail", "shop:orders", "-n", "-1"], 2, ["'--lines'"]),
        (["tail", "shop:orders", "--partition", "4", "-f"], 2, ["no partition 4"]),
        (["stream", "trim", "shop:orders", "--to", "soon"], 2, ["'soon'"]),
        (["stream", "trim", "shop:orders", "--length", "-5"], 2, ["'--length'"]),
        (["stream", "delete", "shop:app", "--name", "letters"], 2, ["no stream 'letters'; it has orders"]),
        (["stream", "paint"], 2, ["paint"]),
        (["describe", "shop:Order"], 2, ["not an app, stream, processor or actor"]),
        (["doctor", "shop:app", "--wait", "-1"], 2, ["'--wait'"]),
        (["replay", "shop:orders"], 2, ["--processor"]),
        (["processor", "reset", "shop:printer", "--start", "latest", "--partition", "4"], 2, ["no partition 4"]),
        (["processor", "delete", "shop:app", "--name", "x"], 2, ["no processor 'x' is registered"]),
        (["pause", "shop:printer", "--partition", "4", "--yes"], 2, ["stream 'orders' has no partition 4: 0 to 3"]),
        (["pause", "shop:printer", "--wait", "-1"], 2, ["'--wait'"]),
        (["resume", "shop:printer", "--partition", "x"], 2, ["'--partition'"]),
        (["restart", "shop:printer", "--partition", "-1"], 2, ["no partition -1"]),
        (["dead", "show", "shop:printer", "9/1-1"], 2, ["no dead event '9/1-1'"]),
        (["dead", "list", "shop:printer", "--since", "soon"], 2, ["'soon'"]),
        (["parked", "list", "shop:printer", "--limit", "0"], 2, ["'--limit'"]),
        (["timers", "cancel", "shop:app", "orders/1"], 2, ["'orders/1' is no delayed event"]),
        (["timers", "list", "shop:app", "--stream", "x"], 2, ["'x'"]),
        (["send", "shop:orders", "{"], 1, ["not JSON"]),
        (["send", "shop:orders", "[1]"], 1, ["an object"]),
        (["actor", "ask", "shop:Account", "1", "Order", "{"], 1, ["JSON"]),
        (["actor", "ask", "shop:Account", "1", "Nonsense"], 2, ["Nonsense"]),
        (["actor", "show", "shop:printer", "1"], 2, ["actor"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_one_line(call: Caller, words: list[str], code: int, parts: list[str]) -> None:
    call.write("shop", APP + ACTOR)
    call(*words).refused(code, *parts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("resume", "shop:printer"), "None is paused"),
        (("restart", "shop:printer"), "No worker runs any"),
        (("processor", "release", "shop:printer"), "None is quarantined"),
        (("dead", "retry", "shop:printer"), "No such event"),
        (("dead", "discard", "shop:printer", "--key", "7"), "No such event"),
        (("parked", "release", "shop:printer"), "No such event"),
        (("parked", "discard", "shop:printer", "--error", "nosuch"), "No such event"),
        (("timers", "cancel", "shop:app", "orders/0/999"), "No such delayed event"),
    ],
    ids=named,
)
def test_where_there_is_nothing_to_do_it_says_so(call: Caller, valkey: Server, words: tuple[str, ...], said: str) -> None:
    for more in ([], ["--yes"]):
        assert call.done(*words, *more).out.endswith(f"{said}: nothing is changed.\n")


def test_a_worker_that_runs_none_of_it_cannot_restart_it(call: Caller, valkey: Server) -> None:
    words = "restart", "shop:printer", "--worker", "nobody", "--yes"
    call(*words).refused(2, "worker 'nobody' runs none of these partitions of 'printer'; no worker does")
    with valkey.client() as client:
        history = client.info("replication")["master_replid"]
        slot = {"owner": "ann-1", "epoch": 1, "nonce": "n", "history": history, "deadline": 2**45}
        client.hset("{shop:orders:2}:proc:printer", mapping=slot)
    call(*words).refused(2, "those that do: ann-1")


def test_what_cannot_be_described_is_said_with_what_can(call: Caller) -> None:
    call.write("shop", APP + ACTOR)
    others = "; it has app, orders, printer, Account\n"
    call("describe", "shop:nothing").refused(2, f"module 'shop' has no 'nothing'{others}")
    call("describe", "shop:datetime").refused(2, f"shop:datetime is a type, not an app, stream, processor or actor{others}")


def test_where_an_app_is_given_its_name_is_missing(call: Caller) -> None:
    for kind in ("Stream", "Processor"):
        missing = f"shop:app is an App, not a {kind}; it has "
        call(kind.lower(), "delete", "shop:app", "--yes").refused(2, missing, "give --name NAME")
