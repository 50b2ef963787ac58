"""The input: what is left out, what is refused, and draws that are those of the tables of a run."""

from __future__ import annotations

import numpy as np
import pytest

from simulated_study import by_chance, row, study
from sonolearn.planes.metrics import bootstrap_macro_f1
from sonolearn.statistics.trainings import gather

ROWS = [row(name, seed) for name in ("random", "ImageNet") for seed in range(3)]


def test_draws_are_those_of_the_tables_of_a_run() -> None:
    runs, confusions = study(ROWS, by_chance(np.random.default_rng(0), lambda _: 0.5, patients=7))
    trainings = gather(runs, confusions, draws=50, seed=0)
    for index, run in enumerate(trainings.table["run"]):
        assert trainings.drawn[index] == pytest.approx(bootstrap_macro_f1(confusions[run][None], seed=0, draws=50))


def test_draws_do_not_depend_on_how_many_trainings_are_redrawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, confusions = study(ROWS, by_chance(np.random.default_rng(0), lambda _: 0.5))
    whole = gather(runs, confusions, draws=20).drawn
    monkeypatch.setattr("sonolearn.statistics.trainings._CHUNK", 4)
    assert gather(runs, confusions, draws=20).drawn == pytest.approx(whole)


def test_runs_without_a_result_are_left_out_and_counted() -> None:
    runs, confusions = study(ROWS, lambda _: np.array([3, 2]))
    runs.loc[0, "macro_f1"] = np.nan
    del confusions[str(runs.loc[4, "run"])]
    trainings = gather(runs, confusions)
    assert trainings.left_out == 2
    assert set(trainings.table["run"]) == set(runs["run"].drop([0, 4]))
    assert list(trainings.table.index) == list(range(4))


def test_a_study_without_any_result_is_empty() -> None:
    runs, _ = study(ROWS, lambda _: np.array([3, 2]))
    trainings = gather(runs, {})
    assert (len(trainings.table), trainings.patients, trainings.left_out) == (0, 0, 6)
    assert list(trainings.settings()) == []


def test_what_cannot_be_trusted_is_refused() -> None:
    runs, confusions = study(ROWS, lambda entry: np.array([3, 2 + (entry["seed"] == 0)]))
    with pytest.raises(ValueError, match="lacks seed"):
        gather(runs.drop(columns="seed"), confusions)
    with pytest.raises(ValueError, match="two runs"):
        gather(runs.assign(seed=0), confusions)
    first, second = runs["run"][:2]
    with pytest.raises(ValueError, match="not that of its confusion"):
        gather(runs, {**confusions, first: confusions[second], second: confusions[first]})
    with pytest.raises(ValueError, match="different test patients"):
        gather(runs, {**confusions, first: confusions[first][:1]})


def test_initialisations_without_a_pool_are_in_the_settings_of_all_pools() -> None:
    rows = [row("random", 0), row("SimCLR", 0, pool="a"), row("SimCLR", 0, pool="b"), row("random", 0, mode="linear")]
    trainings = gather(*study(rows, lambda _: np.array([3, 2])))
    named = {(s.mode, s.pool): set(trainings.table.loc[s.rows, "name"]) for s in trainings.settings()}
    assert named == {
        ("finetune", "a"): {"random", "SimCLR (a)"},
        ("finetune", "b"): {"random", "SimCLR (b)"},
        ("linear", ""): {"random"},
    }
