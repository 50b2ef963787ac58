"""Frames that are left out of decoding: those that are taken are the same to the last bit, with number and time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import fan
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Frame, Rejected
from sonolearn.scans.video import Decoder, numbers_by_time

COUNT = 30
X265 = "pools=none:frame-threads=1:log-level=none"
VIDEOS = {
    "plain.mp4": ("libx264", {}),
    "no-b-frames.mp4": ("libx264", {"bf": "0"}),
    "many-b-frames.mkv": ("libx264", {"x264-params": "bframes=8:b-adapt=0:b-pyramid=none"}),
    "pyramid.mov": ("libx264", {"x264-params": "bframes=6:b-adapt=0:b-pyramid=normal:ref=4"}),
    "open-gop.mp4": ("libx264", {"x264-params": "bframes=3:b-adapt=0:open-gop=1:keyint=8:min-keyint=4"}),
    "key-frames.mp4": ("libx264", {"g": "1"}),
    "hevc.mp4": ("libx265", {"x265-params": f"bframes=4:b-adapt=0:{X265}"}),
    "hevc-open-gop.mkv": ("libx265", {"x265-params": f"bframes=4:b-adapt=0:open-gop=1:keyint=8:{X265}"}),
    "transport.ts": ("libx264", {"x264-params": "bframes=3:b-adapt=0"}),
    "motion-jpeg.avi": ("mjpeg", {}),
    "motion-jpeg.mov": ("mjpeg", {}),
    "uncompressed.avi": ("rawvideo", {}),
    "lossless.mkv": ("ffv1", {}),
    "b-frames.mpeg": ("mpeg2video", {"bf": "2"}),
    "b-frames.avi": ("mpeg4", {"bf": "2"}),
    "vp9.mkv": ("libvpx-vp9", {"cpu-used": "8"}),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: encode(folder / name, *kind) for name, kind in VIDEOS.items()}


def encode(path: Path, codec: str, options: dict[str, str], first: int = 0, gaps: Sequence[int] = (1,)) -> Path:
    """COUNT frames, from the time `first` on, with these gaps between them over and over, in 25ths of a second."""
    time = first
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 25)
        for number, picture in enumerate(fan(COUNT, 120, 160)):
            frame = av.VideoFrame.from_ndarray(picture, "gray")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
            time += gaps[number % len(gaps)]
        container.mux(stream.encode())
    return path


def decoded_wholly(path: Path) -> list[tuple[float, np.ndarray]]:
    """Time and luma of all frames as PyAV decodes them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    start = frames[0].time
    return [(frame.time - start, luma(frame)) for frame in frames]


