"""Runs: seeds that never change, folders that hold one run, files that are whole or not there, disks that are full."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonolearn.checksums import CHECKSUMS
from sonolearn.config import PretrainConfig, ViewsConfig
from sonolearn.console import UserError
from sonolearn.runs import (
    LOCK,
    LOCK_OWNER,
    alone_in,
    claim,
    generator_for,
    hash_file,
    hash_of,
    machine,
    naming_disk_errors,
    paths_of,
    plain,
    read_json,
    seed_for,
    write_json,
    write_text,
    writing,
)

# Seeds


@pytest.mark.parametrize(
    ("parts", "seed"),
    [
        ((), 7184008945222730424),
        ((0,), 5621864261735219286),
        ((0, "views", 0, 0), 1357428280866540388),
        ((0, "views", 0, 1), 1687284355040978390),
        ((1, "label fraction", "4CH"), 3632374933086717726),
    ],
)
def test_seeds_never_change(parts: tuple[int | str, ...], seed: int) -> None:
    """Written down once: another value would change every published result."""
    assert seed_for(*parts) == seed


def test_draws_never_change() -> None:
    assert generator_for(0, "order").integers(0, 1000, 5).tolist() == [64, 944, 92, 143, 197]


PARTS = st.lists(st.one_of(st.integers(-(2**70), 2**70), st.text()), max_size=5)


@given(PARTS, PARTS)
def test_other_parts_give_other_seeds(one: list[int | str], other: list[int | str]) -> None:
    assert (seed_for(*one) == seed_for(*other)) == (one == other)


@given(PARTS)
def test_a_seed_fits_into_63_bits(parts: list[int | str]) -> None:
    assert 0 <= seed_for(*parts) < 2**63


def test_a_word_is_not_a_number_and_parts_do_not_run_together() -> None:
    assert (
        len({seed_for(1, 2), seed_for(12), seed_for("12"), seed_for("1", "2"), seed_for("1, 2"), seed_for(2, 1)}) == 6
    )


def test_seeds_are_the_same_in_another_process() -> None:
    """Python's own hash of a text is not."""
    script = "from sonolearn.runs import seed_for; print(seed_for(3, 'views', 7))"
    env = {**os.environ, "PYTHONHASHSEED": "5"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, env=env)
    assert int(done.stdout) == seed_for(3, "views", 7)


# Hashes


def test_a_config_is_written_as_json_can_hold_it() -> None:
    found = plain({"a": ViewsConfig(blur=(1.0, 0.5)), "b": (1, Path("x")), 3: None})
    assert found["a"]["blur"] == [1.0, 0.5]
    assert (found["b"], found["3"]) == ([1, "x"], None)
    assert json.loads(json.dumps(found)) == found


def test_a_hash_names_content_not_order() -> None:
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1}) != hash_of({"a": 1, "b": 3})
    assert len(hash_of(1)) == 12


def test_a_file_is_named_by_its_bytes(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    a, b, c = (hash_file(tmp_path / name) for name in "abc")
    assert a == b != c


def test_a_machine_is_described_without_its_name() -> None:
    assert set(machine()) == {"cores", "processor", "system", "python"}


# Run folders

CONFIG = PretrainConfig(epochs=3)
DATA = {"store": "abc"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    claim(tmp_path / "run", "pretrain", CONFIG, DATA)
    return tmp_path / "run"


def test_a_new_folder_becomes_the_run(run: Path) -> None:
    record = read_json(run / "run.json")
    assert record["command"] == "pretrain"
    assert record["config"]["epochs"] == 3
    assert record["data"] == DATA
    assert record["hash"] == hash_of({name: record[name] for name in ("command", "config", "data")})


def test_the_same_run_is_taken_up_and_nothing_is_written(run: Path) -> None:
    before = (run / "run.json").stat().st_mtime_ns
    assert claim(run, "pretrain", CONFIG, DATA) == read_json(run / "run.json")["hash"]
    assert (run / "run.json").stat().st_mtime_ns == before


def test_an_empty_folder_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    claim(tmp_path / "run", "pretrain", CONFIG, DATA)
    assert (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("command", "changes", "data", "named"),
    [
        ("pretrain", {"epochs": 4}, DATA, "(epochs differs)"),
        ("pretrain", {"epochs": 4, "seed": 1}, DATA, "(epochs, seed differ)"),
        ("pretrain", {"views": ViewsConfig(flip=0.25)}, DATA, "(views.flip differs)"),
        ("pretrain", {"encoder_args": {"channels": [4]}}, DATA, "(encoder_args.channels differs)"),
        ("pretrain", {}, {"store": "abd"}, "(data.store differs)"),
        ("pretrain", {}, {**DATA, "init": "f00"}, "(data.init differs)"),
        ("classify", {}, DATA, "(command differs)"),
    ],
)
def test_other_settings_or_data_are_refused_and_named_exactly(
    run: Path, command: str, changes: dict[str, object], data: dict[str, str], named: str
) -> None:
    before = (run / "run.json").read_bytes()
    with pytest.raises(UserError) as refused:
        claim(run, command, dataclasses.replace(CONFIG, **changes), data)  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"{run}: holds another run {named}; give another --out")
    assert (run / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [{"workers": 3}, {"checkpoint_minutes": 1.0}, {"log_every": 3}, {"accelerator": "cpu"}, {"devices": 2}],
)
def test_what_does_not_change_results_may_differ(run: Path, change: dict[str, object]) -> None:
    claim(run, "pretrain", dataclasses.replace(CONFIG, **change), DATA)  # type: ignore[arg-type]


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(UserError, match="exists and is not a run of this command; give another --out"):
        claim(tmp_path, "pretrain", CONFIG, DATA)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_file_in_place_of_the_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"is not a run|cannot write there; choose a folder"):
            claim(folder, "pretrain", CONFIG, DATA)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("text", ["{", "", "[]", '{"hash": 3}'])
