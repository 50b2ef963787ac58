"""Rows of the table of benchmarks: ratios point the right way, targets are judged, the page takes the table."""

from __future__ import annotations

import json
import time

import pytest

import benchmarks.__main__ as main
from benchmarks.figure import HEADER, Row, cost, in_turns, line, rate, speed, waiting


def test_a_rate_that_is_ten_times_the_peers_has_a_ratio_of_ten():
    row = rate("views", "views/s", 2000.0, "lightly", 200.0, 10)
    assert (row.ratio, row.reached, row.ours, row.against) == (10.0, True, "2,000 views/s", "lightly: 200 views/s")


def test_half_of_the_peers_time_has_a_ratio_of_two():
    assert speed("loss", 0.1, "lightly", 0.2, 1).ratio == pytest.approx(2)


def test_a_cost_is_to_be_at_most_its_target():
    assert cost("heads", 1.1, "features", 1.0, 1.2).reached
    assert not cost("heads", 1.3, "features", 1.0, 1.2).reached


def test_what_waits_for_a_gpu_says_so_and_claims_nothing():
    text = line(waiting("ResNet-50", "its own step", 0.9))
    assert "waiting for a GPU" in text
    assert "yes" not in text


def test_times_taken_in_turns_are_those_of_the_functions():
    times = in_turns({"short": lambda: time.sleep(0.01), "long": lambda: time.sleep(0.03)}, repeats=3)
    assert times["short"] == pytest.approx(0.01, rel=0.5)
    assert times["long"] == pytest.approx(0.03, rel=0.5)


def test_every_script_of_the_list_is_a_module_with_rows():
    for name in main.SCRIPTS:
        text = (main.FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert "def rows(quick: bool) -> Iterator[Row]:" in text, name


def test_the_table_of_the_page_is_that_of_the_kept_rows():
    page = main.PAGE.read_text(encoding="utf-8")
    assert page == main.with_table(page, main.table(main.kept_rows()))


def test_each_row_names_its_day_and_machine():
    rows = {"views": [Row("a", "1", "b: 2", 0.5, date="2026-01-01", machine="one core")]}
    assert "1. 2026-01-01, one core" in main.table(rows)
    assert main.table(rows).startswith(HEADER.split("\n")[0][:10])


def test_kept_rows_are_of_scripts_that_exist_and_say_when_and_where():
    kept = json.loads(main.RESULTS.read_text(encoding="utf-8"))
    assert set(kept) <= set(main.SCRIPTS)
    for rows in kept.values():
        assert all(row["date"] and row["machine"] for row in rows)
