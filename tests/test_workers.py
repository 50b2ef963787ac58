"""The rules of worker processes: order, errors, death, interrupts, the end of the parent, the user's script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.killing.forked import group
from sonolearn.workers import Died, each


def square(number: int) -> int:
    """For workers: an item that is done."""
    return number * number


def dies(path: Path) -> str:
    """For workers: death at the first look at a name with `once`, at every look at one with `always`."""
    seen = path.exists()
    path.touch()
    if "always" in path.name or ("once" in path.name and not seen):
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def fails(number: int) -> int:
    """For workers: an error."""
    return 1 // number


def lasts(path: Path) -> None:
    """For workers: an item that takes long."""
    path.write_text(str(os.getpid()))
    time.sleep(100)


@pytest.mark.parametrize("processes", [1, 2, 9])
def test_every_item_gives_its_result_whatever_the_number_of_processes(processes: int) -> None:
    assert dict(each(square, [5, 3, 4], processes)) == {0: 25, 1: 9, 2: 16}
    assert dict(each(square, [], processes)) == {}


def test_a_death_costs_its_item_which_is_named_and_is_tried_once_more(tmp_path: Path) -> None:
    names = ["a", "always", "b", "once", "c", "d"]
    found = dict(each(dies, [tmp_path / name for name in names], 2))
    (died,) = [number for number, result in found.items() if isinstance(result, Died)]
    assert died == names.index("always")
    assert found[died].how == "its process died (exit code -9); was the memory enough?"
    assert [found[i] for i in range(6) if i != died] == ["a", "b", "once", "c", "d"]


def test_an_error_is_raised_as_it_is_and_tells_where_it_arose() -> None:
    with pytest.raises(ZeroDivisionError) as error:
        list(each(fails, [1, 0], 2))
    assert "in fails" in error.value.__notes__[0]


def test_who_leaves_early_does_not_wait_for_what_runs(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        for _ in each(mixed, [tmp_path / "long", 0], 2):
            pass
    assert time.monotonic() - begun < 50
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "long").read_text()), 0)


def mixed(item: Path | int) -> None:
    """For workers: an error as soon as another item has begun."""
    if isinstance(item, Path):
        lasts(item)
    time.sleep(2)
    fails(0)


def begin(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """A script, without a guard of `__main__`, that leads a group of processes."""
    (tmp_path / "script.py").write_text(f"from sonolearn.workers import each\nprint('begun', flush=True)\n{body}")
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_script_needs_no_guard_and_is_not_run_again(tmp_path: Path) -> None:
    out, err = begin(tmp_path, "import math\nprint(sorted(each(math.sqrt, [4, 9], 2)))").communicate(timeout=100)
    assert out.splitlines() == ["begun", "[(0, 2.0), (1, 3.0)]"], err


@pytest.mark.parametrize("how", ["Ctrl-C", "the parent is killed"])
def test_no_worker_outlives_its_parent(how: str, tmp_path: Path) -> None:
    paths = f"[Path({str(tmp_path)!r}) / name for name in 'ab']"
    body = f"from pathlib import Path\nfrom test_workers import lasts\nlist(each(lasts, {paths}, 2))"
    script = begin(tmp_path, body)
    until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    if how == "Ctrl-C":
        os.killpg(script.pid, signal.SIGINT)  # as a terminal does
        assert "KeyboardInterrupt" in script.communicate(timeout=30)[1]
    else:
        script.kill()
        script.communicate(timeout=30)
    until(lambda: not group(script.pid))
