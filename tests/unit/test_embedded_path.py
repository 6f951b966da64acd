"""What an `embedded://` URL names."""

from pathlib import Path

import pytest

from runnel.errors import ConfigurationError
from runnel.store.embedded import embedded_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("embedded://", ".runnel"),
        ("EMBEDDED://", ".runnel"),
        ("embedded://data", "data"),
        ("embedded://data/shop", "data/shop"),
        ("embedded://./data", "data"),
        ("embedded://../data", "../data"),
        ("embedded:///var/lib/shop", "/var/lib/shop"),
        ("embedded:///my%20data%3F", "/my data?"),
        ("embedded:///b%C3%BCcher", "/bücher"),
        ("embedded:///bücher", "/bücher"),
        ("embedded:///shop@2", "/shop@2"),
    ],
)
def test_a_url_names_a_folder(url: str, path: str) -> None:
    assert embedded_path(url) == Path(path)


def test_a_tilde_is_the_home_directory() -> None:
    assert embedded_path("embedded://~/shop") == Path.home() / "shop"


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "embedded:data",
        "embedded:///data?timeout=1",
        "embedded:///data#part",
        "embedded://user:secret@data",
        "embedded:///data%00",
        "embedded:///data%FF",
    ],
)
def test_a_url_with_parts_that_mean_nothing_here_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        embedded_path(url)


def test_a_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        embedded_path("embedded://user:secret@data")
    assert "secret" not in str(refusal.value)
