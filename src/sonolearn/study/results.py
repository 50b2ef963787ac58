"""The tables of a study: a row a downstream run, and every prediction; and all that its page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.checksums import intact
from sonolearn.console import UserError
from sonolearn.planes.images import describe_store
from sonolearn.runs import read_json, write_json, writing
from sonolearn.ssl.run_folder import SUMMARY, is_finished
from sonolearn.statistics.analysis import BASELINES
from sonolearn.store.store import Store
from sonolearn.study.folder import StudyFolder, read_record
from sonolearn.study.grid import COLUMNS
from sonolearn.study.read import ClassifyRun, PretrainRun, read_run
from sonolearn.study.schedule import read_times

DATA, IMAGES, PREDICTIONS, WARNINGS = "data.json", "images.csv", "predictions.parquet", "warnings.json"

RESULTS = (
    "run", *COLUMNS, "pool_patients", "pool_scans", "pool_frames", "start", "pretrain", "pretrain_seed",
    "macro_f1", "balanced_accuracy", "accuracy", "best_epoch", "regularisation", "valid_balanced_accuracy",
    "train_images", "train_patients", "valid_images", "valid_patients", "test_images", "test_patients",
    "seconds", "data_hash", "config_hash", "sonolearn",
)  # fmt: skip


def write_results(folder: StudyFolder) -> pd.DataFrame:
    """Write results.parquet, results.csv and predictions.parquet from the records of all planned runs.

    Returns:
        results.parquet, in the order of the plan.
    """
    planned = read_planned(folder)
    there = folder.finished_runs()
    records = [read_record(folder, run) for run in planned["run"] if run in there]
    summaries = _summaries(folder, {record["pretrain"] for record in records} - {""})
    results = _results(records, summaries)
    with writing(folder.out / "results.parquet") as temporary:
        results.to_parquet(temporary, index=False)
    with writing(folder.out / "results.csv") as temporary:
        results.to_csv(temporary, index=False)
    with writing(folder.out / PREDICTIONS) as temporary:
        planes = tuple(read_json(folder.out / DATA)["planes"])
        _predictions(records, read_images(folder), planes).to_parquet(temporary, index=False)
    return results


def read_planned(folder: StudyFolder) -> pd.DataFrame:
    """planned.csv: hash and columns of every run of the plan."""
    path = folder.out / "planned.csv"
    if not path.is_file():
        raise UserError(f"{folder.out}: has no {path.name}; start it with `sonolearn study run`")
    text = {"run": str, "initialisation": str, "encoder": str, "pool": str, "mode": str}
    return pd.read_csv(intact(path), dtype=text, keep_default_na=False)


def _summaries(folder: StudyFolder, runs: set[str]) -> dict[str, dict[str, Any]]:
    """summary.json of each pre-training that is there."""
    found = {run: folder.pretraining(run) for run in sorted(runs)}
    return {run: read_json(path / SUMMARY) for run, path in found.items() if is_finished(path)}


def _results(records: list[dict[str, Any]], summaries: dict[str, dict[str, Any]]) -> pd.DataFrame:
    rows = []
    for record in records:
        made = summaries.get(record["pretrain"], {})
        data = {f"pool_{what}": made.get(what) for what in ("patients", "scans", "frames")}
        rows.append({**record, **data})
    table = pd.DataFrame(rows, columns=list(RESULTS))
    whole = ("pool_patients", "pool_scans", "pool_frames", "pretrain_seed")
    return table.astype(dict.fromkeys(whole, "Int64") | {"regularisation": "Float64", "fraction": float})


def _predictions(records: list[dict[str, Any]], images: pd.DataFrame, planes: tuple[str, ...]) -> pd.DataFrame:
    """A row a run and test image: row of the store, patient, true and predicted plane, a probability a plane."""
    count, runs = len(images), [record["run"] for record in records]
    probabilities = np.concatenate([record["probabilities"] for record in records] or [np.empty((0, len(planes)))])
    predicted = np.concatenate([record["predicted"] for record in records] or [np.empty(0, np.uint8)])
    columns: dict[str, Any] = {
        "run": _categories(np.repeat(np.arange(len(runs)), count), runs),
        "row": np.tile(images["row"].to_numpy(), len(runs)),
        "patient": pd.Categorical(np.tile(images["patient"].to_numpy(object), len(runs))),
        "plane": pd.Categorical(np.tile(images["plane"].to_numpy(object), len(runs)), categories=planes),
        "predicted": _categories(predicted, planes),
    }
    return pd.DataFrame(columns | {f"p_{plane}": probabilities[:, i] for i, plane in enumerate(planes)})


def _categories(codes: NDArray[Any], names: Sequence[str]) -> Any:
    """Few different words, many times over."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names), dtype=object))


def write_data(folder: StudyFolder, labelled: Store) -> None:
    """Write data.json (the labelled store in numbers) and images.csv (its test images)."""
    labels = labelled.labels
    assert labels is not None  # the study has checked it
    write_json(folder.out / DATA, describe_store(labelled, labels))
    test = labels.loc[labels["split"] == "test", ["row", "plane", "patient", "machine"]]
    with writing(folder.out / IMAGES) as temporary:
        test.to_csv(temporary, index=False)