def test_a_damaged_record_is_refused(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run.json: is damaged \(its checksum is wrong\); restore it"):
        claim(run, "pretrain", CONFIG, DATA)
    (run / CHECKSUMS).unlink()
    with pytest.raises(UserError, match=r"not readable as JSON|holds another run"):
        claim(run, "pretrain", CONFIG, DATA)


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run.json: no such file"):
        read_json(tmp_path / "run.json")


# Files


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with writing(tmp_path / "new" / "file") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "new" / "file").exists()
        temporary.write_text("whole")
    assert (tmp_path / "new" / "file").read_text() == "whole"
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [".checksums", "file"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, UserError])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    write_text(tmp_path / "file", "old")

    def fail() -> None:
        with writing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        fail()
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".checksums", "file"]


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    script = (
        "import os, sys, signal; from pathlib import Path; from sonolearn.runs import writing\n"
        "with writing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")])
    assert done.returncode == -9
    assert (tmp_path / "file").read_text() == "old"
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"


# Full disks and forbidden folders


@pytest.fixture
def disk_of_100_kb() -> Iterator[None]:
    """No file may grow beyond 100 kB: the writers of all libraries really fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_plain(path: Path) -> None:
    path.write_bytes(bytes(200_000))


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as h5:
        frames = h5.create_dataset("frames", (40, 100, 100), np.uint8, chunks=(1, 100, 100))
        for row in range(40):
            frames.id.write_direct_chunk((row, 0, 0), bytes(10_000))


def write_safetensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(50_000)}, path)


def write_torch(path: Path) -> None:
    import torch

    with path.open("wb") as file:
        torch.save({"a": torch.zeros(50_000)}, file)


@pytest.mark.parametrize("write", [write_plain, write_hdf5, write_safetensors, write_torch])
@pytest.mark.usefixtures("disk_of_100_kb")
def test_a_full_disk_is_one_sentence_whatever_writes(tmp_path: Path, write: object) -> None:
    def fill() -> None:
        with writing(tmp_path / "file") as temporary:
            write(temporary)  # type: ignore[operator]

    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError, match="file: the disk is full; free some space and run the same command again"):
        fill()
    assert (tmp_path / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "cannot write there; choose a folder that you may write to"),
        (errno.EPERM, "cannot write there"),
        (errno.EROFS, "cannot write there"),
    ],
)
def test_what_the_system_says_becomes_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=f"a.json: {sentence}"):
        write_json(tmp_path / "a.json", {})


def test_other_errors_pass_through(tmp_path: Path) -> None:
    def fail(error: Exception) -> None:
        with naming_disk_errors(tmp_path):
            raise error

    for error in (OSError(errno.EIO, "broken"), ValueError("no disk"), UserError("mine")):
        with pytest.raises(type(error)) as passed:
            fail(error)
        assert passed.value is error


def test_a_text_is_one_path() -> None:
    assert paths_of("/data/a") == paths_of(Path("/data/a")) == paths_of(["/data/a"]) == [Path("/data/a")]
    assert paths_of(("a", Path("b"))) == [Path("a"), Path("b")]


# One command at a time

HOLD = """
import os, sys, time
from sonolearn.runs import alone_in
with alone_in(sys.argv[1]):
    print("holds", flush=True)
    time.sleep(100)
"""


@contextmanager
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def without_locks(*arguments: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_second_process_says_that_it_waits_until_the_first_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with other_process(tmp_path / "run") as process:
        killer = threading.Timer(0.3, process.kill)
        killer.start()
        with alone_in(tmp_path / "run"):
            assert process.poll() is not None or process.wait(5) == -9
        killer.join()
    assert f"{tmp_path / 'run'}: another sonolearn works there; waiting until it ends" in capsys.readouterr().err


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = [], []

    def work(number: int) -> None:
        with alone_in(tmp_path / "run"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


def test_nothing_of_a_lock_is_left_and_no_empty_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path / "a" / "b"):
        assert claim(tmp_path / "a" / "b", "pretrain", CONFIG, DATA)
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {"run.json", CHECKSUMS}
    with pytest.raises(UserError, match="mine"), alone_in(tmp_path / "c" / "d"):
        raise UserError("mine")
    assert not (tmp_path / "c").exists()
    (tmp_path / "empty").mkdir()
    with alone_in(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_disk_without_locks_is_locked_by_a_file_that_a_dead_owner_does_not_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", without_locks)
    with alone_in(tmp_path / "run"):
        marker = (tmp_path / "run" / LOCK_OWNER).read_text()
        assert marker.split()[0] == str(os.getpid())
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / "run" / LOCK_OWNER).write_text(marker.replace(str(os.getpid()), ended.stdout.strip(), 1))
    (tmp_path / "run" / LOCK).touch()
    with alone_in(tmp_path / "run"):
        claim(tmp_path / "run", "pretrain", CONFIG, DATA)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", CHECKSUMS}


def test_a_disk_that_may_only_be_read_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(UserError, match=r"run: cannot write there; choose a folder that you may"),
        alone_in(tmp_path / "run"),
    ):
        pass
