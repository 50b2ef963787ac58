"""What a person sees: everything on standard error, one line a message, a line a minute where there is no terminal."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from sonolearn import cli, console
from sonolearn.console import Interrupted, UserError, as_json, progress, quiet, say, warn


def test_messages_go_to_standard_error_in_one_line_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = "scan [bold]3[/bold]: " + "a long way to go, " * 20
    say(sentence)
    warn("look [here]")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"{sentence}\nwarning: look [here]\n"


def test_an_interruption_is_told_from_a_mistake_and_both_are_value_errors() -> None:
    assert issubclass(Interrupted, UserError)
    assert issubclass(UserError, ValueError)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the console believes have passed."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_short_work_prints_nothing_where_there_is_no_terminal(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("reading", 10) as bar:
        for _ in range(10):
            clock[0] += 5
            bar.advance()
    printed = capsys.readouterr()
    assert (printed.out, printed.err.strip()) == ("", "")


def test_long_work_prints_a_line_a_minute_with_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("reading", 100) as bar:
        bar.resume(80)
        for _ in range(20):
            clock[0] += 31
            bar.advance()
    lines = capsys.readouterr().err.split("\n")
    assert lines[0] == "reading: 82 of 100, about 0:09:18 left"
    assert len([line for line in lines if line.strip()]) == 10


def test_steps_done_before_do_not_make_the_estimate_too_good(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("reading", 1000) as bar:
        bar.resume(999)
        clock[0] += 100
        bar.advance()
    assert capsys.readouterr().err.strip() == "reading: 1000 of 1000, about 0:00:00 left"


def test_without_a_total_no_time_is_guessed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", None) as bar:
        bar.describe("reading scan 3")
        clock[0] += 61
        bar.advance(7)
    assert capsys.readouterr().err.strip() == "reading scan 3: 7 of unknown"


def test_quiet_leaves_warnings_alone_and_ends(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with quiet(), progress("reading", 10) as bar:
        say("not this")
        warn("but this")
        clock[0] += 61
        bar.advance()
    say("and this")
    assert capsys.readouterr().err.strip() == "warning: but this\nand this"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (pd.DataFrame({"plane": ["4CH", None]}), [{"plane": "4CH"}, {"plane": None}]),
        (Path("a/report.html"), "a/report.html"),
        ([Path("a"), Path("b")], ["a", "b"]),
        (SimpleNamespace(path=Path("store")), "store"),
        (None, None),
    ],
    ids=["table", "path", "paths", "store", "nothing"],
)  # fmt: skip
def test_results_as_json(result: object, expected: object) -> None:
    assert json.loads(as_json(result)) == expected


def test_with_json_standard_output_holds_the_result_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chatty(**arguments: object) -> Path:
        """Say much.

        Args:
            out: a folder.
        """
        sys.stdout.write("a table for people\n")
        say("done")
        return Path("out")

    monkeypatch.setitem(cli.COMMANDS, "phantom", dataclasses.replace(cli.COMMANDS["phantom"], function=chatty))
    cli.main(["phantom", "--json", "out", "--quiet"])
    printed = capsys.readouterr()
    assert (json.loads(printed.out), printed.err) == ("out", "a table for people\n")
