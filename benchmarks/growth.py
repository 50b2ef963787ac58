"""Cost as work grows: ten times the frames, scans, stills or runs, against ten times the cost of one.

    python -m benchmarks.growth [--quick]

Each row holds the cost of ten times as much against ten times the cost of once; both are measured in turns. At most 1.1
means that cost grows no faster than work; less than 1 means that part of it is paid once, whatever the size. Rows of
memory hold the peak of the larger work against that of the smaller one: in a fresh process for `prepare` (Linux), by
tracemalloc for the tables of a store, where ten times as much is what there is to hold.

Stores of many frames are made up (16 px, 100 frames a scan), and so are the records of finished runs; nothing is
trained. Seconds are processor time of one process.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import h5py
import numpy as np
import pandas as pd

from benchmarks.figure import Row, cost, in_turns, run_script
from benchmarks.prepare import FPS, lengthened, prepared, rendered, single_threaded
from benchmarks.study_runner import write_plan
from sonolearn.checksums import checksum_of
from sonolearn.cleaning.similar import near_pairs
from sonolearn.config import PoolConfig, PretrainConfig
from sonolearn.runs import write_json, write_text
from sonolearn.ssl.batches import Plan, make_plan
from sonolearn.ssl.frames import draw_pool, training_frames
from sonolearn.ssl.run_folder import MetricsLog
from sonolearn.store.store import FORMAT, VERSION, Store
from sonolearn.study.folder import VERSION as STUDY_VERSION
from sonolearn.study.folder import StudyFolder
from sonolearn.study.plan import read_plan
from sonolearn.study.results import read_results
from sonolearn.study.run import open_grid
from sonolearn.study.schedule import missing_tasks

PHANTOM = {
    "phantom": {"patients": 6, "labelled": 0.5, "scans": 1, "frames": 4, "stills": 5, "size": 96, "workers": 1},
    "prepare": {"size": 32, "frame_skip": 1, "patient_pattern": r"PH\d+", "workers": 1},
}
TEN = 10
LINEAR = 1.1
PLANES = ("3VV", "4CH", "ABDO", "LVOT", "RVOT")
IMAGES = 200


def rows(quick: bool) -> Iterator[Row]:
    """Scans, then stores, then studies."""
    with tempfile.TemporaryDirectory() as name, single_threaded():
        folder = Path(name)
        yield from recordings(folder / "long", quick)
        yield from many_stills(folder / "stills", quick)
        yield from larger_store(folder / "stores", 1_000 if quick else 30_000)
        yield metrics(folder / "metrics", 20 if quick else 500)
        yield from planning(folder / "plans", quick)
        yield results(folder / "results", 5 if quick else 100)


def tenfold(figure: str, unit: str, count: int, do: Callable[[int], object], repeats: int) -> Row:
    """A row of time: what `do(10 * count)` takes against ten times `do(count)`."""
    times = in_turns({"once": lambda: do(count), "ten": lambda: do(TEN * count)}, repeats, time.process_time)
    return cost(f"{figure}: {TEN * count:,} {unit}", times["ten"], f"10 times {count:,}", TEN * times["once"], LINEAR)


def memory(figure: str, larger: float, against: str, smaller: float, target: float | None) -> Row:
    """A row of two peaks in MB."""
    return Row(figure, f"{larger:,.1f} MB", f"{against}: {smaller:,.1f} MB", larger / smaller, "at most", target)


def recordings(folder: Path, quick: bool) -> Iterator[Row]:
    """One recording that is ten times as long: time, and the most memory a process takes."""
    folder.mkdir()
    clip = rendered(0, folder, quick)
    frames = 30 if quick else 300
    of = {n: [lengthened(clip, folder / f"{n}-frames.mp4", n)] for n in (frames, TEN * frames)}
    yield tenfold(
        "prepare, one recording", "frames", frames, lambda n: prepared(of[n], folder / "out"), 1 if quick else 3
    )
    if sys.platform != "linux":
        return
    short, long = (20, 40) if quick else (60 * FPS, TEN * 60 * FPS)
    peaks = [fresh_peak(lengthened(clip, folder / "minutes.mp4", n), folder) for n in (long, short)]
    yield memory(f"prepare, peak memory: a recording of {long:,} frames", peaks[0], f"{short:,}", peaks[1], LINEAR)


def fresh_peak(clip: Path, folder: Path) -> float:
    """Peak memory in MB of a new process that prepares a recording, without torch, which `prepare` does not import."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    words = [sys.executable, "-c", PEAK, str(clip), str(folder / "out")]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


