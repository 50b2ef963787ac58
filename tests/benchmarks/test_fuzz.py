"""Fuzzing: a few inputs of every kind that needs no network of its own, and that the harness sees what it is for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.fuzzing import attempt
from benchmarks.fuzzing.attempt import Input, attempted
from benchmarks.fuzzing.commands import NoSentence, refusal
from benchmarks.fuzzing.contained import Done, Limits, _memory, contained
from benchmarks.fuzzing.damage import damaged_bytes, damaged_json, damaged_table
from benchmarks.fuzzing.kind import Kind
from benchmarks.fuzzing.kinds import KINDS
from sonolearn.console import UserError
from sonolearn.scans.scan import Rejected

ROOT = Path(__file__).parents[2]
LIGHT = [kind.name for kind in KINDS if not kind.heavy]
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_a_few_damaged_inputs_of_each_light_kind_are_read_or_refused(tmp_path: Path) -> None:
    words = ["--inputs", "40", "--seed", "1", "--failures", str(tmp_path / "failures"), "--kinds", *LIGHT]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", *words], cwd=ROOT, capture_output=True, text=True, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "failures").exists()
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("| all |")]
    inputs, refused, read, died, *bad = [int(cell) for cell in line.split("|")[2:-1]]
    assert inputs == refused + read + died >= 36
    assert refused > 10
    assert read > 2
    assert bad == [0, 0, 0]


# What the harness is for

HERE = _memory(os.getpid(), "VmRSS") if sys.platform == "linux" else 0
MOST = HERE + 700_000_000
"""Bytes; processes are forked from this one, which has loaded much in the meantime."""


def behave(how: str) -> str:
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "compute":
        while True:
            pass
    if how == "wait":
        time.sleep(600)
    if how == "grow":
        held = [np.ones(10_000_000, np.uint8) for _ in range(200)]
        time.sleep(600)
        return str(len(held))
    return how


@linux
def test_a_process_that_dies_hangs_or_grows_costs_its_own_work_alone() -> None:
    works = ["one", "die", "compute", "wait", "two", "grow", "three"]
    found = {done.work: done for done in contained(behave, works, Limits(10.0, MOST))}
    ended = {work: done.ended for work, done in found.items()}
    bad = {"die": "died", "compute": "hung", "wait": "hung", "grow": "fat"}
    assert ended == {**dict.fromkeys(("one", "two", "three"), "well"), **bad}
    assert [found[work].answer for work in ("one", "two", "three")] == ["one", "two", "three"]
    assert found["grow"].peak > MOST


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, "read"),
        (UserError("labels.csv: has no rows; give an image a row"), "refused"),
        (Rejected("damaged", "the image is damaged or cut off"), "refused"),
        (KeyError("plane"), "tracebacks"),
        (UserError("damaged"), "tracebacks"),
        (UserError("the file\nis damaged here"), "tracebacks"),
        (SystemExit(1), "tracebacks"),
        (NoSentence("exit code 1"), "tracebacks"),
    ],
)
def test_what_is_neither_read_nor_refused_in_one_sentence_fails(
    error: BaseException | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempt_it(base: Path, work: Path, rng: np.random.Generator) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(attempt, "kind_named", lambda name: Kind(name, name, lambda folder: None, attempt_it, 1))
    assert attempted(Input("planted", 0, 0, tmp_path, tmp_path / "work"))[0] == expected


def test_over_1_gb_a_hang_and_a_death_of_what_is_no_scan_fail() -> None:
    given = Input("words", 0, 0, Path(), Path())
    fine = Done(given, ("read", ""), "well", 10**6, 1)
    assert fuzz._outcome(fine, fuzz.Tally())[0] == "read"
    for done, expected in (
        (Done(given, ("read", ""), "well", 1_100_000_000, 1), "over 1 GB"),
        (Done(given, None, "fat", 2_100_000_000, 1), "over 1 GB"),
        (Done(given, None, "hung", 0, 61), "hangs"),
        (Done(given, None, "died", 0, 1), "tracebacks"),
    ):
        tally = fuzz.Tally()
        what = fuzz._outcome(done, tally)[0]
        tally.add("words", what, done)
        assert what == expected
        assert tally.failed == 1


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (2, "warning: x\nsonolearn: a: is damaged; restore it\n", UserError),
        (2, "sonolearn: a: is damaged; restore it\nTraceback (most recent call last):\n", NoSentence),
        (1, "sonolearn: a: is damaged; restore it\n", NoSentence),
        (2, "usage: sonolearn\n", NoSentence),
    ],
)
def test_a_refusal_is_exit_code_2_and_one_sentence(code: int, said: str, kind: type[Exception]) -> None:
    assert type(refusal(code, said)) is kind


def test_damage_depends_on_the_seed_alone_and_changes_something() -> None:
    data, table, value = bytes(range(256)) * 9, "a,b\n1,2\n3,4\n", {"a": [1, {"b": 2}], "c": "d"}
    for damage, sound in ((damaged_bytes, data), (damaged_table, table), (damaged_json, value)):
        found = [[damage(sound, np.random.default_rng(seed)) for seed in range(40)] for _ in range(2)]  # type: ignore[operator]
        assert repr(found[0]) == repr(found[1])
        assert sum(repr(one) != repr(sound) for one in found[0]) > 30
    assert value == {"a": [1, {"b": 2}], "c": "d"}
