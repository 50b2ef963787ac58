"""Commands as processes of their own, forked from this one, which has loaded everything."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Forked:
    """A command that runs; its process leads a group that its workers are in."""

    pid: int
    code: int | None = None

    def wait(self) -> int:
        """Its exit code; minus the signal that ended it."""
        while not self.ends_within(60):
            pass
        assert self.code is not None
        return self.code

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself within this time."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                return False
            else:
                time.sleep(0.002)
        return True

    def kill(self, alone: bool) -> None:
        """SIGKILL it, alone or with all processes of its group."""
        (os.kill if alone else os.killpg)(self.pid, signal.SIGKILL)
        self.wait()

    def leaves_nothing(self, seconds: float) -> bool:
        """Whether all processes of its group end within this time; those that do not are killed."""
        end = time.monotonic() + seconds
        while group(self.pid):
            if time.monotonic() > end:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                return False
            time.sleep(0.01)
        return True


def loaded() -> None:
    """Load what commands load, so that those that are forked need not."""
    import torch
    from torch.utils.tensorboard import SummaryWriter  # noqa: F401

    import sonolearn.deploy.predict
    import sonolearn.options
    import sonolearn.planes.classify
    import sonolearn.reports.page
    import sonolearn.ssl.pretrain
    import sonolearn.store.prepare
    import sonolearn.study.from_runs
    import sonolearn.study.run  # noqa: F401

    torch.set_num_threads(1)


def started(words: Sequence[object], log: Path, before: Callable[[], None] = lambda: None) -> Forked:
    """Start `sonolearn WORDS`; what it says goes to `log`, and `before` is called in its process."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _run([str(word) for word in words], log, before)
    with suppress(PermissionError, ProcessLookupError):  # it has done so itself
        os.setpgid(pid, pid)
    return Forked(pid)


def _run(words: list[str], log: Path, before: Callable[[], None]) -> None:
    """In the new process: the command, then the end."""
    code = 1
    try:
        os.setpgid(0, 0)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        from sonolearn import cli

        before()
        try:
            cli.main(words)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def group(leader: int) -> set[int]:
    """Living processes of a group."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, members = path.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(members) == leader and state not in "ZX":
            found.add(int(path.parent.name))
    return found
