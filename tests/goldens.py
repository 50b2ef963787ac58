"""What every command gives for fixed input, as hashes: the proof that a refactoring changed no result.

    python tests/goldens.py write tests/goldens.json    # on the commit to compare with
    python tests/goldens.py check tests/goldens.json    # after the change, on the same machine

Run by hand, about one minute on one core. Only public commands are called; the few functions that no command shows
are found by their name, wherever they are defined. Floating-point sums differ between processors and library
versions, so compare on one machine; the file names the versions it was made with. Parts that need the real data of
../shared/data are skipped without it.
"""

# ruff: noqa: E402, T201 - threads are set before numpy is loaded; what is found is printed
from __future__ import annotations

import csv
import hashlib
import importlib
import inspect
import io
import json
import multiprocessing
import os
import pkgutil
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # sums in another order have other last digits

import h5py
import numpy as np
import torch
import yaml
from safetensors import safe_open

import sonolearn
from sonolearn import cli, config

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SONOLEARN_DATA", ROOT.parent / "shared" / "data"))
TRIAL_ROOMS = ("benchmarks.trials",)
TRIALS = (0, 2, 5, 11, 19, 23, 31, 42, 57, 66, 78, 83, 95, 104, 118, 127, 139, 151, 166, 188)
PLANS = ("demo", "cpu", "study")
METHODS = get_args(config.Method)
HEADS: dict[str, dict[str, Any]] = {
    "simclr": {"projector": (32, 16)}, "moco": {"projector": (32, 16), "queue": 40},
    "byol": {"projector": (32, 16), "predictor": (32, 16)}, "barlow_twins": {"projector": (32, 32)},
    "vicreg": {"projector": (32, 32)},
}  # fmt: skip
HERE: dict[str, Any] = {"workers": 0, "accelerator": "cpu", "precision": "32-true"}
REAL = (
    "dicom/IM00001.implicit_little_endian.dcm", "dicom/US-YBR_FULL_422-EVRLE.dcm", "dicom/US1_J2KI.dcm",
    "dicom/color-pl.dcm", "dicom/gdcm-US-ALOKA-16.dcm", "dicom/OBXXXX1A_rle_2frame.dcm",
    "lung_clips/Reg_pat1Image_132943.mpeg", "lung_clips/Cov_recommendations_likebutterfly_mov5.mov",
    "lung_clips/Pneu_emdocs_1.png", "screens/FEMUR.png", "screens/interson-image-annotation.jpg",
    "screens/clarius-ocular-short.mp4", "covid_blues/videos/patient_10_L1.mp4",
)  # fmt: skip

Goldens = dict[str, Any]


def goldens(work: Path) -> Iterator[tuple[str, Any]]:
    """All goldens, each with its name; `work` is an empty folder."""
    yield from interface()
    key = work / "key"
    key.mkdir()
    (key / "key").write_text("5a" * 32)
    labelled, scans = yield from phantom_stores(work, key)
    yield from trial_store(work, key)
    yield from real_stores(work, key)
    yield from pretrained(work, scans)
    yield from downstream(work, labelled, scans)
    yield from study_names(work, labelled, scans)


def interface() -> Iterator[tuple[str, Any]]:
    """Public names with their signatures, and the defaults of every command, recipe and method."""
    yield "public names", {name: _signature(getattr(sonolearn, name)) for name in sorted(sonolearn.__all__)}
    for command in cli.COMMANDS:
        if cli.COMMANDS[command].config is not None:
            yield f"config of {command}", printed_config(*command.split())
    for method in METHODS:
        for recipe in get_args(config.Recipe):
            if recipe != "paper" or method not in ("autoencoder", "inpainting"):  # which have no paper of their own
                words = ("pretrain", "--method", method, "--recipe", recipe)
                yield f"config of pretrain {method} {recipe}", digest(json.dumps(printed_config(*words)))
    for recipe in get_args(config.ClassifyRecipe):
        yield f"config of classify {recipe}", digest(json.dumps(printed_config("classify", "--recipe", recipe)))


