"""`sonolearn prepare` against bare decoding of the same videos, and two processes against one.

    python -m benchmarks.prepare [--quick]

The clips are trial scans at their full frame rate: 640 x 480 px, H.264, of phased, convex and linear probes, three of
them with marks of two or three kinds. 60 frames of each are rendered; the muxer repeats their packets, so that a clip
has 300. Its length decides how much of the time is spent on things done once a scan (an outline, the pictures of the
report).

Ours is the whole command with its defaults: it opens, hashes, decodes, examines, fills, scales, writes parts, store and
report. The ceiling is PyAV with one thread, which copies the grey plane of the frames that are taken, and does nothing
else. Both take turns in one process with one thread; what counts is processor time, so that other work on the machine
disturbs less. `frame_skip` 1 cleans five times as many frames for the same decoding.

Two processes are held against one by the clock, from the command line to the finished store, imports included:
forty recordings of 600 to 795 frames, each of another length. Needs two cores with nothing else to do.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.figure import Row, in_turns, run_script, speed
from benchmarks.trials.plan import plan_of
from benchmarks.trials.shots import shots
from benchmarks.trials.stage import Stage
from sonolearn.config import PrepareConfig
from sonolearn.store.prepare import prepare
from sonolearn.store.store import Store
from sonolearn_phantom.files import write_mp4
from sonolearn_phantom.sweep import scan_poses

FPS = 30
TRIALS = (0, 3, 7, 6)
"""Good scans of several probes, the first two and the last one with marks."""
DISTINCT = 60
"""Frames of a clip that are rendered; five taken frames apart, tissue has moved."""


def rows(quick: bool) -> Iterator[Row]:
    """Processor time of the whole command for each number of frames taken, then the clock of two processes."""
    with tempfile.TemporaryDirectory() as name, single_threaded():
        folder = Path(name)
        short = [rendered(number, folder, quick) for number in TRIALS[: 1 if quick else None]]
        frames = 20 if quick else 300
        clips = [lengthened(clip, folder / "clips" / clip.name, frames) for clip in short]
        for skip, target in ((5, 0.5), (1, None)):
            yield against_decoding(clips, frames, skip, target, folder / "out", repeats=1 if quick else 3)
        yield two_processes(many(short, folder / "many", quick), folder / "out", repeats=1 if quick else 3)


def against_decoding(
    clips: Sequence[Path], frames: int, skip: int, target: float | None, out: Path, repeats: int
) -> Row:
    """The whole of `prepare` on one core, and decoding alone."""
    times = in_turns(
        {
            "prepare": lambda: prepared(clips, out, frame_skip=skip),
            "decode": lambda: [decode(clip, skip) for clip in clips],
        },
        repeats,
        clock=time.process_time,
    )
    name = f"prepare, frame_skip {skip}: {len(clips)} clips of {frames} frames, processor time of one core"
    return speed(name, times["prepare"], "PyAV decoding alone", times["decode"], target)


def two_processes(scans: Sequence[Path], out: Path, repeats: int) -> Row:
    """The same scans by one process and by two, on the clock."""
    times = in_turns({workers: command(scans, out, workers) for workers in ("one", "two")}, repeats, warm_up=0)
    name = f"prepare with two processes: {len(scans)} recordings, on the clock"
    return speed(name, times["two"], "one process", times["one"], 1.8)


def command(scans: Sequence[Path], out: Path, workers: str) -> Callable[[], object]:
    """A call of the command line, whose processes import what a user's do, and no benchmark."""
    words = [sys.executable, "-m", "sonolearn", "prepare", *map(str, scans), "--out", str(out), "--key"]
    words += [str(out.parent / "key"), "--workers", {"one": "1", "two": "2"}[workers]]

    def call() -> None:
        shutil.rmtree(out, ignore_errors=True)
        subprocess.run(words, check=True, capture_output=True)

    return call


def prepared(scans: Sequence[Path], out: Path, frame_skip: int = 5) -> Store:
    """A new store with the defaults; what `prepare` says is not printed."""
    shutil.rmtree(out, ignore_errors=True)
    config = PrepareConfig(frame_skip=frame_skip, workers=1, key=out.parent / "key")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return prepare(scans, out, None, config)


def decode(clip: Path, step: int) -> int:
    """Decode a clip with one thread and copy the grey of every `step`-th frame; how many frames that were."""
    taken = 0
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(stream)):
            if number % step == 0:
                plane = frame.planes[0]
                grey = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]  # type: ignore[call-overload]
                np.ascontiguousarray(grey)
                taken += 1
    return taken


def rendered(number: int, folder: Path, quick: bool) -> Path:
    """A trial's scan with each frame of the recording; trials alone hold every fifth."""
    frames, size = (10, (240, 320)) if quick else (DISTINCT, (480, 640))
    stage = Stage(plan_of(number), number, 0, frames, size)
    stage.poses = scan_poses(stage.fetus, frames, stage.rng)
    beats = stage.patient.heart_rate / 60 / stage.patient.frame_rate
    stage.phases = [float(phase % 1) for phase in beats * np.arange(frames)]
    path = folder / f"{number:03d}.mp4"
    write_mp4(path, [shot.frame for shot in shots(stage)], round(stage.patient.frame_rate))
    return path


def many(short: Sequence[Path], folder: Path, quick: bool) -> list[Path]:
    """Recordings of other lengths, so that no two files have the same content, which would be read once."""
    lengths = range(20, 22) if quick else range(600, 800, 5)
    return [lengthened(short[n % len(short)], folder / f"{n:02d}.mp4", frames) for n, frames in enumerate(lengths)]


def lengthened(clip: Path, path: Path, frames: int) -> Path:
    """The packets of a clip over and over, until there are so many frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        target, written, time_base = None, 0, Fraction(1, FPS)
        while written < frames:
            with av.open(str(clip)) as container:
                stream = container.streams.video[0]
                target = target or out.add_stream_from_template(stream)
                tick, start = stream.average_rate * stream.time_base, written
                for packet in container.demux(stream):
                    if packet.size == 0 or written == frames:
                        continue
                    assert packet.pts is not None
                    assert packet.dts is not None
                    packet.pts, packet.dts = (start + round(when * tick) for when in (packet.pts, packet.dts))
                    packet.duration, packet.time_base, packet.stream = 1, time_base, target
                    out.mux(packet)
                    written += 1
    return path


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """OpenCV with one thread, as in the processes that `prepare` starts."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


if __name__ == "__main__":
    run_script(rows, __doc__)
