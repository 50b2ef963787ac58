"""metrics.csv and TensorBoard of a pre-training run, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sonolearn.checksums import note
from sonolearn.runs import naming_disk_errors, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

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
