"""timings.csv: a row a task of a study: in which session it ran, how it ended, when it began and how long it took."""

from __future__ import annotations

import csv
import io

import pandas as pd

from sonolearn.runs import write_text
from sonolearn.study.engines.engine import Ended
from sonolearn.study.folder import StudyFolder

COLUMNS = ("session", "workers", "task", "outcome", "start", "seconds")


class Timings:
    """The rows of one session, which begins now."""

    def __init__(self, folder: StudyFolder, workers: int, now: float) -> None:
        """Begin a session.

        Args:
            folder: of the study.
            workers: tasks at a time.
            now: seconds of any clock; the session counts from here.
        """
        self.path, self.workers, self.began = folder.timings, workers, now
        before = read_timings(folder)
        self.session = 1 if before.empty else int(before["session"].max()) + 1
        # A row that a kill or a full disk cut short would spoil the next one.
        write_text(self.path, before.to_csv(index=False, lineterminator="\n"))

    def add(self, ended: Ended, begun: float) -> None:
        """Append the row of a task that was handed out at `begun` on the session's clock."""
        row = (self.session, self.workers, ended.task.name, ended.outcome, begun - self.began, ended.seconds)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([f"{v:.3f}" if isinstance(v, float) else v for v in row])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            file.write(text.getvalue())


def read_timings(folder: StudyFolder) -> pd.DataFrame:
    """Columns session, workers, task, outcome, start (seconds since the session began) and seconds; whole rows only."""
    text = folder.timings.read_text(encoding="utf-8", errors="replace") if folder.timings.exists() else ""
    lines = csv.reader(text[: text.rfind("\n") + 1].splitlines()[1:])
    table = pd.DataFrame([line for line in lines if len(line) == len(COLUMNS)], columns=list(COLUMNS))
    numbers = table.columns.difference(["task", "outcome"])
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    return table.dropna()


def read_times(folder: StudyFolder) -> tuple[float, float]:
    """Seconds in tasks, and seconds from the first task to the last of each session."""
    table = read_timings(folder)
    wall = (table["start"] + table["seconds"]).groupby(table["session"]).max().sum()
    return float(table["seconds"].sum()), float(wall)
