"""docs/processors.md names every setting and option that there is."""

from pathlib import Path

from attrs import fields

from runnel.processor import ProcessorOptions
from runnel.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "processors.md").read_text()


def test_every_setting_is_documented() -> None:
    for setting in fields(Settings):
        assert f"`{setting.name.removeprefix('default_')}`" in TEXT, setting.name


def test_every_option_of_a_processor_is_documented() -> None:
    for option in fields(ProcessorOptions):
        assert f"`{option.name}`" in TEXT, option.name
