"""Pixels of videos in all formats: their colour is PyAV's own RGB, and the fields of interlaced ones are not mixed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

from media import fan, speckle
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Frame
from sonolearn.scans.video_pixels import on_black, read_as, without_combs


def coloured(height: int = 96, width: int = 128) -> np.ndarray[Any, Any]:
    """(H, W, 3): smooth colours, and grey in the left half."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 12), None, 20, 235, cv2.NORM_MINMAX)
    picture[:, : width // 2] = picture[:, : width // 2, :1]
    return np.asarray(picture)


def write(path: Path, frames: list[av.VideoFrame], codec: str, form: str, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = frames[0].height, frames[0].width, form
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rgb(pictures: list[np.ndarray[Any, Any]]) -> list[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24") for picture in pictures]


def first(path: Path, colour: bool = False) -> Frame:
    return next(open_scan(path).frames(colour=colour))


FORMATS = [
    ("a.mp4", "libx264", "yuv420p"), ("a.mp4", "libx264", "yuv420p10le"), ("a.mp4", "libx265", "yuv420p10le"),
    ("a.mp4", "libx264", "yuv422p10le"), ("a.mp4", "libx264", "yuv444p10le"), ("a.mov", "prores_ks", "yuv422p10le"),
    ("a.mkv", "ffv1", "yuv420p16le"), ("a.mkv", "ffv1", "yuv411p"), ("a.mkv", "ffv1", "yuv410p"),
    ("a.mkv", "ffv1", "yuv440p12le"), ("a.avi", "rawvideo", "uyvy422"), ("a.avi", "rawvideo", "yuyv422"),
    ("a.avi", "rawvideo", "nv12"), ("a.mov", "v210", "yuv422p10le"), ("a.avi", "mjpeg", "yuvj444p"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "form"), FORMATS)
def test_luma_and_chroma_of_every_format_are_those_of_its_colours(
    tmp_path: Path, name: str, codec: str, form: str
) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    file = write(tmp_path / name, rgb([coloured()] * 2), codec, form, **options)
    with av.open(str(file)) as container:
        expected = next(container.decode(video=0)).to_ndarray(format="rgb24")
    frame, colour = first(file), first(file, colour=True)
    assert np.array_equal(colour.pixels, expected)
    assert frame.chroma is not None
    whole = cv2.cvtColor(expected, cv2.COLOR_RGB2YCrCb).astype(float)
    assert np.abs(frame.pixels - whole[..., 0]).mean() < 2
    # Video has 224 levels of chroma where OpenCV has 255 (ITU-R BT.601).
    levels = 1 if form.startswith("yuvj") else 224 / 255
    size = frame.chroma.shape[1::-1]
    chroma = (cv2.resize(whole[..., [2, 1]], size, interpolation=cv2.INTER_AREA) - 128) * levels
    assert np.abs(frame.chroma - 128.0 - chroma).mean() < 2


@pytest.mark.parametrize(
    ("form", "target"),
    [("p010le", "yuv420p"), ("nv21", "yuv420p"), ("vyu444", "yuv444p"), ("gray12le", "gray"), ("monow", "gray"),
     ("gbrp10le", "rgb24"), ("rgb48le", "rgb24"), ("ya8", "rgba"), ("yuva420p", "rgba"), ("pal8", "rgba")],
)  # fmt: skip
def test_no_format_loses_its_colour_or_transparency(form: str, target: str) -> None:
    assert read_as(form) == target


@pytest.mark.parametrize("form", ["gray10le", "gray16le"])
def test_deep_grey_takes_the_whole_range(tmp_path: Path, form: str) -> None:
    picture = fan(1)[0]
    frames = [av.VideoFrame.from_ndarray(picture, "gray").reformat(format=form)]
    file = write(tmp_path / "a.mkv", frames, "ffv1", form)
    assert np.abs(first(file).pixels.astype(int) - picture).max() <= 1


# Transparency


def test_the_transparent_ground_of_a_gif_is_black(tmp_path: Path) -> None:
    pages = [
        Image.fromarray(np.dstack([grey, grey, grey, np.where(grey > 0, 255, 0).astype(np.uint8)])) for grey in fan(4)
    ]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=40, disposal=2)
    with Image.open(tmp_path / "a.gif") as image:
        shown = [np.asarray(page.convert("RGBA")) for page in ImageSequence.Iterator(image)]
    frames = list(open_scan(tmp_path / "a.gif").frames())
    assert len(frames) == 4
    for frame, expected in zip(frames, shown, strict=True):
        assert frame.pixels[0, 0].tolist() == [0, 0, 0]
        opaque = expected[..., 3] > 0
        assert np.abs(frame.pixels[opaque].astype(int) - expected[opaque][:, :3]).max() <= 1


@pytest.mark.parametrize(
    ("name", "codec", "form"), [("a.mov", "qtrle", "argb"), ("a.mov", "prores_ks", "yuva444p10le"),
                                ("a.mov", "png", "rgba")],
)  # fmt: skip
def test_transparent_video_lies_on_black(tmp_path: Path, name: str, codec: str, form: str) -> None:
    rgba = np.dstack([coloured(), np.full((96, 128), 255, np.uint8)])
    rgba[:48, :, 3] = 0
    options = {"alpha_bits": "8"} if codec == "prores_ks" else {}
    file = write(tmp_path / name, [av.VideoFrame.from_ndarray(rgba, "rgba")], codec, form, **options)
    pixels = first(file).pixels
    assert pixels[:46].max() == 0
    assert np.abs(pixels[50:].astype(int) - rgba[50:, :, :3]).mean() < 3


def test_a_picture_of_which_nothing_would_be_left_is_not_transparent() -> None:
    rgba = np.dstack([coloured(), np.zeros((96, 128), np.uint8)])
    assert np.array_equal(on_black(rgba), coloured())
    assert on_black(np.full((4, 4, 4), (255, 255, 255, 0), np.uint8)).max() == 0
    half = np.full((1, 1, 4), (200, 100, 0, 128), np.uint8)
    assert on_black(half).tolist() == [[[100, 50, 0]]]


# Interlacing


def woven(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A frame of two moments: the even lines of one, the odd lines of the other."""
    frame = before.copy()
    frame[1::2] = after[1::2]
    return frame


def combs(picture: np.ndarray[Any, Any]) -> float:
    """How much neighbouring lines differ, by the difference of every other one."""
    grey = picture.astype(int)
    return float(np.abs(grey[1:] - grey[:-1]).mean() / np.abs(grey[2:] - grey[:-2]).mean())


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mpeg", "mpeg2video", {"flags": "+ildct+ilme", "b": "8000000"}),
        ("a.mp4", "libx264", {"x264-params": "tff=1:crf=4"}),
    ],
)
def test_the_fields_of_interlaced_video_are_not_mixed(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    still = fan(4)
    moving = [np.roll(still[0], 9 * n, axis=1) for n in range(8)]
    frames = [av.VideoFrame.from_ndarray(woven(*moving[2 * n : 2 * n + 2]), "gray") for n in range(4)]
    file = write(tmp_path / name, frames, codec, "yuv420p", **options)
    for number, frame in enumerate(open_scan(file).frames()):
        assert combs(frame.pixels) < 0.9 < combs(woven(*moving[2 * number : 2 * number + 2]))
        assert np.abs(frame.pixels.astype(int) - moving[2 * number]).mean() < 4


def test_what_stands_still_in_interlaced_video_keeps_all_its_lines() -> None:
    still, moving = fan(1)[0], fan(1, seed=1)[0]
    frame = still.copy()
    frame[:, 160:] = woven(moving, np.roll(moving, 12, axis=1))[:, 160:]
    found = without_combs(frame)
    assert np.array_equal(found[:, :140], still[:, :140])
    assert np.abs(found[:, 170:].astype(int) - moving[:, 170:]).mean() < 3
    noise = speckle(1)[0]
    for progressive in (still, moving, noise):
        assert np.array_equal(without_combs(progressive), progressive)
    colour = np.repeat(frame[..., None], 3, axis=2)
    assert np.array_equal(without_combs(colour)[..., 2], found)
