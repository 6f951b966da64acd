"""The benchmarks run and tell what they should; how fast anything is, is not for tests to say."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.result import Goal, Result


@pytest.mark.long
def test_benchmarks_print_a_table_and_write_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"

    assert main(["--tiny", "--only", "send", "--only", "process", "--only", "delayed", "--json", str(file)]) == 0

    written = json.loads(file.read_text())
    by_name = {result["name"]: result for result in written["results"]}
    sending = by_name["send, batches of 1,000"]
    assert sending["ratio"] == pytest.approx(sending["ours"][0] / sending["raw"][0])
    assert {"process records()", "process take(100)"} < by_name.keys()
    assert by_name.pop("  early, out of order, lost or doubled")["ours"] == [0]
    figures = {name: result["ours"] for name, result in by_name.items() if "delayed" not in name}  # on a busy machine: 0
    assert all(figure > 0 for each in figures.values() for figure in each)
    assert "appendonly yes" in written["about"]
    assert "send, batches of 1,000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("goal", "raw", "ours", "met"),
    [
        (Goal(0.65), [100, 100, 100], [60, 70, 80], True),
        (Goal(0.65), [100, 100, 100], [60, 60, 80], False),
        (Goal(3, at_most=True), [1, 1, 1], [2, 3, 9], True),
        (Goal(1, at_most=True), [], [0.5], True),
        (None, [1], [1], None),
    ],
)
def test_a_goal_is_met_by_the_median(goal: Goal | None, raw: list[float], ours: list[float], met: bool | None) -> None:
    assert Result(name="", unit="", raw=raw, ours=ours, goal=goal).is_met is met
