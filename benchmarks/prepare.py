"""Speed and memory of cleaning on one core: against bare PyAV decoding of the same videos, and for a long recording.

    python benchmarks/prepare_speed.py OUT [--clips 4] [--frames 300] [--repeats 5] [--profile] [--minutes 10]

Renders trial scans at their full frame rate into OUT/clips once (640 x 480 px, H.264; some two minutes a thousand
frames). Each clip is decoded and cleaned in turns, in one process with one thread; what counts is processor time, so
that other work on the machine disturbs little. Bare decoding copies the grey plane of the frames that cleaning takes,
and does nothing else. `--profile` lists where the time of cleaning goes. `--minutes 10` cleans a recording of ten
minutes and one of one minute (a clip repeated by the muxer, 30 frames a second), each in a fresh process, and prints
the most memory that it took (Linux); 0 leaves it out.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sonolearn.data.cleaning.clean import clean
from sonolearn.data.phantom.sweep import scan_poses
from sonolearn.data.phantom.trials.plan import plan_of
from sonolearn.data.phantom.trials.shots import shots
from sonolearn.data.phantom.trials.stage import Stage
from sonolearn.data.phantom.video import write_mp4
from sonolearn.data.scans.video import open_video
from sonolearn.runs import machine

STEPS = (5, 1)
SIZE = 256
FPS = 30
# Good scans: phased, convex and linear probes with three, two, no and three kinds of marks.
TRIALS = (0, 3, 7, 6, 13, 5, 2, 23)


def main() -> None:
    """Render what is missing, measure, print."""
    options = _options()
    cv2.setNumThreads(1)
    if options.peak:
        print(peak(options.out, options.step))
        return
    folder = options.out / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    clips = [render(number, folder, options.frames) for number in TRIALS[: options.clips]]
    print(f"{machine()['processor']}, one thread, load {os.getloadavg()[0]:.1f}; median of {options.repeats}")
    print(f"{len(clips)} clips of {options.frames} frames, 640 x 480 px, H.264; stored at {SIZE} px\n")
    print("| frame_skip | decoding, frames/s | cleaning, frames/s | cleaning / decoding |\n|---|---|---|---|")
    for step in STEPS:
        print(speed_row(clips, options.frames, step, options.repeats), flush=True)
    if options.minutes:
        print("\n| recording | frame_skip | peak memory, MB |\n|---|---|---|")
        for minutes in (1, options.minutes):
            long = lengthened(clips[0], folder / f"{minutes}min.mp4", minutes * 60 * FPS)
            name = f"{minutes} min, {minutes * 60 * FPS:,} frames"
            for step in STEPS:
                print(f"| {name} | {step} | {fresh_peak(long, step):.0f} |", flush=True)
    for step in STEPS if options.profile else ():
        profile(clips, step)


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


def clean_all(clip: Path, step: int) -> int:
    """Clean a clip as `prepare` does with its defaults; how many good frames there are."""
    return sum(1 for _ in clean(open_video(clip), SIZE, step).frames)


def speed_row(clips: list[Path], frames: int, step: int, repeats: int) -> str:
    """Frames of the recording a second, by decoding and by cleaning; the ratio is that of the medians."""
    times: dict[Callable[[Path, int], int], list[float]] = {decode: [], clean_all: []}
    for repeat in range(repeats + 1):
        for function, found in times.items():
            started = time.process_time()
            for clip in clips:
                function(clip, step)
            if repeat:  # the first round fills caches
                found.append(time.process_time() - started)
    bare, ours = (statistics.median(times[function]) for function in (decode, clean_all))
    count = frames * len(clips)
    return f"| {step} | {count / bare:.0f} | {count / ours:.0f} | {bare / ours:.2f} |"


def profile(clips: list[Path], step: int, lines: int = 25) -> None:
    """Print where the time of cleaning goes, by the time in each function itself; profiling slows small functions."""
    profiler = cProfile.Profile()
    profiler.enable()
    for clip in clips:
        clean_all(clip, step)
    profiler.disable()
    print(f"\nframe_skip {step}")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(lines)


def render(number: int, folder: Path, frames: int) -> Path:
    """Write a trial's scan with each frame of the recording, unless it is there: trials alone hold every fifth."""
    path = folder / f"{number:03d}_{frames}.mp4"
    if not path.exists():
        stage = Stage(plan_of(number), number, 0, frames, (480, 640))
        stage.poses = scan_poses(stage.fetus, frames, stage.rng)
        beats = stage.patient.heart_rate / 60 / stage.patient.frame_rate
        stage.phases = [float(phase % 1) for phase in beats * np.arange(frames)]
        whole = path.with_suffix(".part")
        write_mp4(whole, [shot.frame for shot in shots(stage)], round(stage.patient.frame_rate))
        whole.rename(path)
    return path


def lengthened(clip: Path, path: Path, frames: int) -> Path:
    """The packets of a clip over and over, until there are so many frames."""
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


def fresh_peak(clip: Path, step: int) -> float:
    """Peak memory in MB of a new process that cleans a recording."""
    command = [sys.executable, __file__, str(clip), "--peak", "--step", str(step)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak(clip: Path, step: int) -> float:
    """Clean a recording; the most memory in MB that this process has taken."""
    clean_all(clip, step)
    # Not getrusage: its figure starts with that of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--step", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
