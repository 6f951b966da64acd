"""An app with traces, whose spans go to the file $SPANS, one a line; `python -m ... NUMBER...` sends orders in one call."""

import asyncio
import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from runnel import App, Context, Events, ExceptionPolicy, Record, Retry, SyncEvents

provider = TracerProvider(shutdown_on_exit=False)
spans = open(os.environ["SPANS"], "a", buffering=1)  # noqa: SIM115
provider.add_span_processor(
    SimpleSpanProcessor(ConsoleSpanExporter(out=spans, formatter=lambda span: span.to_json(indent=None) + "\n"))
)
trace.set_tracer_provider(provider)

app = App("traced", tracing=True)


class Order(Record):
    number: int


orders = app.stream("orders", record=Order, partition_by="number", partition_count=1)
bills = app.stream("bills", record=Order, partition_by="number", partition_count=1)
letters = app.stream("letters", record=Order, partition_by="number", partition_count=1)
copies = app.stream("copies", record=Order, partition_by="number", partition_count=1)


@app.processor(orders)
async def bill(events: Events[Order]) -> None:
    async for order in events.records():
        with trace.get_tracer("user").start_as_current_span("own"):
            await bills.send(order)


@app.processor(bills)
def post(events: SyncEvents[Order]) -> None:
    for order in events.records():
        with trace.get_tracer("user").start_as_current_span("in a thread"):
            events.run(letters.send(order))


@app.processor(letters, exception_policy=ExceptionPolicy.IGNORE, retry=Retry(attempts=2, backoff=0.01))
async def fail(events: Events[Order]) -> None:
    async for _ in events:
        raise ValueError("secret text")


@app.actor(bills)
async def copy(order: Order, ctx: Context) -> None:
    ctx.emit(copies, order)


@app.processor(copies)
async def keep(events: Events[Order]) -> None:
    async for _ in events.records():
        pass


@app.processor(orders)
async def batches(events: Events[Order]) -> None:
    async for _ in events.take(10, within=0.2):
        pass


async def main() -> None:
    with trace.get_tracer("user").start_as_current_span("shop"):
        await orders.send(*[Order(number=int(number)) for number in sys.argv[1:]], headers={"from": "me"})
    await app.close()


if __name__ == "__main__":
    asyncio.run(main())