@dataclass(frozen=True)
class StudyResults:
    """All that a page is made of: the results of a study, or of runs of `pretrain` and `classify`.

    Attributes:
        title: of the plan.
        store: data.json, the labelled store in numbers; empty where `runs` is.
        planes: the classes.
        runs: results.parquet, a row a downstream run.
        predictions: predictions.parquet, a row a run and test image.
        images: the test images: row, plane, patient, machine.
        warnings: sentences on what to know before the figures are believed, such as shared patients.
        plan: the plan as given, plain; empty without one.
        pretrained: the pre-trainings by hash.
        embeddings: (n, F) features of the test images by an initialisation, of the first seed.
        cams: PNG of a Grad-CAM sheet by initialisation.
        failures: columns task and error.
        missing: planned runs that are not there.
        machine: that began the study.
        seconds: of all trainings together.
        wall_seconds: that runners worked.
        baselines: initialisations that gains are told over.
        sources: the runs of `pretrain` and `classify` that it was read from; empty for a study.
    """

    title: str
    store: dict[str, Any]
    planes: tuple[str, ...]
    runs: pd.DataFrame
    predictions: pd.DataFrame
    images: pd.DataFrame
    warnings: list[str]
    plan: dict[str, Any] = field(default_factory=dict)
    pretrained: dict[str, PretrainRun] = field(default_factory=dict)
    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    cams: dict[str, bytes] = field(default_factory=dict)
    failures: pd.DataFrame = field(default_factory=pd.DataFrame)
    missing: int = 0
    machine: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    wall_seconds: float = 0.0
    baselines: tuple[str, ...] = BASELINES
    sources: Sequence[PretrainRun | ClassifyRun] = ()


def read_results(folder: StudyFolder) -> StudyResults:
    """Read a study that has run, whole or in part; its tables are written anew first.

    Raises:
        UserError: no study, one of another version, or one without a finished run.
    """
    record = folder.read()
    runs = write_results(folder)
    if runs.empty:
        raise UserError(f"{folder.out}: no run is finished yet; `sonolearn study run` goes on with it")
    planned, failures = read_planned(folder), folder.failures()
    seconds, wall = read_times(folder)
    return StudyResults(
        title=record["plan"]["title"],
        plan=record["plan"],
        store=read_json(folder.out / DATA),
        planes=tuple(read_json(folder.out / DATA)["planes"]),
        runs=runs,
        predictions=pd.read_parquet(folder.out / PREDICTIONS),
        images=read_images(folder),
        pretrained=_pretrained(folder, runs),
        embeddings=_embeddings(folder, runs),
        cams=_cams(folder, runs),
        failures=pd.DataFrame([(f["task"], f["error"]) for f in failures.values()], columns=["task", "error"]),
        missing=len(planned) - len(runs),
        warnings=read_json(folder.out / WARNINGS),
        machine=record["machine"],
        seconds=seconds,
        wall_seconds=wall,
    )


def read_images(folder: StudyFolder) -> pd.DataFrame:
    """images.csv."""
    text = dict.fromkeys(("plane", "patient", "machine"), str)
    return pd.read_csv(intact(folder.out / IMAGES), dtype=text, keep_default_na=False)


def _pretrained(folder: StudyFolder, runs: pd.DataFrame) -> dict[str, PretrainRun]:
    found = {}
    for run in dict.fromkeys(runs["pretrain"]):
        if run and is_finished(folder.pretraining(run)):
            read = read_run(folder.pretraining(run))
            if isinstance(read, PretrainRun):
                found[run] = read
    return found


def _embeddings(folder: StudyFolder, runs: pd.DataFrame) -> dict[str, NDArray[np.float32]]:
    """Features by the initialisations of the main comparison."""
    found = {}
    for label, start in _first_starts(runs).items():
        path = folder.features(start)
        if path.is_file():
            with np.load(intact(path)) as file:
                found[label] = file["features"].astype(np.float32)
    return found


def _cams(folder: StudyFolder, runs: pd.DataFrame) -> dict[str, bytes]:
    fine = runs[(runs["mode"] == "finetune") & (runs["pool"] == "")]
    # One run of each initialisation has a sheet.
    sheets = [(_label(row), folder.cam(str(row["run"]))) for _, row in fine.iterrows()]
    return {label: intact(path).read_bytes() for label, path in sheets if path.is_file()}


def _first_starts(runs: pd.DataFrame) -> dict[str, str]:
    """Key of the first seed's weights of each initialisation."""
    first = runs[(runs["pool"] == "") & runs["pretrain_seed"].isin([0, pd.NA])]
    return {_label(row): str(row["start"]) for _, row in first.iterrows()}


def _label(row: pd.Series[Any]) -> str:
    return f"{row['initialisation']} ({row['encoder']})"
