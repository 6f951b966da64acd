"""What keys do, and what is drawn of it, on terminals of several sizes."""


import pytest
from attrs import evolve
from rich.console import Console

from runnel.operations.overview import as_json
from runnel.view.model import Model
from runnel.view.pages import PAGES
from runnel.view.pages.page import Row, Target
from runnel.view.picture import static
from runnel.view.screen import INTERVALS, Act, Mode, Quit, Screen
from tests.unit.view.made import drawn, partition, press, rows

MODES: tuple[Mode, ...] = ("list", "detail", "help", "confirm", "filter")

# ── pictures ──


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("1", ["w1 leads", "├ coordinator", "│ └ member", "└ bill", "  └ 1.2", "████····", "5/10", "w2", "no report"]),
        ("2", ["bill/1", "running", "quarantined", "unowned", "20", "4.2 ms", "EventFailed: no"]),
        ("3", ["hot", "running", "12", "bill/1"]),
        ("4", ["nightly", "45 17 * * *", "each worker", "ValueError: job"]),
        ("5", ["parked", "13", "ValueError: unlucky", "orders/1/9-0"]),
        ("6", ["w1 leads", "400.0 ms", "50 MiB", "host/7", "1 min 01 s"]),
        ("7", ["lost", "bill: 1 partition lost (1)"]),
    ],
)
def test_a_page_shows_what_it_is_for(model: Model, page: str, texts: list[str]) -> None:
    screen = Screen()
    press(screen, model, page)
    text = drawn(screen, model)
    assert [each for each in texts if each not in text] == []
    assert "shop  redis://x  Valkey 9.1, 1 MiB" in text
    assert "lag 60" in text


@pytest.mark.parametrize("page", range(len(PAGES)))
@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 6), (300, 100)])
def test_a_picture_fits_its_terminal(model: Model, page: int, width: int, height: int) -> None:
    screen = Screen(page=page)
    for mode in MODES:
        screen.mode = mode
        lines = drawn(screen, model, width, height).rstrip("\n").splitlines()
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_before_the_first_look_and_without_a_server_it_says_so(model: Model) -> None:
    assert "asking the server" in drawn(Screen(), Model())
    assert "redis://x is away" in drawn(Screen(), Model(problem="redis://x is away"))
    model.problem = "redis://x is away"
    assert "redis://x is away; what is shown is old" in drawn(Screen(), model)
    assert model.overview is not None
    model.update(model.overview, 101.0)
    assert "what is shown is old" not in drawn(Screen(), model)


def test_rates_are_taken_from_one_look_to_the_next(model: Model) -> None:
    assert model.overview is not None
    [processor] = model.overview.status.processors
    later = evolve(processor, partitions=tuple(evolve(each, added=each.added + 50, lag=0) for each in processor.partitions))
    status = evolve(model.overview.status, processors=(later,))
    model.update(evolve(model.overview, status=status), 102.0)
    assert (model.incoming, model.done) == (100.0, 130.0)


def test_everything_at_once_has_all_pages_and_json_has_all_of_it(model: Model) -> None:
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(static(model))
    console.file.close()
    text = console.export_text()
    assert [page.name for page in PAGES if page.name not in text] == []
    assert model.overview is not None
    said = as_json(model.overview)
    assert '"lag":60' in said
    assert '"unlucky"' not in said
    assert "ValueError: unlucky" in said
    assert "\n" not in said


# ── keys ──


def test_digits_tabs_and_arrows_go_from_page_to_page(model: Model) -> None:
    screen = Screen()
    press(screen, model, "5")
    assert screen.current.name == "failures"
    press(screen, model, "tab", "tab", "tab")
    assert screen.current.name == "actors"
    press(screen, model, "backtab", "left", "right")
    assert screen.current.name == "events"
    press(screen, model, "8", "0")
    assert screen.current.name == "events"


def test_the_selected_row_stays_selected_when_rows_come_and_go(model: Model) -> None:
    screen = Screen(page=1)
    press(screen, model, "j")
    assert screen.here.selected == "bill/2", "by lag"
    press(screen, model, "k", "k")
    assert screen.here.selected == "bill/3"
    press(screen, model, "G")
    assert screen.here.selected == "bill/0"
    found = rows(screen, model)
    screen.place(found[:2], 10)
    assert screen.here.selected == found[1].id, "the nearest one"


def test_what_is_selected_is_in_sight() -> None:
    screen = Screen(page=1)
    many = [Row(id=str(n), cells=()) for n in range(50)]
    screen.place(many, 10)
    for key in ("pgdn", "pgdn", "down"):
        screen.press(key, many, 10)
    assert screen.place(many, 10) == 21
    assert screen.here.top <= 21 < screen.here.top + 10
    screen.press("home", many, 10)
    assert (screen.place(many, 10), screen.here.top) == (0, 0)


def test_enter_shows_a_row_and_esc_leaves_it(model: Model) -> None:
    screen = Screen()
    press(screen, model, "5", "enter")
    text = drawn(screen, model)
    assert "File here" in text
    assert "attempt            2" in text
    press(screen, model, "esc")
    assert "File here" not in drawn(screen, model)