def phantom_stores(work: Path, key: Path) -> Iterator[tuple[str, Any]]:
    """A phantom, and its labelled and unlabelled store, which are returned."""
    made = sonolearn.phantom(
        work / "phantom",
        config.PhantomConfig(
            patients=16, labelled=0.625, scans=1, frames=12, stills=10, size=128, doppler=0.3, workers=1, seed=3
        ),
    )
    yield "phantom files", files_of(made)
    options = config.PrepareConfig(size=64, frame_skip=2, patient_pattern=r"PH\d+", key=key, workers=1)
    yield from prepared("unlabelled", scans := work / "scans", [made / "scans"], None, options)
    yield from prepared("labelled", labelled := work / "labelled", [], made / "labels.csv", options)
    return labelled, scans


def trial_store(work: Path, key: Path) -> Iterator[tuple[str, Any]]:
    """Trials of many machines' screens, as files and as a store."""
    trials = _first_that_imports(TRIAL_ROOMS)
    for place, number in enumerate(TRIALS):
        shown = trials.trial(number, frames=3, height=240, width=320)
        trials.write_trial(shown, work / "trials", f"trial{number}", ("mp4", "dicom")[place % 2])
    yield "trial files", files_of(work / "trials", ".mp4", ".dcm")
    options = config.PrepareConfig(size=96, frame_skip=1, key=key, workers=1)
    yield from prepared("trials", work / "trial_store", [work / "trials"], None, options)


def real_stores(work: Path, key: Path) -> Iterator[tuple[str, Any]]:
    """A few real files of every kind, and a labelled store of stills."""
    if not DATA.is_dir():
        print(f"skipped: stores of real data, as there is no {DATA}", file=sys.__stderr__)
        return
    options = config.PrepareConfig(size=128, frame_skip=20, key=key, workers=1)
    yield from prepared("real", work / "real", [DATA / name for name in REAL], None, options)
    with (DATA / "hc18" / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::54]
    table = work / "hc18.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "image": str(DATA / "hc18" / row["image"])} for row in rows)
    columns = config.Columns(plane="trimester", patient="exam")
    options = config.PrepareConfig(size=128, columns=columns, key=key, workers=1)
    yield from prepared("hc18", work / "hc18", [], table, options)


def prepared(
    name: str, out: Path, paths: list[Path], labels: Path | None, options: config.PrepareConfig
) -> Iterator[tuple[str, Any]]:
    """Prepare a store, and give its arrays, tables and fingerprint."""
    sonolearn.prepare(paths, out, labels, options)
    with h5py.File(out / "frames.h5") as h5:
        for dataset in sorted(h5):
            yield f"store {name}: {dataset}", digest_of(h5[dataset][()])
        yield f"store {name}: attributes", {key: _plain(value) for key, value in sorted(h5.attrs.items())}
    for table in sorted(out.glob("*.csv")):
        yield f"store {name}: {table.name}", table_of(table)


def pretrained(work: Path, scans: Path) -> Iterator[tuple[str, Any]]:
    """The encoder of every method after a few steps, and of one run that was killed and went on."""
    for method in METHODS:
        run = sonolearn.pretrain(scans, work / method, pretraining(method, 4))
        yield f"encoder {method}", encoder_of(run)
        yield f"run {method}", json.loads((run / "run.json").read_text())["hash"]
    options = pretraining("moco", 40)
    whole = encoder_of(sonolearn.pretrain(scans, work / "whole", options))
    kill_at_first_checkpoint(lambda: sonolearn.pretrain(scans, work / "killed", options), work / "killed")
    resumed = encoder_of(sonolearn.pretrain(scans, work / "killed", options))
    if resumed != whole:
        raise SystemExit("a killed and resumed run has other weights than one that was never stopped")
    yield "encoder moco, killed and resumed", resumed
    nearby = sonolearn.recipe(
        "simclr", None, **_small("simclr"), max_steps=3, patients_per_batch=2, optimizer={"name": "adamw"},
        positives={"name": "nearby_frames"}, views={"name": "ultrasound"}, pool={"patients": 3, "frames": 12},
    )  # fmt: skip
    yield "encoder simclr of nearby frames", encoder_of(sonolearn.pretrain(scans, work / "nearby", nearby))


