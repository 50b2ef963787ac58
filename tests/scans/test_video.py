"""Videos: frame counts and grey values agree with OpenCV's own FFmpeg, and damage is never passed over."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from media import speckle, write_video
from sonolearn.cleaning.grey import luma_and_chroma, to_grey
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Frame, Rejected
from sonolearn.scans.video import Clock
from sonolearn.scans.video_pixels import full_range

KINDS = {
    "a.mp4": ("libx264", "yuv420p"), "b.mov": ("mpeg4", "yuv420p"), "c.avi": ("mjpeg", "yuvj420p"),
    "d.mpeg": ("mpeg2video", "yuv420p"), "e.mkv": ("libx264", "yuv444p"), "f.wmv": ("wmv2", "yuv420p"),
    "g.gif": ("gif", "rgb8"), "h.mkv": ("libx264", "gray"),
}  # fmt: skip


def by_opencv(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY))
    return frames


@pytest.mark.parametrize("name", KINDS)
def test_grey_agrees_with_opencv(tmp_path: Path, name: str) -> None:
    codec, pixels = KINDS[name]
    file = write_video(tmp_path / name, speckle(12), codec, pixels)
    expected = by_opencv(file)
    found = [to_grey(frame.pixels) for frame in open_scan(file).frames()]
    assert len(found) == len(expected) == 12
    difference = np.abs(np.stack(found).astype(int) - np.stack(expected))
    assert difference.max() <= 3  # a luma of 16 that was taken for black would differ by 16


def test_real_clips_agree_with_opencv(shared_data: Path) -> None:
    for name in ("Vir_whitelung_h1n1.mp4", "Reg_pat1Image_133410.mpeg", "Cov_recommendations_likebutterfly_mov5.mov"):
        file = shared_data / "lung_clips" / name
        expected = by_opencv(file)
        frames = list(open_scan(file).frames())
        assert len(frames) == len(expected) == open_scan(file).count, name
        for i in (0, 50, len(expected) - 1):
            assert np.abs(frames[i].pixels.astype(int) - expected[i]).max() <= 4, name


def test_colour_is_there_when_asked_for(tmp_path: Path) -> None:
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    frames[..., 0] = 200
    file = write_video(tmp_path / "a.mp4", frames, "libx264")
    grey, colour = (next(open_scan(file).frames(colour=c)).pixels for c in (False, True))
    assert grey.shape == (64, 64)
    assert np.abs(colour.reshape(-1, 3).mean(axis=0) - (200, 0, 0)).max() < 6


def coloured(frames: int, height: int = 96, width: int = 128) -> np.ndarray:
    """(n, H, W, 3) RGB: smooth colours, which compression and half-size chroma keep."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    one = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 12), None, 20, 235, cv2.NORM_MINMAX)
    return np.stack([one] * frames)


@pytest.mark.parametrize("name", ["a.mp4", "b.mov", "c.avi", "d.mpeg", "e.mkv"])
def test_chroma_is_that_of_the_colours(tmp_path: Path, name: str) -> None:
    rgb = coloured(4)
    frame = list(open_scan(write_video(tmp_path / name, rgb, *KINDS[name])).frames())[-1]
    whole = cv2.cvtColor(rgb[-1], cv2.COLOR_RGB2YCrCb)[..., [2, 1]].astype(float)
    assert frame.chroma is not None
    assert frame.chroma.dtype == np.uint8
    height, width = frame.chroma.shape[:2]
    assert (height, width) == ((96, 128) if name == "e.mkv" else (48, 64))
    # Video has 224 levels of chroma where OpenCV has 255 (ITU-R BT.601).
    levels = 1 if KINDS[name][1] == "yuvj420p" else 224 / 255
    expected = (cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA) - 128) * levels
    assert np.abs(frame.chroma - 128.0 - expected).mean() < 4


def test_frames_in_rgb_have_no_chroma_beside_them(tmp_path: Path) -> None:
    (frame,) = open_scan(write_video(tmp_path / "g.gif", speckle(1), *KINDS["g.gif"])).frames()
    assert frame.pixels.ndim == 3
    assert frame.chroma is None


@pytest.mark.parametrize("name", ["a.mp4", "c.avi", "h.mkv"])
def test_a_grey_video_has_no_colour(tmp_path: Path, name: str) -> None:
    for frame in open_scan(write_video(tmp_path / name, speckle(3), *KINDS[name])).frames():
        assert frame.pixels.ndim == 2
        assert luma_and_chroma(frame)[1] is None


def test_rgb_comes_without_chroma(tmp_path: Path) -> None:
    (frame,) = open_scan(write_video(tmp_path / "a.mp4", coloured(1), "libx264")).frames(colour=True)
    assert frame.chroma is None