def luma(frame: av.VideoFrame) -> np.ndarray:
    """(H, W) uint8 in full range (ITU-R BT.601)."""
    plane = frame.planes[0]
    levels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
    if frame.format.name.startswith("yuvj") or frame.color_range == 2:
        return levels
    return np.clip(np.round((levels.astype(float) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def check(found: Sequence[Frame], expected: Sequence[tuple[float, np.ndarray]], numbers: Sequence[int]) -> None:
    assert [frame.index for frame in found] == list(numbers)
    assert [frame.time for frame in found] == pytest.approx([expected[n][0] for n in numbers], abs=1e-6)
    for frame in found:
        assert np.array_equal(frame.pixels, expected[frame.index][1]), frame.index


@pytest.mark.parametrize("step", [1, 2, 5, 7])
@pytest.mark.parametrize("name", VIDEOS)
def test_taken_frames_are_those_of_whole_decoding(name: str, step: int, videos: dict[str, Path]) -> None:
    expected = decoded_wholly(videos[name])
    assert len(expected) == COUNT
    check(list(open_scan(videos[name]).frames(step)), expected, range(0, COUNT, step))


@given(chosen=st.sets(st.integers(0, COUNT - 1), max_size=8), name=st.sampled_from(sorted(VIDEOS)))
@settings(max_examples=60)
def test_so_are_any_frames_that_a_table_names(chosen: set[int], name: str, videos: dict[str, Path]) -> None:
    check(list(open_scan(videos[name]).frames(only=chosen)), decoded_wholly(videos[name]), sorted(chosen))


@pytest.mark.parametrize("step", [3, 5])
def test_so_are_frames_at_uneven_times(step: int, tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp4", *VIDEOS["plain.mp4"], gaps=(1, 4, 2))
    check(list(open_scan(file).frames(step)), decoded_wholly(file), range(0, COUNT, step))


def test_so_are_frames_of_real_clips(shared_data: Path) -> None:
    clips = [*(shared_data / "lung_clips").glob("*.m[op][4v]"), shared_data / "screens" / "clarius-ocular-short.mp4"]
    assert len(clips) > 5
    for clip in clips:
        expected = decoded_wholly(clip)
        check(list(open_scan(clip).frames(5)), expected, range(0, len(expected), 5))


# What is decoded


def decodings(path: Path, step: int) -> int:
    """Frames that come out of the decoder."""
    with av.open(str(path)) as container:
        decoder = Decoder(str(path), container, container.streams.video[0], lambda n: n % step == 0)
        return sum(1 for packet in container.demux(video=0) for _ in decoder.decode(packet))


@pytest.mark.parametrize("name", ["motion-jpeg.avi", "motion-jpeg.mov", "uncompressed.avi"])
def test_where_frames_stand_alone_only_those_taken_are_decoded(name: str, videos: dict[str, Path]) -> None:
    assert decodings(videos[name], 5) == COUNT // 5
    assert decodings(videos[name], 1) == COUNT


@pytest.mark.parametrize(("name", "most"), [("many-b-frames.mkv", 12), ("pyramid.mov", 22), ("open-gop.mp4", 22)])
def test_frames_that_no_other_needs_are_left_out(name: str, most: int, videos: dict[str, Path]) -> None:
    assert decodings(videos[name], 5) <= most
    assert decodings(videos[name], 1) == COUNT


def test_the_times_of_packets_are_not_read_where_that_helps_nothing(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    names = set(VIDEOS) - {name for name, (codec, _) in VIDEOS.items() if codec == "libx264"}
    opened = {name: open_scan(videos[name]) for name in [*names, "transport.ts"]}
    monkeypatch.setattr("sonolearn.scans.video.numbers_by_time", never)
    for scan in opened.values():
        assert len(list(scan.frames(5))) == COUNT // 5


def test_frames_that_an_edit_list_hides_are_neither_counted_nor_mixed_up(tmp_path: Path) -> None:
    """Frames from before the time 0 are hidden by an edit list, which the muxer writes for them."""
    file = encode(tmp_path / "a.mp4", "libx264", {"x264-params": "bframes=3:b-adapt=0:keyint=30"}, first=-7)
    expected = decoded_wholly(file)
    assert len(expected) < COUNT
    assert numbers_by_time(str(file)) == {}
    check(list(open_scan(file).frames(4)), expected, range(0, len(expected), 4))


# Damage


@pytest.mark.parametrize("name", ["many-b-frames.mkv", "motion-jpeg.avi", "plain.mp4"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_file_cut_off_is_refused_also_when_most_frames_are_left_out(
    name: str, share: float, videos: dict[str, Path], tmp_path: Path
) -> None:
    data = videos[name].read_bytes()
    file = tmp_path / name
    file.write_bytes(data[: int(share * len(data)) + 11])
    if name.endswith("mkv"):  # has no count of its frames, and is a whole, shorter one
        assert 0 < len(list(open_scan(file).frames(5))) < COUNT // 5
        return
    with pytest.raises(Rejected) as caught:
        list(open_scan(file).frames(5))
    assert caught.value.reason in ("truncated", "damaged", "unreadable", "no_frames")


def test_damage_in_a_frame_that_is_left_out_does_no_harm(videos: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(videos["motion-jpeg.avi"].read_bytes())
    starts = [n for n in range(len(data)) if data[n : n + 3] == b"\xff\xd8\xff"]
    data[starts[7] : starts[7] + 400] = bytes(400)
    file = tmp_path / "a.avi"
    file.write_bytes(data)
    with pytest.raises(Rejected, match="damaged"):
        list(open_scan(file).frames())
    check(list(open_scan(file).frames(5)), decoded_wholly(videos["motion-jpeg.avi"]), range(0, COUNT, 5))
