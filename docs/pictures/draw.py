"""Draws the pictures of the live view in this folder: `just pictures`.

A small app really runs here, with two workers, a handler that fails and a key that is parked. It is looked at as `runnel top`
looks at it, and what it shows is exported by rich. The pictures name the fonts of the reader's machine: nothing is loaded.
"""

import asyncio
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from runnel import App
from runnel.cli.targets import find
from runnel.operations.overview import read_overview
from runnel.view.model import Model
from runnel.view.pages import PAGES
from runnel.view.picture import picture
from runnel.view.screen import Screen

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 120, 27
SECONDS = 20
PICTURES = ("actors", "partitions", "keys", "failures")

APP = """
import random
from runnel import Actor, App, ExceptionPolicy, Record

app = App("shop", redis_url="embedded://./data")

class Order(Record):
    customer: str
    pence: int

class Balance(Record):
    pence: int = 0

orders = app.stream("orders", record=Order, partition_by="customer", partition_count=4)
CUSTOMERS = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal")

@app.processor(orders, exception_policy=ExceptionPolicy.PARK)
async def ship(events):
    async for order in events.records():
        if order.customer == "gus":
            raise ValueError("no address")

@app.actor(orders, name="Account")
class Account(Actor[Order, Balance]):
    async def receive(self, order):
        self.state.pence += order.pence

@app.timer(interval=0.05)
async def customers():
    await orders.send(*[Order(customer=random.choice(CUSTOMERS), pence=random.randrange(900)) for _ in range(20)])
"""


async def look(app: App) -> Model:
    """Look for a while."""
    link, model = (await app.open()).link(), Model()
    for _ in range(SECONDS):
        await asyncio.sleep(1)
        model.update(await read_overview(app, link), app.clock.monotonic())
    await link.close()
    await app.close()
    return model


def svg(page: int, model: Model) -> str:
    """A page, as an image without any address to load from."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(picture(Screen(page=page), model, WIDTH, HEIGHT))
    plain = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace("Fira Code, ", "")
    plain = re.sub(r"<!--.*?-->", "", plain)
    return console.export_svg(title="runnel top shop:app", code_format=plain, unique_id=f"runnel-{PAGES[page].name}")


def main() -> None:
    """Draw them all."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "shop.py").write_text(APP)
        sys.path.insert(0, folder)
        url = f"embedded://{folder}/data"
        words = [sys.executable, "-m", "runnel", "run", "shop:app", "--workers", "2", "--redis-url", url]
        with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as workers:
            try:
                while not Path(folder, "data").exists():
                    assert workers.poll() is None
                model = asyncio.run(look(find("shop:app", App, url)))
            finally:
                workers.terminate()
    for at, page in enumerate(PAGES):
        if page.name in PICTURES:
            text = svg(at, model).replace(url, "redis://127.0.0.1:6379")
            (FOLDER / f"{page.name}.svg").write_text(text)


main()
