"""Rows that are not of the common kind: parked, paused, of thousands, and those that fail."""

from functools import partial

import pytest
from attrs import evolve
from rich.console import Console
from rich.text import Text

from runnel.operations.overview import Overview, ParkedKey, Server, as_json
from runnel.operations.status import Status
from runnel.store.pausing import Paused
from runnel.view import words
from runnel.view.model import Model
from runnel.view.pages import PAGES
from runnel.view.pages.page import Row
from runnel.view.picture import picture, safely
from runnel.view.screen import Screen
from tests.unit.view.made import drawn, partition, press


def test_a_parked_key_is_shown_with_all_its_events_and_one_that_is_hot_as_well_once(model: Model) -> None:
    assert model.overview is not None
    parked = tuple(ParkedKey(processor="bill", partition=1, key=key, events=40) for key in ("hot", "cold\udcff\x1b[2J"))
    model.overview = evolve(model.overview, parked=parked)
    text = drawn(Screen(page=2), model)
    assert text.count("hot") == 1
    assert text.count("parked  ") >= 2
    assert "cold··[2J" in text
    assert "cold\\\\xff" in as_json(model.overview), "JSON cannot hold half a character"


def test_what_is_paused_is_said_so_and_drains_while_somebody_has_it(model: Model) -> None:
    assert model.overview is not None
    paused = Paused(reason="the bank is down", by="eve", since=1_800_000_000.0)
    [processor] = model.overview.status.processors
    both = (partition(0, paused=paused, owner=None), partition(1, paused=paused))
    status = evolve(model.overview.status, processors=(evolve(processor, partitions=both),))
    model.overview = evolve(model.overview, status=status)
    text = drawn(Screen(page=1), model)
    assert "paused" in text
    assert "draining" in text
    screen = Screen(page=1)
    press(screen, model, "enter")
    assert "by eve: the bank is down" in drawn(screen, model)


def test_a_page_that_fails_says_so_and_the_others_go_on(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Model) -> list[Row]:
        raise ValueError("wrong\x1b[2J")

    monkeypatch.setattr("runnel.view.screen.PAGES", (evolve(PAGES[0], rows=fails), *PAGES[1:]))
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    found, view = safely(Screen(), model, 100, 20)
    console.print(view)
    console.file.close()
    assert found == []
    assert "this page cannot be shown: ValueError: wrong·[2J" in console.export_text()
    found, _ = safely(Screen(page=1), model, 100, 20)
    assert len(found) == 4


def test_of_thousands_of_rows_only_those_in_sight_are_written_out() -> None:
    made = []

    def make(number: int) -> Row:
        made.append(number)
        return Row(id=str(number), cells=tuple(Text(str(number)) for _ in PAGES[1].columns))

    rows = [Row(id=str(number), make=partial(make, number)) for number in range(5000)]
    overview = Overview(status=Status(app="a", server="x", workers=(), processors=()), server=Server())
    picture(Screen(page=1), Model(overview=overview), 100, 24, rows)
    assert len(made) < 24


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.000344, "340 µs"),
        (0.00421, "4.2 ms"),
        (0.00999, "10 ms"),
        (0.0503, "50 ms"),
        (0.9961, "1.0 s"),
        (75.2, "75 s"),
    ],
)
def test_a_quantile_has_as_many_digits_as_are_true(seconds: float | None, said: str) -> None:
    assert words.quantile(seconds).plain == said
