"""Finding an app by its name, and the modules that `autodiscover` names."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnel import App, ConfigurationError, Stream
from runnel.discovery import discover, load

SHOP = """
from runnel import App, Record

app = App(name="shop")
number = 7

class Order(Record):
    key: str

class Streams:
    orders = app.stream("orders", Order, "key")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a module `shop_to_find`; what is imported from it is forgotten after the test."""
    (tmp_path / "shop_to_find.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_an_app_is_found_by_module_and_attribute(folder: Path) -> None:
    app = load("shop_to_find:app", App)
    assert isinstance(app, App)
    assert app.name == "shop"


def test_an_attribute_may_lie_deeper(folder: Path) -> None:
    assert load("shop_to_find:Streams.orders", Stream).name == "orders"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop_to_find", "'shop_to_find' must have the form module:app"),
        ("shop_to_find:", "must have the form"),
        (":app", "must have the form"),
        ("../shop:app", "'../shop' is no module: write it from the current folder on"),
        ("nowhere_at_all:app", "there is no module 'nowhere_at_all'"),
        ("shop_to_find.deeper:app", "there is no module 'shop_to_find.deeper'"),
        ("shop_to_find:apps", "module 'shop_to_find' has no 'apps'; it has app"),
        ("shop_to_find:Streams.orderz", "has no 'Streams.orderz'"),
        ("shop_to_find:number", "shop_to_find:number is an int, not an App; it has app"),
        ("shop_to_find.py:app", "leave out .py, 'shop_to_find'"),
        ("below/shop_to_find.py:app", "leave out .py, 'below.shop_to_find'"),
    ],
)
def test_what_is_not_found_is_one_clear_line(folder: Path, target: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        load(target, App)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_dependency", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("import os.nothing", ImportError),
    ],
)
def test_a_module_that_fails_says_with_what(folder: Path, source: str, cause: type[Exception]) -> None:
    (folder / "broken_to_find.py").write_text(source)
    with pytest.raises(ConfigurationError, match="module 'broken_to_find' cannot be imported") as raised:
        load("broken_to_find:app", App)
    assert isinstance(raised.value.__cause__, cause)


def test_a_syntax_error_says_where(folder: Path) -> None:
    (folder / "broken_to_find.py").write_text("def")
    with pytest.raises(SyntaxError, match="broken_to_find"):
        load("broken_to_find:app", App)


def test_an_error_of_runnels_is_one_line_already(folder: Path) -> None:
    (folder / "broken_to_find.py").write_text("from runnel import App\nApp('')")
    with pytest.raises(ConfigurationError, match="an app needs a name"):
        load("broken_to_find:app", App)


def test_all_modules_that_fit_are_imported(folder: Path) -> None:
    package = folder / "found_package"
    (package / "deep").mkdir(parents=True)
    for path in ("__init__.py", "streams.py", "other.py", "deep/streams.py", "streams.txt"):
        (package / path).write_text("")
    discover("found_package/**/streams.*")
    found = {name for name in sys.modules if name.startswith("found_package")}
    assert {"found_package.streams", "found_package.deep.streams"} <= found
    assert "found_package.other" not in found


def test_a_package_is_imported_by_its_own_name(folder: Path) -> None:
    (folder / "whole_package").mkdir()
    (folder / "whole_package" / "__init__.py").write_text("loaded = True")
    discover("whole_package/*.py")
    assert "whole_package" in sys.modules
    assert "whole_package.__init__" not in sys.modules


def test_a_pattern_that_fits_nothing_imports_nothing(folder: Path) -> None:
    before = set(sys.modules)
    discover("nothing/**/*.py")
    assert set(sys.modules) == before
