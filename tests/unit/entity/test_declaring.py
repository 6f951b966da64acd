"""What is declared wrongly is one line where it is declared; what is right in an unusual way is taken."""

import functools
import types
from collections.abc import Callable
from typing import Annotated, Any, Generic, NewType, Protocol, TypeVar

import pytest

from runnel import Actor, App, ConfigurationError, Context, Event, Record, RecordError, Stream, handles

T = TypeVar("T")


class Order(Record):
    key: str


class Rush(Order):
    pass


class Query(Record):
    key: str


class Sum(Record):
    total: int = 0


class HasKey(Protocol):
    key: str


orders: Stream[Any] = App("shop").stream("orders", record=Order, partition_by="key")


def declare(handler: Any) -> Any:
    app = App("shop")
    app.actor(orders)(handler)
    [processor] = app.processors.values()
    return processor.entity


def till(message: Any = Order, **methods: Any) -> Any:
    """A class of actors with these methods."""

    def receive(self: object, order: Any) -> None: ...

    members = {"receive": receive, **methods}
    return types.new_class("Till", (Actor[message, Sum],), exec_body=lambda namespace: namespace.update(members))


def taking(annotation: Any, *, function: bool = False) -> Callable[..., Any]:
    """A handler of what an annotation says: a method, or a function."""

    async def receive(self: object, order: Any) -> None: ...

    async def lone(order: Any) -> None: ...

    made = lone if function else receive
    made.__qualname__ = made.__name__  # as at the top of a module
    made.__annotations__["order"] = annotation
    return made


