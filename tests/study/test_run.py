"""`study run`: every planned run once, nothing twice, and what goes wrong costs nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from planes.labelled_store import write_store
from sonolearn import cli
from sonolearn.checksums import CHECKSUMS
from sonolearn.config import ClassifyConfig, PretrainConfig
from sonolearn.config.study import StudyRunConfig
from sonolearn.console import UserError
from sonolearn.options import read_options
from sonolearn.planes import run as frozen
from sonolearn.planes.classify import classify
from sonolearn.recipes import classify_layer_asked_for
from sonolearn.runs import read_json, write_json
from sonolearn.store.store import Store
from sonolearn.study import tasks as study_tasks
from sonolearn.study.folder import StudyFolder
from sonolearn.study.run import run_study
from sonolearn.study.schedule import read_timings
from study.small_study import PLAN, HereEngine, table_of, write_plan

FROZEN = {"methods": {}, "pools": {}, "modes": {"linear": {"solver": "logistic"}, "knn": {"neighbours": 3}}}
"""The part of the small plan that takes no time."""


@pytest.fixture
def copied(small_study: Path, tmp_path: Path) -> Path:
    """A copy of the finished small study that may be changed."""
    return shutil.copytree(small_study, tmp_path / "out")


@pytest.fixture
def plan(small_study: Path) -> Path:
    return small_study.parent / "plan.yaml"


def run(plan: Path, out: Path, **options: Any) -> pd.DataFrame:
    return run_study(plan, out, StudyRunConfig(**options))


# What a study ends in


def test_the_table_has_every_planned_run_once_in_the_order_of_the_plan(small_study: Path) -> None:
    planned = pd.read_csv(small_study / "planned.csv", keep_default_na=False)
    table = pd.read_parquet(small_study / "results.parquet")
    assert len(table) == len(planned) == 36
    pd.testing.assert_frame_equal(table[planned.columns], planned, check_dtype=False)
    assert not table.duplicated(list(planned.columns[1:])).any()
    assert not (small_study / "failed").exists()


def test_a_pretrainings_hash_was_known_before_it_ran(small_study: Path) -> None:
    folders = list((small_study / "pretrain").iterdir())
    assert len(folders) == 4
    for folder in folders:
        assert read_json(folder / "run.json")["hash"] == folder.name


@pytest.mark.parametrize("mode", ["finetune", "linear", "knn"])
@pytest.mark.parametrize("name", ["random", "Barlow Twins"])
def test_a_study_gives_what_classify_gives(
    mode: str, name: str, small_study: Path, small_data: Path, tmp_path: Path
) -> None:
    table = pd.read_parquet(small_study / "results.parquet")
    ours = table[(table["mode"] == mode) & (table["initialisation"] == name) & (table["pool"] == "")]
    own = {**PLAN["classify"], **PLAN["modes"][mode], "mode": mode, "image_size": 32}
    if name != "random":
        # Classify gives every seed the same weights: those of the first pre-training.
        ours = ours[ours["seed"] == 0]
        own["init"] = str(small_study / "pretrain" / ours["pretrain"].iloc[0])
    else:
        own["encoder"] = "test_resnet"
    layer = classify_layer_asked_for([], own)
    config = read_options(ClassifyConfig, {**own, "fractions": [0.5, 1.0], "seeds": 1 + (name == "random")}, "", layer)
    theirs = classify(small_data / "labelled", tmp_path / "run", config)
    keys, scores = ["seed", "fraction"], ["macro_f1", "balanced_accuracy", "accuracy", "train_images", "best_epoch"]
    one, other = (t.set_index(keys)[scores].sort_index() for t in (ours, theirs))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)
    probabilities = pd.read_csv(tmp_path / "run" / "predictions.csv").set_index([*keys, "row"])
    predictions = pd.read_parquet(small_study / "predictions.parquet").astype({"run": str})
    mine = predictions.merge(ours[["run", *keys]], on="run").set_index([*keys, "row"])
    columns = [column for column in mine.columns if column.startswith("p_")]
    # Half precision has eleven bits.
    np.testing.assert_allclose(mine.sort_index()[columns], probabilities.sort_index()[columns], atol=5e-4)
    assert (mine.sort_index()["predicted"].astype(str) == probabilities.sort_index()["predicted"]).all()


@pytest.mark.parametrize("mode", ["linear", "finetune"])
def test_a_study_draws_its_labels_by_suggestion_as_classify_does(
    mode: str, small_data: Path, tmp_path: Path, here: list[HereEngine]
) -> None:
    own = {**PLAN["classify"], "draw": "suggested"}
    changes = {"methods": {}, "pools": {}, "modes": {mode: PLAN["modes"][mode]}, "fractions": [0.25], "seeds": 1}
    ours = run(write_plan(tmp_path / "plan.yaml", small_data, classify=own, **changes), tmp_path / "out")
    own |= {**PLAN["modes"][mode], "mode": mode, "image_size": 32, "encoder": "test_resnet"}
    layer = classify_layer_asked_for([], own)
    config = read_options(ClassifyConfig, {**own, "fractions": [0.25], "seeds": 1}, "", layer)
    theirs = classify(small_data / "labelled", tmp_path / "run", config)
    scores = ["macro_f1", "accuracy", "train_images", "train_patients"]
    pd.testing.assert_frame_equal(ours[scores], theirs[scores], check_dtype=False)


def test_a_store_without_a_validation_part_is_enough_unless_that_part_chooses(
    small_data: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    shutil.copytree(small_data, tmp_path / "data")
    labels = pd.read_csv(small_data / "labelled" / "labels.csv")
    labels[labels["split"] != "valid"].to_csv(tmp_path / "data" / "labelled" / "labels.csv", index=False)
    changes: dict[str, Any] = {
        "methods": {},
        "pools": {},
        "classify": {**PLAN["classify"], "recipe": "adapt", "min_steps": 4},
    }
    for name, stores in (("whole", small_data), ("lacking", tmp_path / "data")):
        run(write_plan(tmp_path / f"{name}.yaml", stores, **changes), tmp_path / name)
    one, other = (pd.read_csv(tmp_path / name / "results.csv") for name in ("whole", "lacking"))
    assert len(one) == 12
    assert (one["valid_images"] == 0).all()
    # Another store has other hashes, and no other result.
    columns = [name for name in one if name not in ("run", "start", "seconds", "data_hash")]
    pd.testing.assert_frame_equal(one[columns], other[columns])
    with pytest.raises(UserError, match="has no labelled image in its valid part"):
        run(write_plan(tmp_path / "study.yaml", tmp_path / "data", methods={}, pools={}), tmp_path / "study")


def test_what_the_page_needs_is_there(small_study: Path) -> None:
    starts = pd.read_parquet(small_study / "results.parquet")
    assert {path.stem for path in (small_study / "features").glob("[!.]*")} == set(
        starts.loc[starts["seed"] == 0, "start"]
    )
    assert len(list((small_study / "cams").glob("[!.]*"))) == 2
    assert read_json(small_study / "warnings.json") == []
    assert len(read_timings(StudyFolder(small_study))) == 4 + 6 + 12


# Once more


def test_a_second_call_begins_no_task_and_writes_the_same_bytes(
    plan: Path, copied: Path, here: list[HereEngine]
) -> None:
    names = ("results.csv", "results.parquet", "predictions.parquet", "timings.csv", "planned.csv")
    before = {name: (copied / name).read_bytes() for name in names}
    run(plan, copied)
    assert here == []
    assert {name: (copied / name).read_bytes() for name in names} == before


def test_one_more_seed_runs_only_what_is_new(
    copied: Path, small_data: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    before = table_of(copied)
    kept = {path.name: path.stat().st_mtime_ns for path in (copied / "runs").glob("[!.]*")}
    table = run(write_plan(tmp_path / "plan.yaml", small_data, seeds=3), copied, only=("pool=",))
    assert len(table) == 36 + 12
    new = set(table["run"]) - set(before["run"])
    kinds = [name.split("-")[0] for name in here[0].begun]
    assert (kinds.count("pretrain"), kinds.count("frozen"), kinds.count("finetune")) == (1, 2, 4)
    assert {table.set_index("run").loc[run, "seed"] for run in new} == {2}
    after = table_of(copied).set_index("run")
    pd.testing.assert_frame_equal(after.loc[before["run"]], before.set_index("run"))
    assert {path.name: path.stat().st_mtime_ns for path in (copied / "runs").glob("[!.]*") if path.name in kept} == kept


def test_a_study_that_grew_equals_one_planned_so_from_the_start(
    small_data: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    out, whole = tmp_path / "grown", tmp_path / "whole"
    for fractions, seeds in (([0.5], 1), ([0.5, 1.0], 1), ([0.25, 0.5, 1.0], 3)):
        file = write_plan(tmp_path / "plan.yaml", small_data, **FROZEN, fractions=fractions, seeds=seeds)
        run(file, out)
    run(file, whole)
    pd.testing.assert_frame_equal(table_of(out), table_of(whole))


def test_only_part_of_a_plan_can_be_run_and_the_rest_later(
    small_data: Path, here: list[HereEngine], tmp_path: Path, small_study: Path
) -> None:
    file = write_plan(tmp_path / "plan.yaml", small_data)
    table = run(file, tmp_path / "out", only=("initialisation=random", "mode=knn"))
    assert (len(table), set(table["mode"]), set(table["initialisation"])) == (4, {"knn"}, {"random"})
    assert {name.split("-")[0] for name in here[0].begun} == {"frozen"}
    table = run(file, tmp_path / "out", only=("initialisation=random",))
    assert len(table) == 12
    whole = table_of(small_study)
    pd.testing.assert_frame_equal(
        table_of(tmp_path / "out"), whole[whole["initialisation"] == "random"].reset_index(drop=True)
    )


def test_a_deleted_record_or_pretraining_is_made_again(
    plan: Path, copied: Path, here: list[HereEngine], small_study: Path
) -> None:
    table = pd.read_parquet(copied / "results.parquet")
    made = table.loc[table["pretrain"] != "", "pretrain"].iloc[0]
    shutil.rmtree(copied / "pretrain" / made)
    (copied / "runs" / f"{table['run'][0]}.json").unlink()
    run(plan, copied)
    assert here[0].begun == [f"pretrain-{made}", f"finetune-{table['run'][0]}"]
    pd.testing.assert_frame_equal(table_of(copied), table_of(small_study))
    weights = f"pretrain/{made}/encoder.safetensors"
    assert (copied / weights).read_bytes() == (small_study / weights).read_bytes()


def test_a_damaged_record_stops_with_its_name_and_is_made_again_when_it_is_deleted(
    plan: Path, copied: Path, here: list[HereEngine], small_study: Path
) -> None:
    record = next(path for path in sorted((copied / "runs").glob("[!.]*")) if '"finetune"' in path.read_text())
    record.write_text(record.read_text()[:500])
    with pytest.raises(UserError, match=rf"{record.name}: is damaged"):
        run(plan, copied)
    record.unlink()
    run(plan, copied)
    pd.testing.assert_frame_equal(table_of(copied), table_of(small_study))


# What goes wrong


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Exception | None]]:
    """Pre-training seed 1 raises what stands under "pretrain", knn what stands under "knn"."""
    errors: dict[str, Exception | None] = {}
    pretrain, fit_knn = study_tasks.pretrain, frozen.fit_knn

    def failing_pretrain(stores: Any, out: Path, config: PretrainConfig) -> Path:
        if config.seed == 1 and (error := errors.get("pretrain")):
            raise error
        return pretrain(stores, out, config)

    def failing_knn(*arguments: Any) -> Any:
        if error := errors.get("knn"):
            raise error
        return fit_knn(*arguments)

    monkeypatch.setattr(study_tasks, "pretrain", failing_pretrain)
    monkeypatch.setattr(frozen, "fit_knn", failing_knn)
    return errors


def test_a_task_that_fails_is_recorded_and_the_others_go_on(
    breaking: dict[str, Exception | None], small_data: Path, small_study: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    file, out = write_plan(tmp_path / "plan.yaml", small_data, pools={}), tmp_path / "out"
    breaking["pretrain"] = UserError("the loss of step 2 is nan")
    table = run(file, out)
    assert len(table) == 12 + 6
    (failed,) = (out / "failed").glob("[!.]*")
    entry = read_json(failed)
    assert entry["error"] == "the loss of step 2 is nan"
    assert entry["task"] == "pre-training barlow_twins, seed 1"
    # Nothing was tried that would have needed it.
    assert table.loc[table["pretrain"] != "", "seed"].unique().tolist() == [0]
    assert len(here[0].begun) == 2 + 3 + 6

    run(file, out)
    assert len(here) == 1 or here[1].begun == []

    breaking["pretrain"] = None
    table = run(file, out, retry_failed=True)
    assert len(table) == 24
    assert list((out / "failed").glob("[!.]*")) == []
    whole = table_of(small_study)
    pd.testing.assert_frame_equal(table_of(out), whole[whole["pool"] == ""].reset_index(drop=True))


def test_an_error_that_is_nobodys_mistake_is_recorded_with_its_traceback(
    breaking: dict[str, Exception | None], small_data: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    file, out = write_plan(tmp_path / "plan.yaml", small_data, **FROZEN), tmp_path / "out"
    breaking["knn"] = ZeroDivisionError("by nought")
    run(file, out)
    entry = read_json(next((out / "failed").glob("[!.]*")))
    assert entry["error"] == "ZeroDivisionError: by nought"
    assert "failing_knn" in entry["trace"]
    assert len(entry["runs"]) == 4


def test_a_failure_is_said(
    breaking: dict[str, Exception | None], small_data: Path, here: list[HereEngine], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file, out = write_plan(tmp_path / "plan.yaml", small_data, **FROZEN), tmp_path / "out"
    breaking["knn"] = UserError("no neighbours")
    cli.main(["study", "run", str(file), "--out", str(out)])
    said = capsys.readouterr().err
    assert "warning: 4 classifiers on features of random (small), seed 0 failed: no neighbours" in said
    assert "8 of 8 runs are not there, 2 trainings failed; see failed/, and --retry-failed to try them again" in said


# What is refused


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one sentence with which `study run` ends."""

    def refuse(*words: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(["study", "run", *map(str, words)])
        assert stop.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sonolearn: ")]
        return line.removeprefix("sonolearn: ")

    return refuse


def test_a_store_that_changed_is_refused_by_its_fingerprint(
    copied: Path, small_data: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    data = Path(shutil.copytree(small_data, tmp_path / "data"))
    with h5py.File(data / "labelled" / "frames.h5", "a") as h5:
        h5.attrs["fingerprint"] = "another"
    before = read_json(copied / "study.json")["data"]["labelled store labelled"]
    answer = refused(write_plan(tmp_path / "plan.yaml", data), "--out", copied)
    assert answer == (
        f"{copied}: labelled store labelled has changed since this study began (fingerprint {before}, now "
        f"{Store(data / 'labelled').fingerprint}); its results would not compare: restore it, or give another --out"
    )


def test_a_study_of_another_version_is_refused(plan: Path, copied: Path, refused: Callable[..., str]) -> None:
    record = read_json(copied / "study.json")
    write_json(copied / "study.json", {**record, "version": 99})
    answer = refused(plan, "--out", copied)
    assert answer.startswith(f"{copied}: holds results of version 99 of studies, this sonolearn writes version 1; ")
    assert "give another --out" in answer


def test_a_folder_of_something_else_is_refused_and_left_alone(
    plan: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("precious")
    assert (
        refused(plan, "--out", tmp_path / "out") == f"{tmp_path / 'out'}: exists and is not a study; give another --out"
    )
    assert (tmp_path / "out" / "thesis.doc").read_text() == "precious"


def test_pretrainings_of_another_study_on_the_same_scans_are_taken(
    small_study: Path, small_data: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    labelled = write_store(tmp_path / "other", stills=3)
    data = {**PLAN["data"], "labelled": str(labelled), "unlabelled": [str(small_data / "scans")]}
    file = write_plan(tmp_path / "plan.yaml", data=data, modes={"knn": {"neighbours": 3}})
    (tmp_path / "out").mkdir()
    shutil.copytree(small_study / "pretrain", tmp_path / "out" / "pretrain")
    table = run(file, tmp_path / "out")
    assert len(table) == 12
    assert not [name for name in here[-1].begun if name.startswith("pretrain")]


def test_a_folder_whose_first_file_was_cut_off_is_taken_up(
    small_data: Path, here: list[HereEngine], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".study.json.123.tmp").write_text('{"version')
    assert len(run(write_plan(tmp_path / "plan.yaml", small_data, **FROZEN), tmp_path / "out")) == 8


@pytest.mark.parametrize("overlap", ["warn", "refuse"])
def test_a_test_patient_among_the_unlabelled_scans_is_named_or_refused(
    overlap: str,
    here: list[HereEngine],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    refused: Callable[..., str],
) -> None:
    write_store(tmp_path / "labelled")
    # The same patients' scans under the same key; of its 15 patients the last 7 are held out.
    (write_store(tmp_path / "scans") / "labels.csv").unlink()
    words = [str(write_plan(tmp_path / "plan.yaml", overlap=overlap)), "--out", str(tmp_path / "out")]
    names = ", ".join(f"P{number:02d}" for number in range(8, 15))
    sentence = (
        "scans: 7 patients of the validation and test parts of labelled have scans that SSL learns from "
        f"({names}); such a test flatters SSL"
    )
    if overlap == "refuse":
        assert refused(*words) == f"{sentence}; take their scans out of the store, or give overlap: warn in the plan"
        assert here == []
        return
    cli.main(["study", "run", *words, "--only", "initialisation=random", "mode=knn"])
    assert f"warning: {sentence}" in capsys.readouterr().err
    assert read_json(tmp_path / "out" / "warnings.json") == [sentence]


def test_weights_that_saw_a_test_patient_are_named(here: list[HereEngine], small_study: Path, tmp_path: Path) -> None:
    made = next((small_study / "pretrain").iterdir())
    shutil.copytree(made, tmp_path / "made", ignore=shutil.ignore_patterns(CHECKSUMS))
    store = write_store(tmp_path / "labelled")
    with h5py.File(store / "frames.h5") as h5:
        key = h5.attrs["key_id"]
    pd.DataFrame({"key_id": [key], "patient": ["P14"], "part": ["train"]}).to_csv(
        tmp_path / "made" / "patients.csv", index=False
    )
    start = {"ours": {"init": "made"}}
    file = write_plan(tmp_path / "plan.yaml", initialisations=start, **FROZEN)
    run(file, tmp_path / "out", only=("mode=knn",))
    (sentence,) = read_json(tmp_path / "out" / "warnings.json")
    assert "ours" in sentence
    assert "P14" in sentence