# Not getrusage: its figure starts with that of the process that started this one.
PEAK = """
import sys
from pathlib import Path
import cv2
from sonolearn.config import PrepareConfig
from sonolearn.store.prepare import prepare
cv2.setNumThreads(1)
prepare([Path(sys.argv[1])], Path(sys.argv[2]), None, PrepareConfig(workers=1))
lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)
"""


def many_stills(folder: Path, quick: bool) -> Iterator[Row]:
    """Ten times as many scans, each a still of its own; and comparing many more with each other, which is exact and so
    grows with the square, against preparing them.
    """
    count, many = (1, 500) if quick else (10, 20_000)
    files = [a_still(folder / f"of-{number:03d}" / "still.png", number) for number in range(TEN * count)]
    times = in_turns(
        {str(n): partial(prepared, files[:n], folder / "out") for n in (count, TEN * count)}, 1 if quick else 2,
        time.process_time, warm_up=0 if quick else 1,
    )  # fmt: skip
    one, ten = times[str(count)], times[str(TEN * count)]
    yield cost(f"prepare: {TEN * count} stills", ten, f"10 times {count}", TEN * one, LINEAR)
    prints = np.random.default_rng(0).integers(0, 2**63, (many, 4)).astype(np.uint64)
    compared = in_turns({"all": lambda: near_pairs(prints)}, 1, time.process_time, warm_up=0)["all"]
    each = ten / (TEN * count)
    yield cost(f"comparing {many:,} stills for copies", compared, f"preparing {many:,}", many * each, 0.1)


def a_still(path: Path, seed: int) -> Path:
    """A PNG with a box of speckle."""
    grey = np.zeros((240, 320), np.uint8)
    grain = cv2.GaussianBlur(np.random.default_rng(seed).rayleigh(1, (200, 240)), (0, 0), 1.5)
    grey[20:220, 40:280] = np.clip(70 * grain**2 - 20, 15, 230)
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), grey)
    return path


def larger_store(folder: Path, count: int) -> Iterator[Row]:
    """A store with ten times the frames: opened, its pool drawn and its first batch planned."""
    stores = {n: made_up_store(folder / str(n), n) for n in (count, TEN * count)}
    for name, patients in (("frames", None), ("patients", 8)):
        config = PretrainConfig(batch_size=64, patients_per_batch=patients)
        do = partial(planned, stores, config)
        yield tenfold(f"opening a store, drawing a pool and a batch by {name}", "frames", count, do, 3)
    peaks = [traced(lambda n=n: planned(stores, PretrainConfig(batch_size=64), n)) for n in (TEN * count, count)]  # type: ignore[misc]
    yield memory(
        f"memory of an open store and its pool: {TEN * count:,} frames",
        peaks[0],
        f"10 times {count:,}",
        TEN * peaks[1],
        LINEAR,
    )


def planned(stores: dict[int, Path], config: PretrainConfig, count: int) -> Plan:
    """What `pretrain` does before its first step, but for its network."""
    pool = draw_pool(training_frames([Store(stores[count])]), PoolConfig())
    plan = make_plan(pool, config, 1)
    plan.batch(0)
    return plan


def made_up_store(folder: Path, count: int, side: int = 16, scan: int = 100) -> Path:
    """A store of empty frames, a scan a patient."""
    folder.mkdir(parents=True)
    scans = count // scan
    with h5py.File(folder / "frames.h5", "w") as h5:
        h5.attrs.update({"format": FORMAT, "version": VERSION, "size": side, "key_id": "key", "fingerprint": "none"})
        frames = h5.create_dataset("frames", (count, side, side), np.uint8, chunks=(1, side, side))
        for row in range(count):
            frames.id.write_direct_chunk((row, 0, 0), bytes(side * side))
        h5["scan"] = np.repeat(np.arange(scans, dtype=np.int32), scan)
        h5["index"] = np.tile(np.arange(scan, dtype=np.int32), scans)
        h5["time"] = np.tile(np.arange(scan, dtype=np.float32) / 10, scans)
        h5["checksum"] = np.full(count, checksum_of(bytes(side * side)), np.uint64)
    table = {"scan": [f"S-{n:08d}" for n in range(scans)], "patient": [f"P-{n:08d}" for n in range(scans)]}
    pd.DataFrame(table | {"machine": "", "first": np.arange(scans) * scan, "frames": scan}).to_csv(
        folder / "scans.csv", index=False
    )
    return folder


