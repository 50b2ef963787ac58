"""What a finished pre-training leaves behind: the encoder, the patients behind it, and a summary."""

from __future__ import annotations

import csv
import io
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from sonolearn.checksums import intact, note
from sonolearn.config import PoolConfig, PretrainConfig
from sonolearn.console import UserError, say
from sonolearn.runs import machine, naming_disk_errors, plain, write_json, write_text, writing
from sonolearn.ssl.encoders import ENCODER_FILE, Card, save_encoder
from sonolearn.ssl.frames import FramePool
from sonolearn.ssl.monitors import has_collapsed
from sonolearn.store.store import Rows, Store
from sonolearn.version import __version__

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


CHECKPOINT = "checkpoint.pt"


def save_checkpoint(folder: Path, fabric: Fabric, model: nn.Module, optimizer: Optimizer, step: int) -> None:
    """Write weights, buffers, optimiser, gradient scaler and step; the first process writes, all hold the same.

    No random state is needed: every draw is seeded by what it is for.
    """
    if not fabric.is_global_zero:
        return
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "precision": fabric.strategy.precision.state_dict(),
    }
    # Into an opened file: torch's own writer does not say that a disk is full.
    with writing(folder / CHECKPOINT) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def load_checkpoint(folder: Path, fabric: Fabric, model: nn.Module, optimizer: Optimizer) -> int:
    """Take up the checkpoint of a run folder; the number of steps done, 0 where there is none."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state: dict[str, Any] = torch.load(intact(path), map_location=fabric.device, weights_only=True)
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: is damaged ({error}); delete it to start the run anew") from error
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    fabric.strategy.precision.load_state_dict(state["precision"])
    step = int(state["step"])
    if fabric.is_global_zero:
        say(f"{folder}: goes on after step {step}")
    return step


class StopRequest:
    """While open, Ctrl-C and SIGTERM (SLURM's warning) only ask to stop, so that the step at hand is finished.

    A second Ctrl-C stops at once. A second SIGTERM changes nothing: SLURM sends one to every process of a job, and the
    runner of a study another one to its workers.
    """

    def __init__(self) -> None:
        """Nothing asked for yet."""
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        """Take over the signals; outside the main thread (a notebook's kernel, a server) they are left alone."""
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:
                break
        return self

    def __exit__(self, *error: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def agreed(self, fabric: Fabric) -> bool:
        """Whether any process was asked to stop; with several processes all must call this at the same step."""
        if fabric.world_size == 1:
            return self.asked
        votes = fabric.all_reduce(torch.tensor(float(self.asked), device=fabric.device), reduce_op="sum")
        return bool(torch.as_tensor(votes) > 0)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


METRICS_FILE = "metrics.csv"
BOARD = "tensorboard"

Row = Mapping[str, float | int | str]


class MetricsLog:
    """Appends rows of figures; rows after the step that a run resumes from are dropped, as they will come again."""

    def __init__(self, folder: Path, columns: Sequence[str], resumed_step: int) -> None:
        """Open the log of a run folder at `resumed_step` (0 for a new run); rows may leave out some of `columns`."""
        self.path, self.columns = folder / METRICS_FILE, list(columns)
        # A run that has no checkpoint yet starts with its first row anew.
        kept = [row for row in _read(self.path) if int(row["step"]) <= resumed_step] if resumed_step else []
        write_text(self.path, _as_csv([_header(self.columns), *kept], self.columns))
        self.board = _tensorboard(folder, resumed_step)

    def add(self, row: Row) -> None:
        """Append one row."""
        with naming_disk_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_as_csv([row], self.columns))
        for name, value in row.items():
            if isinstance(value, float):
                self.board.add_scalar(f"{row['part']}/{name}", value, int(row["step"]))

    def close(self) -> None:
        """Write what TensorBoard still holds, and note the checksum of the rows."""
        self.board.close()
        with naming_disk_errors(self.path):
            note(self.path)
        _drop_host_names(self.path.parent / BOARD)


def _header(columns: list[str]) -> Row:
    return dict(zip(columns, columns, strict=True))


def _tensorboard(folder: Path, resumed_step: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    _drop_host_names(folder / BOARD)
    return SummaryWriter(folder / BOARD, purge_step=resumed_step + 1)


def _drop_host_names(board: Path) -> None:
    """TensorBoard puts the computer's name into the names of its files, and runs are for sharing."""
    for file in board.glob("events.out.tfevents.*"):
        seconds, *_, process, number = file.name.split(".")[3:]
        file.replace(file.with_name(f"events.out.tfevents.{seconds}.{process}.{number}"))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        # A line cut short by a kill is dropped: it belongs to a step that will come again.
        return [row for row in csv.DictReader(file) if row.get("step", "").isdigit() and None not in row.values()]


def _as_csv(rows: Sequence[Row], columns: list[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    return text.getvalue()


SUMMARY = "summary.json"
PATIENTS = "patients.csv"


def is_finished(folder: Path) -> bool:
    """Whether the run in `folder` has ended; its summary is written last."""
    return (folder / SUMMARY).exists()


def has_encoder(folder: Path) -> bool:
    """Whether the run in `folder` has ended and its encoder is still there; figures and tables need none."""
    return is_finished(folder) and (folder / ENCODER_FILE).exists()


def write_results(
    folder: Path, encoder: nn.Module, card: Card, config: PretrainConfig, pools: tuple[FramePool, FramePool],
    steps: int, seconds: float, device: str, monitors: dict[str, float],
) -> None:  # fmt: skip
    """Write encoder.safetensors, patients.csv and summary.json, and drop the checkpoint."""
    save_encoder(folder / ENCODER_FILE, encoder, card)
    with writing(folder / PATIENTS) as temporary:
        _patients(pools).to_csv(temporary, index=False)
    summary = {
        "method": config.method, "recipe": config.recipe, "views": config.views.name,
        "positives": config.positives.name, "encoder": card.encoder, "init": Path(config.init).name,
        "seed": config.seed,
        "image_size": config.image_size, "batch_size": config.batch_size,
        "patients_per_batch": config.patients_per_batch, "pool": _not_default(config.pool), "steps": steps,
        "epochs": round(steps * config.batch_size / len(pools[0]), 1),
        "seconds": round(seconds, 1), "device": device, "machine": machine(), "sonolearn": __version__,
        "frames": len(pools[0]), "patients": len(pools[0].patients), "scans": sum(_scans(pool) for pool in pools[:1]),
        "valid_frames": len(pools[1]), "valid_patients": len(pools[1].patients),
        "machines": _machines(pools[0]),
        "monitors": {name: round(value, 6) for name, value in monitors.items() if not math.isnan(value)},
        "collapsed": has_collapsed(monitors),
        "stores": [
            {"name": s.path.name, "fingerprint": s.fingerprint, "frames": len(s), "scans": len(s.scans),
             "patients": int(s.scans["patient"].nunique())} for s in pools[0].stores
        ],
    }  # fmt: skip
    write_json(folder / SUMMARY, summary)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _not_default(config: PoolConfig) -> dict[str, int]:
    default = plain(PoolConfig())
    return {name: value for name, value in plain(config).items() if value != default[name]}


def _patients(pools: tuple[FramePool, FramePool]) -> pd.DataFrame:
    """Columns key_id, patient, part: who was seen, so that an overlap with a test part can be told later."""
    tables = []
    for pool, part in zip(pools, ("train", "valid"), strict=True):
        keys = [pool.stores[i].key_id for i in pool.store_of_frame]
        tables.append(pd.DataFrame({"key_id": keys, "patient": pool.patient_of_frame, "part": part}).drop_duplicates())
    return pd.concat(tables).sort_values(["key_id", "patient"])


def _scans(pool: FramePool) -> int:
    return sum(len(set(store.scan_of_frame[rows])) for store, rows in _rows_by_store(pool))


def _machines(pool: FramePool) -> list[str]:
    names: set[str] = set()
    for store, rows in _rows_by_store(pool):
        names.update(store.scans["machine"].iloc[sorted(set(store.scan_of_frame[rows]))])
    return sorted(names - {""})


def _rows_by_store(pool: FramePool) -> list[tuple[Store, Rows]]:
    return [(store, pool.row_of_frame[pool.store_of_frame == i]) for i, store in enumerate(pool.stores)]
