"""Pools of processes: they do without the user's script, and end with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os
from sonolearn.workers import Workers
print("started")
with Workers(2) as pool:
    print(len({pool.submit(os.getppid).result() for _ in range(4)}))
"""


def test_a_script_needs_no_guard_and_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["started", "1"], done.stderr


def test_workers_end_when_their_parent_is_killed() -> None:
    script = (
        "import os, time; from sonolearn.workers import Workers\n"
        "pool = Workers(1); print(pool.submit(os.getpid).result(), flush=True); time.sleep(100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    end = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.05)
        # Its new parent need not collect it.
        if Path(f"/proc/{worker}/stat").exists() and Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z":
            break
    else:
        assert not Path(f"/proc/{worker}").exists()
    assert os.getpid() != worker