def test_frame_skip_keeps_index_and_time(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.mp4", speckle(12), rate=20)
    frames = list(open_scan(file).frames(step=5))
    assert [f.index for f in frames] == [0, 5, 10]
    assert [f.time for f in frames] == pytest.approx([0, 0.25, 0.5], abs=0.01)
    assert open_scan(file).fps == 20


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("name", ["a.mp4", "c.avi", "d.mpeg"])
def test_a_video_cut_off_is_refused(tmp_path: Path, name: str, share: float) -> None:
    data = write_video(tmp_path / name, speckle(40), *KINDS[name]).read_bytes()
    file = tmp_path / f"cut-{name}"
    # Not at a frame's boundary: there an MPEG programme stream is a whole, shorter one.
    file.write_bytes(data[: int(len(data) * share) + 11])
    with pytest.raises(Rejected) as caught:
        list(open_scan(file).frames())
    assert caught.value.reason in ("truncated", "damaged", "unreadable", "no_frames")


def test_a_video_with_zeroes_in_it_is_refused(tmp_path: Path) -> None:
    data = bytearray(write_video(tmp_path / "a.mp4", speckle(40), "libx264").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    (tmp_path / "b.mp4").write_bytes(data)
    with pytest.raises(Rejected):
        list(open_scan(tmp_path / "b.mp4").frames())


def test_no_video_is_refused_by_name_of_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(Rejected, match="cannot be opened as a video"):
        open_scan(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").touch()
    with pytest.raises(Rejected, match="0 bytes"):
        open_scan(tmp_path / "b.mp4")


def test_levels_of_video_become_the_full_range() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    expected = [min(255, max(0, round((level - 16) * 255 / 219))) for level in range(256)]
    assert full_range(levels).ravel().tolist() == expected
    assert full_range(levels[:, ::1][:, :7]).tolist() == np.reshape(expected, (8, 32))[:, :7].tolist()  # a view


# Times, and frames that are not there


def at(path: Path, times: list[int], codec: str, pixels: str = "yuv420p") -> Path:
    """One frame at each of these times, in 25ths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, pixels
        stream.codec_context.time_base = Fraction(1, 25)
        for time, picture in zip(times, speckle(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "gray")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path) -> list[Frame]:
    return list(open_scan(path).frames())


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4", "libx264", "ffv1"])
def test_frames_that_a_recorder_dropped_are_not_missing(tmp_path: Path, codec: str) -> None:
    """An AVI holds an empty chunk in place of each, and counts it."""
    times = [0, 1, 2, 5, 6, 9]
    file = at(tmp_path / "a.avi", times, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p")
    frames = read(file)
    assert [frame.index for frame in frames] == list(range(6))
    if codec != "libx264":  # an AVI has no times of its own: those of B frames are not told
        assert [frame.time for frame in frames] == pytest.approx([time / 25 for time in times])
    cut = tmp_path / "cut.avi"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 11])
    with pytest.raises(Rejected):
        read(cut)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mpeg", "a.wmv", "a.gif"])
def test_times_begin_with_zero_and_rise(tmp_path: Path, name: str) -> None:
    codec, pixels = {"a.gif": ("gif", "rgb8"), "a.wmv": ("wmv2", "yuv420p"), "a.mpeg": ("mpeg2video", "yuv420p")}.get(
        name, ("libx264", "yuv420p")
    )
    times = [0, 1, 2, 3] if name == "a.mpeg" else [0, 1, 5, 6]
    found = [frame.time for frame in read(at(tmp_path / name, times, codec, pixels))]
    assert found == pytest.approx([time / 25 for time in times], abs=0.001)


def test_where_times_are_missing_or_go_back_frames_are_evenly_spaced() -> None:
    clock = Clock(20)
    stamps = [7.0, 7.1, None, 7.05, 7.3, 7.3]
    assert [clock.time(n, stamp) for n, stamp in enumerate(stamps)] == pytest.approx([0, 0.1, 0.15, 0.2, 0.3, 0.35])
    assert [Clock(0).time(n, None) for n in (1, 2)] == pytest.approx([math.nan] * 2, nan_ok=True)


# Sizes


def gif(path: Path, width: int, height: int, frames: int) -> Path:
    """A GIF of few bytes, whatever its size."""
    frame = b"\x21\xf9\x04\x04\x04\0\0\0\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    path.write_bytes(b"GIF89a" + screen + frame * frames + b"\x3b")
    return path


def test_videos_of_too_many_pixels_or_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="pixels") as caught:
        open_scan(gif(tmp_path / "a.gif", 16000, 16000, 3))
    assert caught.value.reason == "too_large"
    with pytest.raises(Rejected, match="has 300001 frames") as caught:
        open_scan(gif(tmp_path / "b.gif", 1, 1, 300_001))
    assert caught.value.reason == "too_large"