def pretraining(method: str, steps: int) -> config.PretrainConfig:
    """A method's recipe from the study, with the smallest encoder and heads."""
    return sonolearn.recipe(method, None, **_small(method), max_steps=steps)


def downstream(work: Path, labelled: Path, scans: Path) -> Iterator[tuple[str, Any]]:
    """Classifiers of every kind and their tables; features, suggestions and predictions."""
    small: dict[str, Any] = {
        "init": str(work / "barlow_twins"), "fractions": (0.5, 1.0), "seeds": 2, "epochs": 1, "min_steps": 4, **HERE
    }  # fmt: skip
    kinds: dict[str, dict[str, Any]] = {
        "finetune": {"batch_size": 8, "save_classifiers": True}, "linear": {}, "knn": {},
        "linear adamw": {"solver": "adamw"}, "finetune study": {"recipe": "study", "head": "random"},
    }  # fmt: skip
    for kind, own in kinds.items():
        out = work / f"classify {kind}"
        options = config.ClassifyConfig(**{**small, "mode": kind.split()[0], **own})
        sonolearn.classify(labelled, out, options)
        for file in ("results.csv", "predictions.csv"):
            yield f"classify {kind}: {file}", table_of(out / file)
        yield f"classify {kind}: run", json.loads((out / "run.json").read_text())["hash"]
    here: dict[str, Any] = {"init": str(work / "barlow_twins"), "accelerator": "cpu", "precision": "32-true"}
    features = sonolearn.embed([labelled], work / "features.npz", config.EmbedConfig(**here))
    with np.load(features) as stored:
        yield "embed", {name: digest_of(stored[name]) for name in sorted(stored.files)}
    sonolearn.suggest([scans], work / "suggested", config.SuggestConfig(count=5, **here))
    yield "suggest", table_of(work / "suggested" / "suggested.csv")
    classifier = sorted((work / "classify finetune" / "classifiers").glob("*.safetensors"))[0]
    options = config.PredictConfig(
        classifier=classifier, frame_skip=3, threads=1, key=work / "key", engine="torch", accelerator="cpu"
    )
    sonolearn.predict([work / "phantom" / "scans"], work / "predicted", options)
    for table in sorted((work / "predicted").glob("*.csv")):
        yield f"predict: {table.name}", table_of(table)


def study_names(work: Path, labelled: Path, scans: Path) -> Iterator[tuple[str, Any]]:
    """Names of all runs of the shipped plans on the phantom's stores."""
    here = config_of_study(labelled=labelled, unlabelled=(str(scans),))
    for plan in PLANS:
        grid = defined("open_grid")(defined("read_plan")(Path(plan), here), defined("StudyFolder")(work / plan))
        names = [f"{run.run} {run.columns}" for run in grid.downstream]
        yield (
            f"plan {plan}",
            {
                "pretrainings": digest("\n".join(f"{p.run} {p.name} {p.pool}" for p in grid.pretrainings)),
                "downstream": digest("\n".join(names)),
                "counts": [len(grid.pretrainings), len(grid.downstream)],
            },
        )


def config_of_study(**options: Any) -> Any:
    """Where a plan's stores are."""
    return defined("StudyDataConfig")(**options)


def defined(name: str) -> Any:
    """The function or class of this name that a module of the package defines, wherever that is."""
    for module in pkgutil.walk_packages(sonolearn.__path__, "sonolearn."):
        if module.name.endswith("__main__"):
            continue
        found = getattr(importlib.import_module(module.name), name, None)
        if getattr(found, "__module__", None) == module.name:
            return found
    raise SystemExit(f"sonolearn defines no {name}: say in tests/goldens.py what it is called now")


def kill_at_first_checkpoint(run: Callable[[], object], out: Path) -> None:
    """Start `run` in a process of its own and kill it as soon as it has written a checkpoint."""
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    while process.is_alive() and not (out / "checkpoint.pt").exists():
        time.sleep(0.001)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise SystemExit("the run to be killed had ended before: give it more steps")