def refused(handler: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        declare(handler)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ── types ──

WRONG = [Query, "Query", Query | None, "Query | Sum", Annotated[Query, 1], int, dict[str, Any]]
RIGHT = [
    *(Order, "Order", Any, object, Record, Rush, NewType("Placed", Order), HasKey, T, Order | Query, "Query | Order", None),
    *(Annotated[Order, 1], "Unknown", "not a type", type, Callable[..., Any] | Order),
]


@pytest.mark.parametrize("annotation", WRONG, ids=str)
def test_a_handler_of_something_else_than_the_stream_has_is_refused(annotation: Any) -> None:
    assert "takes" in refused(till(receive=taking(annotation)))
    assert refused(till(receive=taking(annotation))).endswith("would get Order: stream 'orders' has Order")
    assert refused(taking(annotation, function=True)).endswith("but stream 'orders' has Order")


@pytest.mark.parametrize("annotation", [each for each in RIGHT if each is not type], ids=str)
def test_what_may_get_the_streams_records_is_taken(annotation: Any) -> None:
    declare(till(receive=taking(annotation)))
    if annotation not in ("Unknown", "not a type"):  # a function's must be known: they say what it wants
        declare(taking(annotation, function=True))


def test_what_a_class_says_that_it_handles_is_compared_too() -> None:
    said = refused(till(message=Query))
    assert said == "actor 'Till' handles Query, as its Actor[...] says, but stream 'orders' has Order"
    for message in (Order, Record, Any, Order | Query, "Order", T):
        declare(till(message=message))


def test_what_a_method_handles_is_compared_with_its_annotation() -> None:
    said = refused(till(ask=handles(Query)(taking(Order))))
    assert said == "actor 'Till': receive takes Order, and would get Query: see its @handles(Query)"
    declare(till(ask=handles(Query, Sum)(taking(Query | Sum))))


def test_local_classes_and_wrapped_methods_are_taken() -> None:
    def receive(self: object, order: "Query") -> None: ...  # of which Query, nobody can tell here

    @functools.wraps(taking(Query))
    def converting(self: object, *args: object) -> None: ...

    declare(till(receive=receive))
    declare(till(receive=converting))


def test_a_class_that_derives_from_declared_ones_is_taken() -> None:
    class Base(Actor[Order, Sum], Generic[T]):
        def receive(self, message: Order) -> None: ...

    class Derived(Base[int]):
        def receive(self, message: Record) -> None: ...

    declare(Base)
    declare(Derived)


def test_a_name_is_looked_up_in_the_class_first() -> None:
    declare(till(receive=taking("Query"), Query=Order))


# ── signatures ──


@pytest.mark.parametrize(
    ("hook", "wrong", "said"),
    [
        ("receive", lambda self: None, "write receive(self, record), not receive(self): that is how it is called"),
        ("receive", staticmethod(lambda record: None), "write receive(self, record), not receive(record)"),
        ("receive", 5, "receive must be a method, receive(self, record), not 5"),
        ("on_start", lambda self, x: None, "write on_start(self), not on_start(self, x)"),
        ("on_stop", lambda: None, "write on_stop(self), not on_stop()"),
        ("on_restart", lambda self: None, "write on_restart(self, error), not on_restart(self)"),
        ("on_reminder", lambda self: None, "write on_reminder(self, name), not on_reminder(self)"),
        ("ask", handles(Query)(lambda self: None), "<lambda>(self, message), not <lambda>(self)"),
        ("migrate", lambda self, data: data, "migrate is called on the class: put @classmethod before it"),
        ("migrate", classmethod(lambda cls: {}), "write migrate(data), not migrate()"),
        ("initial", lambda self: Sum(), "initial is called on the class: put @classmethod before it"),
    ],
)
def test_a_method_that_cannot_be_called_as_it_will_be_is_refused(hook: str, wrong: Any, said: str) -> None:
    assert said in refused(till(**{hook: wrong}))


def test_signatures_that_can_be_called_are_taken() -> None:
    def wide(self: object, *args: object, **more: object) -> None: ...

    hooks = ("receive", "on_start", "on_stop", "on_restart", "on_reminder")
    declare(till(**dict.fromkeys(hooks, wide)))
    declare(till(receive=lambda self, record, again=False: None, on_start=lambda self, x=1: None, on_reminder=None))
    static = till(migrate=staticmethod(lambda data: {"total": 3}), initial=staticmethod(lambda: Sum(total=2)))
    kind = declare(static).state
    assert (kind.load(None), kind.load(b"{}")) == (Sum(total=2), Sum(total=3))


def test_what_migrate_returns_is_named_if_it_is_no_state() -> None:
    kind = declare(till(migrate=classmethod(lambda cls, data: None))).state
    with pytest.raises(RecordError, match=r"what migrate has returned is no state: Sum: expected .* got None"):
        kind.load(b"{}")


# ── decorators ──


@pytest.mark.parametrize("decorator", ["actor", "processor"])
def test_a_decorator_without_its_stream_says_so(decorator: str) -> None:
    declares = getattr(App("shop"), decorator)
    said = f"is declared without its stream: write @app.{decorator}(stream), not @app.{decorator}"
    for handler in (till(), taking(Order, function=True)):
        with pytest.raises(ConfigurationError) as caught:
            declares(handler)
        assert str(caught.value) == f"{handler.__name__!r} {said}"
    with pytest.raises(ConfigurationError, match=f"@app.{decorator} needs a stream, as app.stream makes them, not 'orders'"):
        declares("orders")


def test_a_class_of_actors_is_no_processor() -> None:
    with pytest.raises(ConfigurationError, match=r"'Till' is a class of actors: declare it with @app\.actor\(stream\)"):
        App("shop").processor(orders)(till())
    with pytest.raises(ConfigurationError, match="a processor is a function that iterates over events, not 5"):
        App("shop").processor(orders)(5)  # type: ignore[arg-type]


def test_a_policy_that_is_none_says_which_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"processor 'Till': exception_policy must be one of 'halt', .*, not 'PARK'"):
        App("shop").actor(orders, exception_policy="PARK")(till())  # type: ignore[arg-type]


def test_a_function_may_want_other_things_beside_the_record() -> None:
    def handle(event: Event, order: Order, ctx: Context) -> None: ...

    declare(handle)