def traced(do: Callable[[], object]) -> float:
    """Peak in MB of what Python and numpy allocate."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def metrics(folder: Path, count: int) -> Row:
    """Writing the figures of a run, and taking them up again."""

    def log(rows: int) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            for resumed in (0, rows):
                opened = MetricsLog(Path(name), ["step", "part", "loss"], resumed)
                for step in range(resumed + 1, resumed + rows + 1):
                    opened.add({"step": step, "part": "train", "loss": 1 / step})
                opened.close()

    folder.mkdir()
    return tenfold("metrics of a run, written and taken up", "rows", count, log, 3)


def planning(folder: Path, quick: bool) -> Iterator[Row]:
    """A plan with ten times the runs: read, listed, hashed; and found finished again."""
    data, seeds, repeats = StudyFolder(folder / "data"), 1 if quick else 4, 1 if quick else 3
    plans = {
        n: write_plan(folder, f"seeds-{n}", seeds=n, initialisations={"random": {}}, data=PHANTOM)
        for n in (seeds, TEN * seeds)
    }
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        grids = {n: open_grid(read_plan(file), data) for n, file in plans.items()}  # makes the phantom
    runs = {n: grid.downstream for n, grid in grids.items()}
    count, ten = len(runs[seeds]), len(runs[TEN * seeds])
    times = in_turns({str(n): partial(listed, plans[n], data) for n in plans}, repeats, time.process_time)
    figure, against = f"study, read a plan, list and hash {ten:,} runs", f"10 times {count:,}"
    yield cost(figure, times[str(TEN * seeds)], against, TEN * times[str(seeds)], LINEAR)
    for n, found in runs.items():
        (folder / f"out-{n}" / "runs").mkdir(parents=True)
        for run in found:
            StudyFolder(folder / f"out-{n}").run(run.run).touch()
    times = in_turns(
        {str(n): partial(missing_tasks, grids[n], StudyFolder(folder / f"out-{n}"), runs[n]) for n in plans},
        repeats, time.process_time,
    )  # fmt: skip
    yield cost(f"study, find {ten:,} runs finished", times[str(TEN * seeds)], against, TEN * times[str(seeds)], LINEAR)


def listed(plan: Path, data: StudyFolder) -> int:
    """How many runs a plan has."""
    return len(open_grid(read_plan(plan), data).downstream)


def results(folder: Path, count: int) -> Row:
    """Reading all results of a study, whose tables are made anew."""
    folders = {n: made_up_study(folder / str(n), n) for n in (count, TEN * count)}
    return tenfold("study, read the results of", "runs", count, lambda n: read_results(folders[n]), 3)


def made_up_study(out: Path, count: int) -> StudyFolder:
    """The folder of a study whose runs are finished: records with random predictions of 200 images."""
    folder, random = StudyFolder(out), np.random.default_rng(0)
    folder.claim({"title": "made up"}, {})
    write_json(out / "data.json", {"planes": list(PLANES)})
    write_json(out / "warnings.json", [])
    images = {"row": range(IMAGES), "plane": [PLANES[n % 5] for n in range(IMAGES)], "patient": "P-1", "machine": ""}
    pd.DataFrame(images).to_csv(out / "images.csv", index=False)
    names = {"encoder": "small", "pool": "", "mode": "frozen", "initialisation": "random"}
    planned = [{"run": f"{n:012d}", **names, "fraction": 1.0, "seed": n} for n in range(count)]
    pd.DataFrame(planned).to_csv(out / "planned.csv", index=False)
    (out / "runs").mkdir()
    for run in planned:
        chances = random.dirichlet(np.ones(5), IMAGES)
        record = {
            "version": STUDY_VERSION, **run, "start": "none", "pretrain": "", "pretrain_seed": 0, "macro_f1": 0.5,
            "predicted": packed(chances.argmax(1).astype(np.uint8)), "probabilities": packed(chances.astype("<f2")),
        }  # fmt: skip
        write_text(folder.run(str(run["run"])), json.dumps(record))
    return folder


def packed(values: np.ndarray) -> str:
    """As records hold them."""
    return base64.b64encode(values.tobytes()).decode()


if __name__ == "__main__":
    run_script(rows, __doc__)