def encoder_of(run: Path) -> dict[str, str]:
    """The weights of a run and what is written beside them."""
    hashed = hashlib.sha256()
    with safe_open(run / "encoder.safetensors", "pt") as file:
        for name in sorted(file.keys()):
            hashed.update(f"{name} {digest_of(file.get_tensor(name).numpy())}".encode())
        card = file.metadata()
    return {"weights": hashed.hexdigest()[:16], "card": digest(json.dumps(card, sort_keys=True))}


def printed_config(*words: str) -> Any:
    """What `sonolearn WORDS --print_config` prints."""
    printed, errors = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(errors):
            cli.main([*words, "--print_config"])
    except SystemExit as end:
        if end.code:
            raise SystemExit(f"sonolearn {' '.join(words)} --print_config: {errors.getvalue()}") from end
    return yaml.safe_load(printed.getvalue())


def table_of(file: Path) -> str:
    """Header and rows of a CSV table, without the seconds that a row took."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(opened)]
    return digest(json.dumps(rows))


def files_of(folder: Path, *endings: str) -> str:
    """Names and contents of all files in a folder."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    named = [f"{f.relative_to(folder)} {digest(f.read_bytes())}" for f in files if not endings or f.suffix in endings]
    return digest("\n".join(named))


def digest_of(array: np.ndarray) -> str:
    """Type, shape and values of an array."""
    values = "\n".join(map(str, array.ravel())) if array.dtype == object else np.ascontiguousarray(array).tobytes()
    return digest(f"{array.dtype} {array.shape}".encode() + (values.encode() if isinstance(values, str) else values))


def digest(content: str | bytes) -> str:
    """The first 16 hex digits of the SHA-256."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def machine() -> dict[str, str]:
    """What last digits depend on."""
    libraries = ("torch", "numpy", "opencv-python-headless", "av", "scikit-learn", "timm")
    return {"processor": platform.machine(), "python": platform.python_version(), **{n: version(n) for n in libraries}}


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A line for each golden that is missing, new or different."""
    for name in sorted({*wanted, *found}):
        if name not in found or name not in wanted:
            yield f"{prefix}{name}: {'missing' if name in wanted else 'new'}"
        elif isinstance(wanted[name], dict) and isinstance(found[name], dict):
            yield from differences(wanted[name], found[name], f"{prefix}{name}: ")
        elif wanted[name] != found[name]:
            yield f"{prefix}{name}: was {wanted[name]}, is {found[name]}"


def main(action: str, file: Path) -> int:
    """Write the goldens into a file, or compare with it; the exit code is 1 where any differs."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    found: Goldens = {"machine": machine()}
    with tempfile.TemporaryDirectory() as work:
        started = time.process_time()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for name, value in goldens(Path(work)):
                found[name] = json.loads(json.dumps(value))
                print(f"{time.process_time() - started:6.1f} s  {name}", file=sys.__stderr__)
    if action == "write":
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
        file.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        return 0
    lines = list(differences(json.loads(file.read_text(encoding="utf-8")), found))
    print("\n".join(lines) or f"all {len(found)} goldens are equal")
    return int(bool(lines))


def _small(method: str) -> dict[str, Any]:
    head = {method: HEADS[method]} if method in HEADS else {}
    return {
        "encoder": "test_resnet", "image_size": 32, "batch_size": 8, "log_every": 1, "epochs": 1000, "valid_every": 2,
        "valid_patients": 0.2, "checkpoint_minutes": 1e-6, **HERE, **head,
    }  # fmt: skip


def _first_that_imports(names: tuple[str, ...]) -> Any:
    sys.path.insert(0, str(ROOT))
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise SystemExit(f"none of {', '.join(names)} is there: say in tests/goldens.py where trials are now")


def _signature(value: Any) -> str:
    return str(inspect.signature(value)) if callable(value) else "value"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return digest(str(value)) if isinstance(value, bytes) or len(str(value)) > 80 else value


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        raise SystemExit("usage: python tests/goldens.py write|check FILE")
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