def test_enter_on_a_worker_shows_the_same_on_both_pages(model: Model) -> None:
    for page in (0, 5):
        screen = Screen(page=page)
        press(screen, model, "enter")
        assert "membership ends in  3.0 s" in drawn(screen, model)
    screen = Screen(page=1)
    press(screen, model, "enter")
    assert "workers lost at its next event  0" in drawn(screen, model), "a long label keeps its distance"


def test_on_80_columns_the_header_says_what_is_parked_even_beside_an_event_of_1970(model: Model) -> None:
    assert model.overview is not None
    [processor] = model.overview.status.processors
    ticks = evolve(processor, partitions=(partition(0, parked=4, oldest_age=1.8e9),))
    model.overview = evolve(model.overview, status=evolve(model.overview.status, processors=(ticks,)))
    third = drawn(Screen(), model, 80).splitlines()[2]
    assert "parked 4  dead " in third
    assert third.rstrip().endswith("oldest -"), "its id is no moment"


def test_what_waits_for_the_server_is_said_while_it_is_away(model: Model) -> None:
    screen = Screen(page=1, waits="pause partition 2 of bill", notice="nothing done")
    model.problem = "redis://x cannot be reached"
    last = drawn(screen, model).rstrip().splitlines()[-1]
    assert last == "pause partition 2 of bill: waits for the server: redis://x cannot be reached"


def test_pages_of_rows_go_by_pgdn_and_pgup(model: Model) -> None:
    screen = Screen(page=1)
    assert screen.press("pgdn", rows(screen, model), 2) is None
    assert screen.here.at == 2
    screen.press("pgup", rows(screen, model), 2)
    assert screen.here.at == 0


def test_what_is_typed_into_a_filter_is_seen_on_80_columns(model: Model) -> None:
    screen = Screen(page=1)
    press(screen, model, "/", *"Desk/12")
    assert drawn(screen, model, 80, 24).rstrip().splitlines()[-1].startswith("/Desk/12")


def test_a_filter_is_typed_and_taken_back(model: Model) -> None:
    screen = Screen(page=1)
    press(screen, model, "/", *"bill/2", "enter")
    assert [row.id for row in rows(screen, model)] == ["bill/2"]
    press(screen, model, "2", "/", "x")
    assert rows(screen, model) == []
    assert "no row holds 'bill/2x'" in drawn(screen, model)
    press(screen, model, "backspace", "enter")
    assert len(rows(screen, model)) == 1
    press(screen, model, "esc")
    assert len(rows(screen, model)) == 4


def test_o_sorts_by_the_next_column_and_turns_round(model: Model) -> None:
    screen = Screen(page=1)
    assert [row.id for row in rows(screen, model)] == ["bill/3", "bill/2", "bill/1", "bill/0"]
    press(screen, model, "O")
    assert [row.id for row in rows(screen, model)] == ["bill/0", "bill/1", "bill/2", "bill/3"]
    press(screen, model, *("o",) * 5)
    assert screen.current.columns[screen.here.sort or 0].name == "parked"
    assert rows(screen, model)[0].id == "bill/1"
    screen.page = 0
    press(screen, model, "o")
    assert screen.notice


def test_space_freezes_and_plus_and_minus_change_the_interval(model: Model) -> None:
    screen = Screen()
    press(screen, model, " ")
    assert screen.is_frozen
    assert "frozen" in drawn(screen, model)
    press(screen, model, " ", "+")
    assert (screen.is_frozen, screen.seconds) == (False, 0.5)
    press(screen, model, *("-",) * 9)
    assert screen.seconds == INTERVALS[-1]


@pytest.mark.parametrize(("key", "what"), [("P", "pause"), ("U", "resume"), ("R", "restart"), ("L", "release")])
def test_an_action_is_confirmed_first(model: Model, key: str, what: str) -> None:
    screen = Screen(page=1)
    assert press(screen, model, "j", key) is None
    assert "partition 2 of bill" in screen.question
    assert f"{screen.question}?  y / n" in drawn(screen, model, 200)
    assert press(screen, model, "n") is None
    assert screen.notice == "nothing done"
    assert press(screen, model, key, "y") == Act(what=what, target=Target(processor="bill", partition=2, worker="w1"))


def test_an_action_needs_something_to_act_on(model: Model) -> None:
    screen = Screen()
    assert press(screen, model, "P") is None
    assert (screen.mode, screen.notice) == ("list", "pause: choose a partition, or a key, first")


def test_q_quits_and_is_confirmed_where_it_stops_a_worker(model: Model) -> None:
    assert press(Screen(), model, "q") == Quit()
    screen = Screen(stops="stop this worker, in order")
    assert press(screen, model, "q") is None
    assert screen.question == "stop this worker, in order"
    assert press(screen, model, "y") == Quit()


def test_the_help_is_scrolled_and_left(model: Model) -> None:
    screen = Screen()
    press(screen, model, "?")
    assert "into a row, and out of it" in drawn(screen, model)
    press(screen, model, "j", "j")
    assert screen.scroll == 2
    press(screen, model, "?")
    assert screen.mode == "list"
