"""Reading scans on several processes: each file gets one outcome, whatever it does to its process."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool

from sonolearn.console import progress
from sonolearn.data.parts import Row, Task, content_hash, make_part, rejection_row
from sonolearn.data.scans.scan import Rejected
from sonolearn.workers import Workers


def run_tasks(tasks: Sequence[Task], workers: int) -> list[Row]:
    """Make the part of each task; rows in the order of `tasks`.

    Args:
        tasks: what to read.
        workers: processes; 0 takes all cores, 1 stays in this process.

    Raises:
        UserError: parts cannot be written.
    """
    count = min(workers or os.cpu_count() or 1, max(1, len(tasks)))
    if count == 1:
        return _here(tasks)
    rows = _spread(tasks, count)
    return [rows[i] if i in rows else _alone(task) for i, task in enumerate(tasks)]


def _here(tasks: Sequence[Task]) -> list[Row]:
    rows = []
    with progress("reading scans", len(tasks)) as bar:
        for task in tasks:
            rows.append(make_part(task))
            bar.advance()
    return rows


def _spread(tasks: Sequence[Task], count: int) -> dict[int, Row]:
    """Rows of the tasks that were done; if a file makes its process crash, the unfinished ones are missing."""
    rows: dict[int, Row] = {}
    pool = Workers(count)
    try:
        with progress("reading scans", len(tasks)) as bar:
            waiting: dict[Future[Row], int] = {pool.submit(make_part, tasks[i]): i for i in longest_first(tasks)}
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    rows[waiting.pop(future)] = future.result()
                    bar.advance()
    except BrokenProcessPool:
        return rows
    finally:
        # Whoever stops early must not wait for hour-long scans: their parts are begun anew next time.
        for process in list((pool._processes or {}).values()) if len(rows) < len(tasks) else []:
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
    return rows


def longest_first(tasks: Sequence[Task]) -> list[int]:
    """Indices of the tasks, those with the largest files first: a long scan begun last would keep one process alone."""
    return sorted(range(len(tasks)), key=lambda i: -_bytes(tasks[i]))


def _bytes(task: Task) -> int:
    try:
        return sum(path.stat().st_size for path in task.paths)
    except OSError:  # said of the scan when it is read
        return 0


def _alone(task: Task) -> Row:
    """A task after a crash: in a process of its own, so that it is known which file it is."""
    with Workers(1) as pool:
        try:
            return pool.submit(make_part, task).result()
        except BrokenProcessPool:
            scan = task.pseudonyms.scan(content_hash(task.paths))
            return rejection_row(scan, "", Rejected("crash", "makes its decoder crash: the file is damaged"))
